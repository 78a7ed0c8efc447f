"""What stands between people and the store of leases: shared commits, the line of a process, what is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import (
    ConflictError,
    DesiredStateError,
    NoneAvailableError,
    NotFoundError,
    Problem,
    ReconcilerError,
    StoreError,
    UsageError,
)
from reconciler.leasing import NOBODY, Leasing, Wish, expire
from reconciler.leasing.gather import Gather
from reconciler.leasing.terms import FRESH, Pools, checkout_of
from reconciler.model.desired import DesiredState
from reconciler.model.pool import Lease, Member, MemberState, VirtualMachinePool
from reconciler.store.base_leases import PATIENCE
from reconciler.store.sql import SqlStore

POOL = VirtualMachinePool.model_validate(
    {
        "metadata": {"name": "p"},
        "spec": {
            "size": {"max": 9},
            "lease": {"timeout": 60, "max": 600},
            "template": {"spec": {"cpus": 1, "memory": "64Mi"}},
        },
    }
)
STATE = DesiredState("r1", {}, machine_pools={"p": POOL})


class Clocks:
    """Time that a test lets pass."""

    added = 0.0

    def wall(self) -> float:
        return 1000.0 + self.uptime()

    def uptime(self) -> float:
        return time.monotonic() + self.added

    def boot(self) -> str:
        return "boot"


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def open_store(tmp_path: Path, clocks: Clocks) -> Iterator[Callable[[], SqlStore]]:
    opened: list[SqlStore] = []

    def opener() -> SqlStore:
        opened.append(SqlStore(tmp_path / "state"))
        opened[-1].clocks = clocks
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], SqlStore]) -> SqlStore:
    return open_store()


@pytest.fixture
def leasing(store: SqlStore) -> Leasing:
    return Leasing(store, lambda: STATE)


def fill(store: SqlStore, *slots: int) -> None:
    now = store.lease_time()
    store.add_members([Member("p", slot, MemberState.AVAILABLE, now) for slot in slots])


def clean(store: SqlStore) -> None:
    for one in store.members():
        store.step_member(one.vm, [MemberState.CLEANING], MemberState.AVAILABLE, store.lease_time())


def wish(by: str, **about: object) -> Wish:
    return replace(Wish("p", by), **about)  # type: ignore[arg-type]


def reasons(store: SqlStore) -> list[str]:
    return [event.reason for event in reversed(store.events())]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


# Shared commits


def test_what_comes_while_one_works_is_done_together() -> None:
    batches: list[list[int]] = []
    first, go_on = threading.Event(), threading.Event()

    def work(wishes: list[int]) -> list[int]:
        batches.append(list(wishes))
        if len(batches) == 1:
            first.set()
            assert go_on.wait(20)
        return [-wish for wish in wishes]

    gather: Gather[int, int] = Gather(work, most=4)  # type: ignore[arg-type]
    answers: dict[int, int] = {}
    threads = [threading.Thread(target=lambda n=n: answers.update({n: gather(n)})) for n in range(11)]
    threads[0].start()
    assert first.wait(20)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(gather._waiting) == 10)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert answers == {n: -n for n in range(11)}, "each their own answer"
    assert [len(batch) for batch in batches] == [1, 4, 4, 2]
    assert gather(50) == -50, "and it goes on"


def test_an_error_is_everybodys_and_does_not_stop_it() -> None:
    def work(wishes: list[int]) -> list[int]:
        if any(wish < 0 for wish in wishes):
            raise StoreError("full")
        return list(wishes)

    gather: Gather[int, int] = Gather(work)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        gather(-1)
    assert gather(1) == 1


# The terms


def test_the_pool_says_for_how_long() -> None:
    asked = checkout_of(wish("ann"), POOL, wait=True)
    assert (asked.ttl, asked.longest, asked.holder, asked.by) == (60, 600, "ann", "ann")
    with pytest.raises(ConflictError, match="10m at most"):
        checkout_of(wish("ann", ttl=601), POOL, wait=True)
    for wrong in ({"ttl": 0}, {"holder": "a\nb"}, {"purpose": "x" * 300}):
        with pytest.raises(UsageError):
            checkout_of(wish("ann", **wrong), POOL, wait=True)


def test_pools_are_read_now_and_then_and_kept_when_the_desired_state_is_refused() -> None:
    now, states = [0.0], [STATE]

    def read() -> DesiredState:
        if not states:
            raise DesiredStateError([Problem("a.yaml", 1, 1, "", "broken")])
        return states[0]

    pools = Pools(read, lambda: now[0])
    assert pools.get("p") is POOL
    states[0] = DesiredState("r2", {})
    assert pools.get("p") is POOL, "as it was a moment ago"
    now[0] += FRESH
    with pytest.raises(NotFoundError):
        pools.get("p")
    states[0] = STATE
    assert pools.get("p") is POOL, "what is not known is looked for at once"
    states.clear()
    now[0] += FRESH
    assert pools.get("p") is POOL
    with pytest.raises(DesiredStateError):
        Pools(read, lambda: now[0]).get("p")


# Lending


def test_events_are_told_with_the_lease_in_one_transaction(
    store: SqlStore, leasing: Leasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 1)
    monkeypatch.setattr(store, "add_events", lambda _events: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        leasing.checkout(wish("ann"))
    assert store.leases() == ()
    monkeypatch.undo()
    lease = leasing.checkout(wish("ann", key="k"))
    leasing.checkout(wish("ann", key="k"))
    leasing.extend(lease.id, 120, "ann")
    leasing.checkin(lease.id, "bob")
    told = [event.message for event in reversed(store.events())]
    assert told == [
        "ann took p-1 for 1m",
        "ann keeps p-1 for 2m from now",
        "bob gave p-1 back, which was ann's",
    ]


def test_expiry_is_told_once_whoever_comes_by(
    store: SqlStore, leasing: Leasing, clocks: Clocks, open_store: Callable[[], SqlStore]
) -> None:
    fill(store, 1, 2)
    lease = leasing.checkout(wish("ann", ttl=30))
    other = open_store()
    assert expire(other) == ()
    clocks.added += 30
    with pytest.raises(NotFoundError):
        leasing.lease(lease.id)
    assert expire(other) == expire(store) == ()
    assert reasons(store) == ["CheckedOut", "LeaseExpired"]
    for gone in (lambda: leasing.checkin(lease.id, "ann"), lambda: leasing.extend(lease.id, 5, "ann")):
        with pytest.raises(NotFoundError):
            gone()


def test_a_lease_whose_time_is_over_is_not_extended_even_if_nobody_came_by(
    store: SqlStore, leasing: Leasing, clocks: Clocks
) -> None:
    fill(store, 1)
    lease = leasing.checkout(wish("ann", ttl=30))
    clocks.added += 31
    with pytest.raises(NotFoundError):
        leasing.extend(lease.id, 5, "ann")


def test_a_lease_is_never_extended_beyond_what_the_pool_lent(
    store: SqlStore, leasing: Leasing, clocks: Clocks
) -> None:
    fill(store, 1)
    lease = leasing.checkout(wish("ann"))
    clocks.added += 50
    with pytest.raises(ConflictError, match="lends it for 10m in all"):
        leasing.extend(lease.id, 600, "ann")
    assert leasing.extend(lease.id, 540, "ann").expires <= lease.latest
    with pytest.raises(UsageError):
        leasing.extend(lease.id, 0, "ann")


def test_none_available_says_how_it_stands(store: SqlStore, leasing: Leasing) -> None:
    fill(store, 1)
    store.add_members([Member("p", slot, MemberState.CREATING, 1.0) for slot in (2, 3)])
    leasing.checkout(wish("ann"))
    with pytest.raises(NoneAvailableError, match="1 of at most 9 are leased, 2 are being made") as told:
        leasing.checkout(wish("bob"))
    assert told.value.retry_after == 5


# The line


def test_lines_of_two_processes_are_one(
    store: SqlStore, leasing: Leasing, open_store: Callable[[], SqlStore]
) -> None:
    other = Leasing(open_store(), lambda: STATE)
    tickets = [(leasing, other)[number % 2].wait(wish(f"w{number}"), 20) for number in range(6)]
    order: list[str] = []
    for ticket in tickets:
        ticket.future.add_done_callback(lambda done: order.append(done.result().holder))
    for number in range(6):
        fill(store, number + 1)
        until(lambda number=number: len(order) == number + 1)
    assert order == [f"w{number}" for number in range(6)]
    assert store.waiters("p", store.lease_time()) == ()


def test_the_same_wish_in_two_processes_gets_one_machine_in_both(
    store: SqlStore, leasing: Leasing, open_store: Callable[[], SqlStore]
) -> None:
    other = Leasing(open_store(), lambda: STATE)
    tickets = [each.wait(wish("ann", key="k"), 20) for each in (leasing, other)]
    assert len(store.waiters("p", store.lease_time())) == 1
    fill(store, 1, 2)
    first, second = (ticket.future.result(20) for ticket in tickets)
    assert first == second
    assert store.leases() == (first,)


def test_who_waits_keeps_the_place_and_a_dead_process_loses_it(
    store: SqlStore, leasing: Leasing, clocks: Clocks, open_store: Callable[[], SqlStore]
) -> None:
    dead = open_store()
    gone = dead.checkout(
        checkout_of(wish("gone"), POOL, wait=True), dead.lease_time()
    )  # nobody looks after it
    ticket = leasing.wait(wish("bob"), 60)
    fill(store, 1)
    time.sleep(0.1)
    assert not ticket.future.done(), "it is the turn of who came before"
    for _ in range(4):
        clocks.added += PATIENCE / 3
        leasing._line._beaten = 0.0  # as if so much time had passed here, too
        until(lambda: ticket.future.done() or heard(store, "bob"))
    assert ticket.future.result(20).holder == "bob"
    assert not isinstance(gone, Lease)


def heard(store: SqlStore, holder: str) -> bool:
    now = store.lease_time()
    return any(one.holder == holder and one.seen > now - 1 for one in store.waiters("p", now))


def test_who_leaves_gives_back_what_came_meanwhile(store: SqlStore, leasing: Leasing) -> None:
    ticket = leasing.wait(wish("ann"), 20)
    fill(store, 1)
    ticket.future.result(20)
    leasing.leave(ticket)
    assert store.leases() == ()
    assert reasons(store) == ["CheckedOut", "CheckedIn"]
    assert store.events()[0].message.startswith(NOBODY)
    clean(store)
    with_key = leasing.wait(wish("ann", key="k"), 20)
    leasing.leave(with_key)
    assert len(store.leases()) == 1, "who has a key will ask again"


def test_a_future_that_was_cancelled_keeps_no_machine(store: SqlStore, leasing: Leasing) -> None:
    ticket, behind = leasing.wait(wish("ann"), 20), leasing.wait(wish("bob"), 20)
    assert ticket.future.cancel()
    fill(store, 1)
    until(lambda: behind.future.done() or clean(store))
    assert [lease.holder for lease in store.leases()] == ["bob"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_keeps_nobody_waiting(
    store: SqlStore, leasing: Leasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "served", lambda _now: 1 / 0)
    ticket = leasing.wait(wish("ann"), 20)
    assert isinstance(ticket.future.exception(20), ZeroDivisionError)
    monkeypatch.undo()
    fill(store, 1, 2)
    assert leasing.wait(wish("bob"), 20).future.result(20).holder == "bob"


def test_a_busy_store_ends_no_wait_before_its_time(
    store: SqlStore, leasing: Leasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def busy(_now: float) -> frozenset[int]:
        looked.set()
        raise StoreError("database is locked")

    ticket = leasing.wait(wish("ann"), 20)
    monkeypatch.setattr(store, "served", busy)
    assert looked.wait(20)
    monkeypatch.undo()
    fill(store, 1)
    assert ticket.future.result(20).vm == "p-1"
    short = leasing.wait(wish("ann"), 0.05)
    monkeypatch.setattr(store, "served", busy)
    assert isinstance(short.future.exception(20), ReconcilerError)
