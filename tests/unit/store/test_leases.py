"""Leases among processes: of two that want a machine one gets it, and what was told outlives a kill."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import StoreError
from reconciler.model.pool import Lease, Member, MemberState, Waiter
from reconciler.store import sqlite
from reconciler.store.base_leases import DEMAND, PATIENCE, Checkout, Spent
from reconciler.store.sql import SqlStore

from .test_processes import hear, python, say

AVAILABLE, CLEANING, LEASED = MemberState.AVAILABLE, MemberState.CLEANING, MemberState.LEASED
WISH = Checkout("p", "ann", "tests", 60.0, 600.0)

TAKE_ALL = """
import sys
from pathlib import Path
from reconciler.model.pool import Lease
from reconciler.store.base_leases import Checkout
from reconciler.store.sql import SqlStore
store = SqlStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
wish = Checkout("p", sys.argv[2], "", 60.0, 60.0, wait=False)
while isinstance(lease := store.checkout(wish, 5.0), Lease):
    print(lease.vm, flush=True)
print("none", flush=True)
"""


def fill(store: SqlStore, count: int, state: MemberState = AVAILABLE) -> None:
    store.add_members([Member("p", slot, state, 1.0) for slot in range(1, count + 1)])


def lent(outcome: object) -> Lease:
    assert isinstance(outcome, Lease), outcome
    return outcome


def queued(outcome: object) -> Waiter:
    assert isinstance(outcome, Waiter), outcome
    return outcome


@pytest.mark.slow
def test_of_processes_that_take_all_each_machine_is_one_s(store: SqlStore, folder: Path) -> None:
    fill(store, 60)
    with python(TAKE_ALL, str(folder), "one") as one, python(TAKE_ALL, str(folder), "two") as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        say(one)
        say(two)
        got = {process.pid: list(iter(lambda p=process: hear(p), "none")) for process in (one, two)}
    taken = Counter(vm for each in got.values() for vm in each)
    assert set(taken.values()) == {1}
    assert len(taken) == 60
    assert sorted(lease.vm for lease in store.leases()) == sorted(taken)


@pytest.mark.slow
def test_what_was_told_lent_is_lent_after_kill_9(store: SqlStore, folder: Path) -> None:
    fill(store, 2000)
    with python(TAKE_ALL, str(folder), "one") as process:
        hear(process)
        say(process)
        told = [hear(process) for _ in range(15)]
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        told += process.stdout.read().split()
    leases = {lease.vm for lease in store.leases()}
    assert set(told) <= leases
    assert len(leases) <= len(told) + 1, "at most the one that was not told yet"
    assert {one.vm for one in store.members() if one.state is LEASED} == leases


def test_a_line_is_served_in_order_of_coming(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    other = open_again()
    first = queued(store.checkout(WISH, 10.0))
    second = queued(other.checkout(replace(WISH, holder="bob"), 11.0))
    assert first.id < second.id
    fill(store, 1)
    assert store.served(12.0) == other.served(12.0) == {first.id}
    assert queued(other.checkout(replace(WISH, holder="cat", wait=False), 12.0)).waits is False
    assert queued(other.checkout(replace(WISH, holder="bob", waiter=second.id), 12.0)).id == second.id
    assert lent(store.checkout(replace(WISH, waiter=first.id), 12.0)).vm == "p-1"
    assert [one.holder for one in store.waiters("p", 12.0)] == ["bob", "cat"]


def test_more_machines_than_people_before_are_for_who_comes_later(store: SqlStore) -> None:
    queued(store.checkout(WISH, 10.0))
    fill(store, 2)
    assert lent(store.checkout(replace(WISH, holder="bob"), 11.0)).vm == "p-1"
    queued(store.checkout(replace(WISH, holder="cat"), 11.0))


def test_who_is_silent_loses_the_place(store: SqlStore) -> None:
    silent = queued(store.checkout(WISH, 10.0))
    alive = queued(store.checkout(replace(WISH, holder="bob"), 10.0))
    fill(store, 1)
    store.still_wait([alive.id], 10.0 + PATIENCE)
    assert store.served(10.1 + PATIENCE) == {alive.id}
    assert lent(store.checkout(replace(WISH, holder="bob", waiter=alive.id), 10.1 + PATIENCE)).holder == "bob"
    again = queued(store.checkout(replace(WISH, waiter=silent.id), 10.2 + PATIENCE))
    assert again.id > alive.id, "the old place is nobody's any more"


def test_who_asks_without_waiting_is_remembered_once_and_for_a_while(store: SqlStore) -> None:
    for now in (10.0, 20.0):
        queued(store.checkout(replace(WISH, wait=False), now))
    queued(store.checkout(replace(WISH, wait=False, holder="bob"), 20.0))
    assert [(one.holder, one.asked, one.seen) for one in store.waiters("p", 21.0)] == [
        ("ann", 10.0, 20.0),
        ("bob", 20.0, 20.0),
    ]
    assert store.waiters("p", 20.1 + DEMAND) == ()
    fill(store, 1)
    assert store.served(21.0) == frozenset(), "no machine is kept back for them"
    assert lent(store.checkout(replace(WISH, holder="cat"), 21.0)).vm == "p-1"


def test_many_at_once_are_decided_in_order(store: SqlStore) -> None:
    fill(store, 2)
    wishes = [
        replace(WISH, holder=name, key=key) for name, key in zip("abcd", ("x", "", "x", ""), strict=True)
    ]
    one, two, three, four = store.checkout_many([*wishes[:2], replace(wishes[0]), wishes[3]], 5.0)
    assert (lent(one).vm, lent(two).vm) == ("p-1", "p-2")
    assert three == one, "the same key in the same transaction"
    assert queued(four).holder == "d"
    assert store.checkout_many([wishes[2]], 6.0) == (Spent(lent(one).id, "p-1", other=True),)
    assert store.checkin_many([lent(one).id, "none", lent(one).id], 7.0) == (one, None, None)


def test_a_key_is_remembered_for_a_day_and_as_long_as_its_lease(store: SqlStore) -> None:
    fill(store, 2)
    wish = replace(WISH, key="k", ttl=3e5, longest=3e5)
    lease = lent(store.checkout(wish, 10.0))
    store.expire(2e5)
    assert store.checkout(wish, 2e5) == lease
    store.checkin(lease.id, 2e5)
    assert store.checkout(wish, 2e5) == Spent(lease.id, lease.vm, other=False)
    store._noted = float("-inf")
    store.expire(2e5 + 1)
    assert lent(store.checkout(wish, 2e5 + 2)).id != lease.id


def test_one_machine_may_be_meant(store: SqlStore) -> None:
    fill(store, 3)
    lease = store.checkout_vm("p-2", replace(WISH, pool="x"), 5.0)
    assert lease is not None
    assert (lease.vm, lease.pool) == ("p-2", "p")
    assert store.checkout_vm("p-2", WISH, 5.0) is None
    assert store.checkout_vm("nowhere", WISH, 5.0) is None
    assert store.lease_of("p-2") == store.lease(lease.id) == lease
    assert store.lease_of("p-1") is None


@pytest.mark.parametrize("before", [set(), {LEASED}, {AVAILABLE}])
def test_only_leases_lead_to_and_from_leased(store: SqlStore, before: set[MemberState]) -> None:
    fill(store, 1)
    with pytest.raises(ValueError, match="LEASED"):
        store.step_member("p-1", {*before, LEASED}, CLEANING, 5.0)
    with pytest.raises(ValueError, match="LEASED"):
        store.step_member("p-1", before, LEASED, 5.0)
    with pytest.raises(ValueError, match="LEASED"):
        store.add_members([Member("p", 2, LEASED, 1.0)])
    with pytest.raises(ValueError, match="pool"):
        store.step_member("p-1", {AVAILABLE}, CLEANING, 5.0, pool="q")


def test_the_database_itself_lends_a_machine_once(store: SqlStore, folder: Path) -> None:
    fill(store, 1)
    store.checkout(WISH, 5.0)
    database = sqlite3.connect(folder / sqlite.FILE_NAME)
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(
            "INSERT INTO leases (id, pool, vm, holder, purpose, taken, expires, latest, warned, by)"
            " SELECT 'other', pool, vm, 'bob', purpose, taken, expires, latest, warned, by FROM leases"
        )
    database.close()


def test_what_fails_half_way_lends_nothing(store: SqlStore) -> None:
    fill(store, 2)
    with pytest.raises(ZeroDivisionError), store.transaction():
        1 / len(lent(store.checkout(WISH, 5.0)).vm[:0])
    assert store.leases() == ()
    assert {one.state for one in store.members()} == {AVAILABLE}


def test_a_store_that_is_busy_for_too_long_is_a_clean_error(
    store: SqlStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    fill(store, 1)
    other = sqlite3.connect(folder / sqlite.FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.checkout(WISH, 5.0)
    assert store.leases() == (), "who only reads is not held up"
    other.execute("ROLLBACK")
    assert lent(store.checkout(WISH, 5.0)).vm == "p-1"
    other.close()


def test_a_step_names_the_state_before(store: SqlStore) -> None:
    fill(store, 1)
    assert not store.step_member("p-1", {CLEANING, MemberState.ERROR}, MemberState.RETIRING, 5.0)
    assert store.members()[0].state is AVAILABLE
    assert store.step_member("p-1", {AVAILABLE}, MemberState.ERROR, 5.0, message="it broke", life=2)
    assert store.members() == (Member("p", 1, MemberState.ERROR, 5.0, 2, "it broke"),)
    assert store.step_member("p-1", {MemberState.ERROR}, MemberState.RETIRING, 6.0)
    assert store.members()[0].message == "", "a message is of one state"
    store.delete_members(["p-1"])
    assert store.members() == ()


def test_the_machine_that_is_available_for_longest_goes_first(store: SqlStore) -> None:
    since = {1: 30.0, 2: 10.0, 3: 20.0, 4: 10.0}
    store.add_members([Member("p", slot, AVAILABLE, at) for slot, at in since.items()])
    assert [lent(store.checkout(WISH, 40.0)).vm for _ in since] == ["p-2", "p-4", "p-3", "p-1"]


def test_what_is_read_stays_the_same_object_and_is_of_the_pool(store: SqlStore) -> None:
    fill(store, 2)
    store.add_members([Member("q", 1, AVAILABLE, 1.0)])
    lease = lent(store.checkout(WISH, 5.0))
    assert store.members() is store.members()
    assert store.members("p") is store.members("p")
    assert store.leases("p") is store.leases("p")
    assert [one.vm for one in store.members("q")] == ["q-1"]
    assert (store.leases("p"), store.leases("q"), store.members("r")) == ((lease,), (), ())
    assert store.tally("p") == {AVAILABLE: 1, LEASED: 1}
    assert (store.first_end(), store.first_end("p"), store.first_end("q")) == (65.0, 65.0, None)
