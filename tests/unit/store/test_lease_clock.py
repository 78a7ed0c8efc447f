"""Lease time: whoever sets the wall clock, and whenever the machine is started anew."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.pool import Member, MemberState
from reconciler.store.base_leases import Checkout
from reconciler.store.clock import NOTED, SystemClocks
from reconciler.store.sql import SqlStore

HOUR = 3600.0
BOOTS = itertools.count(1000, 1000)


@dataclass
class Machine:
    """A machine whose clocks a test turns."""

    at: float = 1_000_000.0
    up: float = 50.0
    boots: int = 1

    def wall(self) -> float:
        return self.at

    def uptime(self) -> float:
        return self.up

    def boot(self) -> str:
        return f"boot-{self.boots}"

    def passes(self, seconds: float) -> None:
        self.at += seconds
        self.up += seconds

    def set_clock(self, by: float) -> None:
        self.at += by

    def reboots(self, down: float = 60.0) -> None:
        self.at += down
        self.up = 5.0
        self.boots += 1


def opened(folder: Path, machine: Machine) -> SqlStore:
    store = SqlStore(folder)
    store.clocks = machine
    return store


def test_what_is_rolled_back_is_no_time(tmp_path: Path) -> None:
    machine = Machine()
    first, second = opened(tmp_path / "s", machine), opened(tmp_path / "s", machine)
    with contextlib.suppress(ZeroDivisionError), first.transaction():
        first.lease_time()
        raise ZeroDivisionError
    machine.set_clock(2 * HOUR)
    assert second.lease_time() == first.lease_time()
    first.close()
    second.close()


def test_it_begins_with_the_wall_clock(store: SqlStore) -> None:
    assert abs(store.lease_time() - time.time()) < 5


def test_this_machine_has_such_clocks() -> None:
    clocks = SystemClocks()
    assert clocks.boot() == SystemClocks().boot()
    assert clocks.uptime() <= clocks.uptime()


def test_a_wall_clock_that_jumps_moves_no_lease(folder: Path) -> None:
    machine = Machine()
    store = opened(folder, machine)
    store.add_members([Member("p", 1, MemberState.AVAILABLE, store.lease_time())])
    lease = store.checkout(Checkout("p", "ann", "", HOUR, HOUR), store.lease_time())
    for jump in (5 * HOUR, -9 * HOUR):
        machine.set_clock(jump)
        machine.passes(0.4 * HOUR)
        for process in (store, opened(folder, machine)):
            assert process.expire(process.lease_time()) == (), "neither ended"
    machine.passes(0.21 * HOUR)
    assert store.expire(store.lease_time()) == (lease,), "nor prolonged"


def test_processes_agree_and_one_that_comes_later_too(folder: Path) -> None:
    machine = Machine()
    one = opened(folder, machine)
    begun = one.lease_time()
    machine.set_clock(7 * HOUR)
    machine.passes(10)
    assert opened(folder, machine).lease_time() == one.lease_time() == begun + 10


def test_across_a_boot_it_goes_on_with_the_wall_clock(folder: Path) -> None:
    machine = Machine()
    before = opened(folder, machine).lease_time()
    machine.reboots(down=2 * HOUR)
    assert opened(folder, machine).lease_time() == before + 2 * HOUR, "a lease goes on while a machine is off"


def test_across_a_boot_it_never_goes_back(folder: Path) -> None:
    machine = Machine()
    store = opened(folder, machine)
    store.lease_time()
    for _ in range(10):
        machine.passes(NOTED)
        store.expire(store.lease_time())
    before = store.lease_time()
    machine.reboots()
    machine.set_clock(-30 * 365 * 24 * HOUR)  # a clock without a battery
    assert opened(folder, machine).lease_time() >= before - NOTED
    machine.set_clock(30 * 365 * 24 * HOUR)  # and then the network tells the time
    machine.passes(1)
    assert opened(folder, machine).lease_time() <= before + 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("passes"), st.floats(0, 1e5)),
            st.tuples(st.just("set_clock"), st.floats(-1e8, 1e8)),
            st.tuples(st.just("reboots"), st.floats(0, 1e6)),
        ),
        max_size=12,
    )
)
def test_it_never_goes_back_and_within_a_boot_it_is_exact(
    store: SqlStore, steps: list[tuple[str, float]]
) -> None:
    machine = Machine(boots=next(BOOTS), at=4e9)  # no example is earlier than what another one left
    store.clocks = machine

    def forget() -> None:
        store._offset = None
        store._noted = float("-inf")

    forget()
    last = store.lease_time()
    for step, amount in steps:
        getattr(machine, step)(amount)
        if step == "reboots":
            forget()
        now = store.lease_time()
        if step == "passes":
            assert abs(now - last - amount) < 1e-2
        elif step == "set_clock":
            assert now == last
        else:
            assert now >= last
        store._noted = float("-inf")
        store.expire(now)
        last = now


def test_reading_it_writes_nothing(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    store.lease_time()
    other = open_again()
    other.lease_time()
    store.expire(store.lease_time())
    before = other.changes()
    for _ in range(5):
        store.lease_time()
        store.expire(store.lease_time())
    assert other.changes() is before
