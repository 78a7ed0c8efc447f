"""What is remembered of guests and of playbooks that are run once."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.model.readiness import GuestRecord, ProvisionRecord
from reconciler.store.sql import SqlStore

A = GuestRecord("u1", "{{ a }}", 7, "agent+tcp:22", 100.0, None, "its guest agent")
B = GuestRecord("u2", "b", 1, "address", 100.0, 101.0)
DONE = ProvisionRecord("u1", "d1", "a", "done", "Done", "", 5.0)
FAILED = ProvisionRecord("u1", "d2", "a", "failed", "Failed", "the task 'x' failed", 6.0)


def test_guests_outlive_the_process(open_again: Callable[[], SqlStore]) -> None:
    open_again().set_guests([A, B])
    assert open_again().guests() == {"u1": A, "u2": B}


def test_what_is_not_named_is_gone_and_no_news_writes_nothing(store: SqlStore) -> None:
    store.set_guests([A, B])
    before = store.guests()
    store.set_guests([B, A])
    assert store.guests() is before
    store.set_guests([B])
    assert store.guests() == {"u2": B}


def test_playbooks_are_told_apart(open_again: Callable[[], SqlStore]) -> None:
    store = open_again()
    store.put_provisions([DONE, FAILED])
    assert open_again().provisions() == {("u1", "d1"): DONE, ("u1", "d2"): FAILED}
    store.forget_provisions([("u1", "d2"), ("u1", "never")])
    assert open_again().provisions() == {("u1", "d1"): DONE}


def test_the_snapshot_stays_the_same_object_until_something_is_new(store: SqlStore) -> None:
    store.put_provisions([DONE])
    before = store.provisions()
    store.set_guests([A])
    assert store.provisions() is before
