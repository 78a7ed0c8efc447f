from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.placement import Phase, Record
from reconciler.store.base import IntentConflictError
from reconciler.store.sql import SqlStore

WEB = Record("web-1", "uid-1", "alpha", 1, Phase.INTENDED)
DB = Record("db-1", "uid-2", "beta", 1, Phase.INTENDED)


def test_intents_are_read_back_by_another_process(
    store: SqlStore, open_again: Callable[[], SqlStore]
) -> None:
    store.commit_intents([WEB, DB])
    assert open_again().records() == {"web-1": WEB, "db-1": DB}


def test_an_intent_may_raise_the_generation_and_the_phase_follows(store: SqlStore) -> None:
    store.commit_intents([WEB])
    store.put_records([replace(WEB, phase=Phase.PLACED)])
    store.commit_intents([replace(WEB, generation=2)])
    assert store.records()["web-1"] == replace(WEB, generation=2)


@pytest.mark.parametrize("other", [replace(WEB, host="beta"), replace(WEB, uid="uid-9")])
@pytest.mark.parametrize("phase", Phase)
def test_a_machine_on_record_keeps_its_host_and_uid(store: SqlStore, other: Record, phase: Phase) -> None:
    existing = replace(WEB, phase=phase)
    store.put_records([existing])
    with pytest.raises(IntentConflictError, match=r"web-1 on .*but web-1 is .* on alpha") as caught:
        store.commit_intents([DB, other])
    assert [(c.wanted, c.existing) for c in caught.value.conflicts] == [(other, existing)]
    assert store.records() == {"web-1": existing}, "none of the batch may be committed"


def test_a_void_record_gives_way(store: SqlStore) -> None:
    store.commit_intents([WEB])
    moved = replace(WEB, host="beta")
    store.commit_intents([moved], void={"web-1"})
    assert store.records() == {"web-1": moved}


def test_a_uid_is_one_machine(store: SqlStore) -> None:
    store.commit_intents([WEB])
    twin = replace(DB, uid=WEB.uid)
    with pytest.raises(IntentConflictError):
        store.commit_intents([twin])
    with pytest.raises(IntentConflictError):
        store.commit_intents(
            [replace(DB, uid="uid-3"), replace(WEB, vm="other", uid="uid-3")], void={"web-1"}
        )
    store.commit_intents([twin], void={"web-1"})
    assert store.records() == {"db-1": twin}, "what is void goes"


def test_a_host_mark_wins_over_the_record(store: SqlStore) -> None:
    store.commit_intents([WEB])
    proven = Record("web-1", "uid-7", "gamma", 4, Phase.PLACED)
    store.put_records([proven])
    assert store.records() == {"web-1": proven}


def test_deleting_what_is_not_there_is_harmless(store: SqlStore) -> None:
    store.commit_intents([WEB, DB])
    store.delete_records(["web-1", "nobody"])
    assert store.records() == {"db-1": DB}


def test_unchanged_records_are_the_same_object_and_a_change_elsewhere_is_noticed(
    store: SqlStore, open_again: Callable[[], SqlStore]
) -> None:
    store.commit_intents([WEB])
    before = store.records()
    store.put_records([WEB])
    assert store.records() is before
    open_again().commit_intents([DB])
    assert store.records() == {"web-1": WEB, "db-1": DB}
    assert before == {"web-1": WEB}, "a snapshot that was handed out never changes"


def test_a_transaction_is_all_or_nothing(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    other = open_again()

    def half_done() -> None:
        with store.transaction():
            store.commit_intents([WEB])
            store.begin_run("run-1", "{}", 1.0)
            assert store.records() == {"web-1": WEB}
            assert other.records() == {}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_done()
    assert store.records() == {}
    assert store.unfinished_runs() == ()
    with store.transaction():
        store.commit_intents([WEB])
        store.begin_run("run-1", "{}", 1.0)
    assert other.records() == {"web-1": WEB}
    assert len(other.unfinished_runs()) == 1


@pytest.mark.parametrize("name", ["{{ x }}", "'; DROP TABLE records; --", "ü\0\n<&>", "\udc80"])
def test_names_are_only_data(store: SqlStore, open_again: Callable[[], SqlStore], name: str) -> None:
    store.put_records([replace(WEB, vm=name)])
    (record,) = open_again().records().values()
    assert record.vm == name.replace("\udc80", "?")
