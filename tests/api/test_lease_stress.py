"""A test farm at work while API processes are killed: no machine is handed to two, and none is lost."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from support.lending import DoubledError, Farm, Owners, Work, audit, run

from reconciler.model.pool import MemberState
from reconciler.model.status import Event

CLIENTS, LEASES, MACHINES = 64, 10_000, 48
KILL_EVERY = 3.0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_machine_is_handed_to_two_while_processes_are_killed(tmp_path: Path) -> None:
    with Farm(tmp_path / "farm", MACHINES, processes=2) as farm:
        victims = itertools.cycle(farm.apis)
        killed = 0

        def kill(work: Work) -> None:
            nonlocal killed
            time.sleep(KILL_EVERY)
            if work.left:
                victim = next(victims)
                victim.kill()
                victim.start()
                victim.ready()
                killed += 1

        begun = time.monotonic()
        work = run(farm, CLIENTS, LEASES, kill)
        seconds = time.monotonic() - begun
    print(f"{work.done} leases in {seconds:.0f} s, {killed} kills, {dict(work.counts)}")
    if work.wrong is not None:
        raise work.wrong
    assert work.done == LEASES
    assert killed >= 3, "else it shows nothing"
    assert work.counts["cut"], "no kill was ever noticed"
    with Farm.reopened(tmp_path / "farm") as store:
        assert store.leases() == ()
        assert {one.state for one in store.members("farm")} == {MemberState.AVAILABLE}, "none is lost"
        assert len(store.members("farm")) == MACHINES
        told = store.events(limit=10 * LEASES)
    assert audit(told) == LEASES, "each wish got one lease, however often it was repeated"


def test_the_checker_sees_a_machine_that_is_handed_to_two() -> None:
    owners = Owners()
    owners.take("farm-1", "ann")
    with pytest.raises(DoubledError):
        owners.take("farm-1", "bob")
    owners.give_back("farm-1", "ann")
    owners.take("farm-1", "bob")
    out, back = (Event(0, reason, "", "farm-1") for reason in ("CheckedOut", "CheckedIn"))

    def told(*events: Event) -> list[Event]:
        return [Event(one.time, one.reason, "", one.vm, id=index) for index, one in enumerate(events)]

    assert audit(told(out, back, out, back)) == 2
    with pytest.raises(DoubledError):
        audit(told(out, out, back))
    with pytest.raises(AssertionError, match="never given back"):
        audit(told(out, back, out))
