"""What one process reads again because another wrote, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.placement import Phase, Record
from reconciler.model.status import Condition, ConditionStatus, Event, Retry
from reconciler.store import conditions
from reconciler.store.base import Subject
from reconciler.store.events import Retention
from reconciler.store.sql import SqlStore

Opener = Callable[[], SqlStore]


def ready(name: str) -> dict[str, tuple[Condition, ...]]:
    return {name: (Condition("Ready", ConditionStatus.TRUE, "Running", "", 1.0),)}


def record(vm: str, host: str = "alpha") -> Record:
    return Record(vm, f"uid-{vm}", host, 1, Phase.PLACED)


def event(message: str, time: float = 1.0) -> Event:
    return Event(time, "Created", message, "web", "alpha")


def test_what_another_process_did_not_touch_is_the_same_object(store: SqlStore, open_again: Opener) -> None:
    other = open_again()
    store.set_conditions(Subject.VM, ready("web"))
    store.put_records([record("web")])
    conditions, records = other.conditions(Subject.VM), other.records()
    store.put_retries([Retry("web", 1, 2.0, False, "", "", "")])
    assert other.conditions(Subject.VM) is conditions
    assert other.records() is records
    store.put_records([record("db")])
    assert other.conditions(Subject.VM) is conditions
    assert other.records().keys() == {"web", "db"}


def test_what_was_read_empty_is_read_again_once_it_is_written(store: SqlStore, open_again: Opener) -> None:
    other = open_again()
    assert other.statuses("Host") == {}
    store.set_statuses("Host", {"alpha": "{}"})
    assert other.statuses("Host") == {"alpha": "{}"}


def _write_and_fail(store: SqlStore) -> None:
    with store.transaction():
        store.put_records([record("db")])
        assert "db" in store.records()
        raise KeyError("no")


def test_what_is_rolled_back_raises_nothing(store: SqlStore, open_again: Opener) -> None:
    other = open_again()
    store.put_records([record("web")])
    before, topics = other.records(), other.changes().topics
    with pytest.raises(KeyError):
        _write_and_fail(store)
    assert store.records().keys() == {"web"}
    store.add_events([event("something else")])
    assert other.records() is before
    assert other.changes().topics == topics == store.changes().topics


def test_a_snapshot_made_from_an_old_look_is_not_kept(store: SqlStore, open_again: Opener) -> None:
    """Both looked, then one writes, then the other: its own idea of the whole is not the whole."""
    other = open_again()
    store.statuses("Host"), other.statuses("Host")
    store.set_statuses("Host", {"alpha": "1"})
    with other._writing():
        other._keep("statuses of Host", {"beta": "only mine"})
    assert other.statuses("Host") == {"alpha": "1"}


def test_one_transaction_raises_each_topic_once(store: SqlStore) -> None:
    with store.transaction():
        store.put_records([record("web")])
        store.put_records([record("db")])
        store.set_statuses("Host", {"alpha": "1"})
    topics = store.changes().topics
    assert (topics["records"], topics["statuses of Host"]) == (1, 1)
    store.set_statuses("Host", {"alpha": "1"})
    assert store.changes().topics == topics, "nothing new, nothing written"


def test_changes_are_the_same_object_until_somebody_commits(store: SqlStore, open_again: Opener) -> None:
    other = open_again()
    before = other.changes()
    assert other.changes() is before
    store.add_events([event("one")])
    after = other.changes()
    assert after.last_event == before.last_event + 1
    other.add_events([event("two")])
    assert (other.changes().last_event, store.changes().last_event) == (2, 2)


def test_every_store_has_a_number_of_its_own(store: SqlStore, open_again: Opener, tmp_path: Path) -> None:
    assert store.changes().store == open_again().changes().store > 0
    anew = SqlStore(tmp_path / "other")
    assert anew.changes().store != store.changes().store
    anew.close()


def test_it_is_told_up_to_where_events_are_gone(store: SqlStore) -> None:
    store.retention = Retention(count=3)
    store.add_events([event("first")])
    assert store.changes().pruned_event == 0
    store.add_events(event(f"{n}") for n in range(5))
    kept = [one.id for one in store.events()]
    assert (max(kept), min(kept), store.changes().pruned_event) == (6, 4, 3)


def test_an_event_that_is_gone_from_the_middle_is_told_as_well(store: SqlStore) -> None:
    """The clock was wrong for a while: the oldest events by time are not those with the smallest ids."""
    store.retention = Retention(age=100.0)
    store.add_events([event("kept", 1000.0), event("clock was wrong", 5.0), event("kept too", 1000.0)])
    assert [one.id for one in store.events()] == [3, 1]
    assert store.changes().pruned_event == 2


def test_statuses_that_are_gone_are_told(store: SqlStore) -> None:
    assert store.set_statuses("Host", {"alpha": "1", "beta": "1"}, complete=True) == {"alpha", "beta"}
    assert store.set_statuses("Host", {"alpha": "2"}) == {"alpha"}
    assert store.set_statuses("Host", {"alpha": "2"}, complete=True) == {"beta"}
    assert store.statuses("Host") == {"alpha": "2"}
    assert store.statuses("VirtualMachine") == {}


Step = tuple[int, str, str]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["Host", "Volume", "records", "conditions", "conditions of all"]),
            st.text("abcd", min_size=1, max_size=4),
        ),
        max_size=12,
    )
)
def test_whoever_writes_what_everybody_reads_the_same(steps: list[Step], four: list[SqlStore]) -> None:
    """Three connections, any order: after each step each of them reads what one that knows nothing would."""
    *stores, truth = four
    for number, (who, topic, names) in enumerate(steps):
        if topic == "records":
            stores[who].put_records([record(name, f"host-{number}") for name in set(names)])
        elif topic.startswith("conditions"):
            said = {
                name: (Condition("Ready", ConditionStatus.TRUE, f"R{number}", "", 1.0),) for name in names
            }
            stores[who].set_conditions(Subject.VM, said, complete=topic.endswith("all"))
        else:
            stores[who].set_statuses(topic, dict.fromkeys(names, str(number)), complete=number % 3 == 0)
        truth._snapshots.clear()
        truth._stale.clear()
        # Some look each time, some only now and then.
        for one in stores if number % 4 == 0 else stores[who : who + 1]:
            assert dict(one.records()) == dict(truth.records())
            assert dict(one.conditions(Subject.VM)) == dict(truth.conditions(Subject.VM))
            assert all(one.statuses(kind) == truth.statuses(kind) for kind in ("Host", "Volume"))
    for one in stores:
        assert dict(one.conditions(Subject.VM)) == dict(truth.conditions(Subject.VM))


def test_one_changed_machine_leaves_the_others_the_same_objects(
    store: SqlStore, open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_again()
    store.set_conditions(Subject.VM, {name: ready(name)[name] for name in ("a", "b", "c")})
    before = other.conditions(Subject.VM)
    store.set_conditions(
        Subject.VM, {"a": (), "b": (Condition("Ready", ConditionStatus.FALSE, "X", "", 2.0),)}
    )
    after = other.conditions(Subject.VM)
    assert after.keys() == {"b", "c"}
    assert after["c"] is before["c"]
    assert after["b"][0].reason == "X"


@pytest.mark.parametrize(("many", "remembered"), [(1, 5000), (2000, 1)])
def test_one_who_was_away_too_long_reads_all(
    store: SqlStore, open_again: Opener, monkeypatch: pytest.MonkeyPatch, many: int, remembered: int
) -> None:
    monkeypatch.setattr(conditions, "MANY", many)
    monkeypatch.setattr(conditions, "REMEMBERED", remembered)
    other = open_again()
    store.set_conditions(Subject.VM, ready("kept"))
    before = other.conditions(Subject.VM)
    for name in ("a", "b", "c"):
        store.set_conditions(Subject.VM, ready(name))
    after = other.conditions(Subject.VM)
    assert after == store.conditions(Subject.VM)
    assert after["kept"] is not before["kept"]


@pytest.fixture
def four(open_again: Opener) -> list[SqlStore]:
    return [open_again() for _ in range(4)]
