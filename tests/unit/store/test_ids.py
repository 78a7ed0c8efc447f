"""Numbers of objects: one for a life, never another's; and deletions that somebody asked for by name."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.store import ids as module
from reconciler.store.sql import SqlStore

VM = "VirtualMachine"


@pytest.fixture
def store(tmp_path: Path):
    opened = SqlStore(tmp_path)
    yield opened
    opened.close()


def test_a_number_is_kept_for_a_life_and_never_given_again(store: SqlStore) -> None:
    first = store.allot_ids(VM, {"a": 0, "b": 0}, first=100)
    assert first == {"a": 100, "b": 101}
    assert store.allot_ids(VM, {"a": 0}) == first
    store.end_ids(VM, ["b"])
    assert store.ids(VM) == {"a": 100}
    assert store.allot_ids(VM, {"b": 0})["b"] == 102
    assert store.ids("Volume") == {}
    assert store.allot_ids("Volume", {"a": 0}) == {"a": 1}


def test_a_wish_is_heeded_if_no_object_ever_had_the_number(store: SqlStore) -> None:
    assert store.allot_ids("Image", {"x": 0, "old": 7}) == {"old": 7, "x": 8}
    store.end_ids("Image", ["old"])
    assert store.allot_ids("Image", {"new": 7, "other": 3})["new"] == 9
    assert store.ids("Image")["other"] == 3


def test_a_life_that_a_tick_knew_ends_with_the_tick_that_does_not(store: SqlStore) -> None:
    store.allot_ids(VM, {"a": 0, "young": 0})
    store.note_living({VM: {"a"}})
    store.note_living({VM: set()})
    # The tick may have read the desired state before there was a young one.
    assert store.ids(VM) == {"young": 2}
    store.note_living({VM: {"young"}})
    store.note_living({VM: set()})
    assert store.ids(VM) == {}


def test_one_that_was_seen_before_it_got_its_number_ends_with_the_next_tick(store: SqlStore) -> None:
    store.allot_ids(VM, {"a": 0}, seen=True)
    store.note_living({"Volume": {"a"}})
    assert store.ids(VM) == {"a": 1}
    store.note_living({VM: {"b"}})
    assert store.ids(VM) == {}


def test_what_is_long_gone_is_forgotten_but_for_the_greatest(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDS_KEPT", 2)
    for _ in range(5):
        store.allot_ids(VM, {"a": 0})
        store.end_ids(VM, ["a"])
    with store._reading() as connection:
        left = connection.exec_driver_sql("SELECT number FROM ids ORDER BY number").scalars().all()
    assert left == [4, 5]
    assert store.allot_ids(VM, {"a": 0}) == {"a": 6}


def test_nothing_is_written_for_what_is_known(store: SqlStore) -> None:
    known = store.allot_ids(VM, {"a": 0}, seen=True)
    before = store.changes()
    assert store.allot_ids(VM, {"a": 0}) is known
    store.note_living({VM: {"a"}})
    store.end_ids(VM, ["b"])
    store.forget_deletions(["c"])
    assert store.changes() is before


@pytest.fixture
def twins(tmp_path: Path):
    """Two processes' stores in one folder."""
    opened = [SqlStore(tmp_path), SqlStore(tmp_path)]
    yield opened
    for one in opened:
        one.close()


_examples = itertools.count()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["allot", "end", "live"]),
            st.sampled_from("abc"),
            st.integers(0, 4),
        ),
        max_size=20,
    )
)
def test_whatever_two_processes_do_no_number_means_two_objects(
    twins: list[SqlStore], steps: list[tuple[int, str, str, int]]
) -> None:
    kind = f"kind-{next(_examples)}"
    meant: dict[int, tuple[str, int]] = {}
    lives = dict.fromkeys("abc", 0)
    for who, step, name, wish in steps:
        one = twins[who]
        before = dict(one.ids(kind))
        if step == "allot":
            one.allot_ids(kind, {name: wish})
        elif step == "end":
            one.end_ids(kind, [name])
        else:
            one.note_living({kind: {name}})
        after = twins[1 - who].ids(kind)
        for gone in before.keys() - after.keys():
            lives[gone] += 1
        for each, number in after.items():
            assert meant.setdefault(number, (each, lives[each])) == (each, lives[each])


def test_a_deletion_is_remembered_until_it_is_forgotten(store: SqlStore) -> None:
    store.ask_deletion("web", "uid-1", "ann", 1.0)
    store.ask_deletion("Volume/data", "", "ann", 1.0)
    store.ask_deletion("web", "uid-2", "bob", 2.0)
    assert store.deletions() == {"web": "uid-2", "Volume/data": ""}
    store.forget_deletions(["web", "nobody"])
    assert store.deletions() == {"Volume/data": ""}
