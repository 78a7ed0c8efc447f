from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.status import Event
from reconciler.store.events import MESSAGE_LIMIT, Retention
from reconciler.store.sql import SqlStore


def event(number: int, **fields: str) -> Event:
    return Event(float(number), "Started", f"message {number}", **fields)  # type: ignore[arg-type]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(tmp_path, retention=Retention(count=5, age=100.0))
    yield store
    store.close()


def test_newest_first_and_every_field_comes_back(store: SqlStore) -> None:
    full = Event(1.5, "Failed", "pool full", "web-1", "alpha", warning=True, revision="abc")
    store.add_events([event(1), full])
    newest, oldest = store.events()
    assert newest == replace(full, id=newest.id)
    assert oldest.message == "message 1"
    assert newest.id > oldest.id


def test_filters_and_limit(store: SqlStore) -> None:
    store.add_events([event(1, vm="a", host="x"), event(2, vm="b", host="x"), event(3, vm="a", host="y")])
    assert [e.time for e in store.events(vm="a")] == [3.0, 1.0]
    assert [e.time for e in store.events(host="x")] == [2.0, 1.0]
    assert [e.time for e in store.events(vm="a", host="x")] == [1.0]
    assert [e.time for e in store.events(limit=2)] == [3.0, 2.0]


def test_following_along_misses_nothing(store: SqlStore) -> None:
    store.add_events(event(number) for number in range(10))
    followed: list[float] = []
    last = 0
    while batch := store.events(after=last, oldest_first=True, limit=3):
        followed += [e.time for e in batch]
        last = batch[-1].id
    assert followed == [float(number) for number in range(10)]


def test_bounded_in_number(small: SqlStore) -> None:
    for number in range(12):
        small.add_events([event(number)])
    assert [e.time for e in small.events()] == [11.0, 10.0, 9.0, 8.0, 7.0]


def test_bounded_in_age(small: SqlStore) -> None:
    small.add_events([event(0), event(50)])
    small.add_events([event(120)])
    assert [e.time for e in small.events()] == [120.0, 50.0]


def test_an_id_is_never_given_twice(small: SqlStore) -> None:
    small.add_events([event(200)])
    (newest,) = small.events()
    # Its age counts back from the newest time on record, so this one is dropped at once.
    small.add_events([event(1)])
    small.add_events([event(201)])
    assert small.events()[0].id == newest.id + 2


def test_an_endless_message_is_cut(store: SqlStore) -> None:
    store.add_events([replace(event(1), message="x" * 1_000_000)])
    (kept,) = store.events()
    assert len(kept.message) == MESSAGE_LIMIT
    assert kept.message.endswith("x…")


def test_no_events_are_no_transaction(store: SqlStore) -> None:
    store.add_events([])
    assert store.events() == ()
