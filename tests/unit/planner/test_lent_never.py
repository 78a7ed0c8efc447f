"""Pools of machines over the real engine: attempts to lose, double or touch a machine that is lent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.farm import Farm, KilledError

from reconciler.bookkeeping import UNKNOWN_HOLDER
from reconciler.errors import LimitError
from reconciler.model.pool import Member, MemberState
from reconciler.model.request import Act, Request, RequestState
from reconciler.planner.lent.slots import made_from, template_of
from reconciler.requests import Desk
from reconciler.store.base_leases import Checkout

TYPE = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    yield made
    made.stop()


def test_a_lost_store_deletes_and_lends_nothing(farm: Farm) -> None:
    farm.warm(max=3, more="lease: {timeout: 10m, max: 1h}")
    farm.take("farm-1")
    farm.settle()
    before = {name: one.UUIDString() for name, one in farm.domains().items()}
    farm.lose_store()
    farm.settle()
    assert {name: one.UUIDString() for name, one in farm.domains().items()} == before
    assert set(farm.states().values()) == {"leased"}
    assert {lease.holder for lease in farm.store.leases()} == {UNKNOWN_HOLDER}
    farm.late += 3601
    farm.settle()
    assert farm.states() == {"farm-1": "available", "farm-2": "available", "farm-3": "available"}
    assert not set(before.values()) & {one.UUIDString() for one in farm.domains().values()}


@pytest.mark.slow
def test_a_daemon_that_dies_over_a_lost_store_has_not_made_up_its_mind(farm: Farm) -> None:
    farm.warm()
    before = set(farm.domains())
    farm.lose_store()

    def die(*_: object) -> None:
        raise KilledError

    farm.engine._note_outcome = die  # type: ignore[assignment,method-assign]
    with pytest.raises(KilledError):
        farm.tick()
    farm.stop()
    farm.start()
    farm.settle()
    assert set(farm.domains()) >= before
    assert all(farm.states()[vm] == "leased" for vm in before)


@pytest.mark.slow
def test_nothing_is_made_while_a_host_was_never_seen(farm: Farm) -> None:
    """It may have machines of the pool, which somebody works with."""
    farm.warm(max=2)
    farm.lose_store()
    farm.silence("h1")
    farm.settle()
    there = {vm for vm in farm.domains() if vm in farm.states()}
    assert set(farm.states().values()) <= {"leased"}
    farm.silence()
    farm.settle()
    assert set(farm.states()) == set(farm.domains()) >= there
    assert set(farm.states().values()) == {"leased"}


def test_a_machine_on_a_silent_host_is_lent_to_nobody(farm: Farm) -> None:
    farm.warm(max=2)
    hosts = {vm: record.host for vm, record in farm.store.records().items()}
    farm.silence(hosts["farm-1"])
    farm.tick()
    assert farm.states()["farm-1"] == "error"
    farm.late += 3600
    farm.tick()
    assert farm.states()["farm-1"] == "error"
    farm.silence()
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.members()["farm-1"].life == 1


@pytest.mark.slow
def test_a_pool_that_vanishes_leaves_what_is_lent_alone(farm: Farm) -> None:
    farm.write("type.yaml", TYPE)
    farm.warm()
    lease = farm.take("farm-1")
    farm.settle()
    before = farm.uid("farm-1")
    farm.write("farm.yaml", None)
    with pytest.raises(LimitError):  # the source would have no machine at all
        farm.tick()
    assert len(farm.domains()) == 3
    farm.write(
        "other.yaml", (farm.source / "type.yaml").read_text().replace("InstanceType", "VirtualMachine")
    )
    farm.settle()
    assert set(farm.domains()) == {"farm-1", "small"}
    assert farm.uid("farm-1") == before
    assert farm.states() == {"farm-1": "leased"}
    farm.give_back(lease)
    farm.settle()
    assert set(farm.domains()) == {"small"}
    assert farm.states() == {}


@pytest.mark.slow
def test_the_deletion_limits_hold_for_a_smaller_pool_and_not_for_churn(farm: Farm) -> None:
    farm.warm(warm=4)
    limits = farm.engine.rooms.config.limits
    object.__setattr__(limits, "deletions", 1)
    leases = [farm.take(vm) for vm in ("farm-1", "farm-2", "farm-3")]
    for lease in leases:
        farm.give_back(lease)
    farm.settle()
    assert set(farm.states().values()) == {"available"}
    farm.declare(max=1, warm=1)
    with pytest.raises(LimitError):
        farm.tick()
    assert farm.states() == dict.fromkeys(farm.domains(), "available")
    object.__setattr__(limits, "deletions", 10)
    farm.take("farm-4")
    farm.settle()
    assert farm.states() == {"farm-1": "available", "farm-4": "leased"}


def test_who_comes_between_the_look_and_the_push_has_the_machine(farm: Farm) -> None:
    farm.warm(warm=3)
    farm.declare(max=2, warm=1)
    look = farm.engine.look()
    assert [change.vm for change in look.plan.changes] == ["farm-3"]
    farm.take("farm-3")
    farm.engine.carry_out(look)
    assert "farm-3" in farm.domains()
    farm.settle()
    assert farm.states()["farm-3"] == "leased"
    assert "farm-3" in farm.domains()


@pytest.mark.slow
def test_a_declared_machine_is_never_a_pools(farm: Farm) -> None:
    """Whoever declares a machine with the name of a lent one does not get that one."""
    farm.warm(max=3, warm=3)
    lease = farm.take("farm-3")
    farm.declare(max=1, warm=1)
    farm.write("vm.yaml", (TYPE.replace("InstanceType", "VirtualMachine").replace("small", "farm-3")))
    before = farm.uid("farm-3")
    farm.settle()
    assert farm.states() == {"farm-1": "available", "farm-3": "leased"}
    assert farm.domains()["farm-3"].info()[1] == 64 << 10
    assert farm.uid("farm-3") == before
    farm.give_back(lease)
    farm.settle()
    assert "farm-3" not in farm.states()


VM = """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec: {{cpus: 1, memory: 64Mi, console: none, rootDisk: {{size: 1Mi}}, stopTimeout: 0s, runStrategy: Halted}}
"""


def give_slot_away(farm: Farm, slot: int) -> None:
    """As ``/createVM/`` does, which sees no host."""
    desired = farm.engine.rooms.source.read()
    pool = desired.machine_pools["farm"]
    fresh = made_from(template_of(desired, pool), pool, slot)
    now = farm.store.lease_time()
    assert farm.store.add_members([Member("farm", slot, MemberState.CREATING, now, template=fresh)])


def lender(farm: Farm, vm: str) -> str | None:
    lease = farm.store.lease_of(vm)
    return lease.holder if lease is not None else None


@pytest.mark.parametrize("seen_late", [False, True])
def test_a_slot_that_is_given_away_over_a_lost_store_lends_nothing_twice(farm: Farm, seen_late: bool) -> None:
    farm.warm(max=3, warm=1)
    farm.take("farm-1")
    farm.settle()
    before, host = farm.uid("farm-1"), farm.store.records()["farm-1"].host
    farm.lose_store()
    if seen_late:
        farm.silence(host)
        farm.tick()
    give_slot_away(farm, 1)
    farm.tick()
    if seen_late:
        farm.late += 120  # what cannot be made is in error by now
        farm.tick()
        farm.silence()
    farm.settle()
    assert (farm.uid("farm-1"), farm.states()["farm-1"], lender(farm, "farm-1")) == (
        before,
        "leased",
        UNKNOWN_HOLDER,
    )
    farm.late += 86401
    farm.settle()
    assert before not in {one.UUIDString() for one in farm.domains().values()}


def test_a_slot_never_gets_disks_that_somebody_kept(farm: Farm) -> None:
    farm.write("web.yaml", VM.format(name="web"))
    farm.write("one.yaml", VM.format(name="farm-1"))
    farm.settle()
    farm.write("one.yaml", None)
    farm.settle()
    kept = {volume for volume in farm.volumes() if volume.startswith("farm-1.")}
    assert kept
    farm.lose_store()
    farm.declare(max=2, warm=0)
    give_slot_away(farm, 1)
    for _ in range(4):
        farm.tick()
        farm.late += 400
    farm.settle()
    assert "farm-1" not in farm.domains()
    assert kept <= set(farm.volumes())
    assert farm.states() == {}


def test_what_a_pool_left_unfinished_and_a_person_declares_keeps_its_disks(farm: Farm) -> None:
    farm.write("web.yaml", VM.format(name="web"))
    farm.warm(max=1, warm=1)
    farm.store.step_member("farm-1", [MemberState.AVAILABLE], MemberState.RETIRING, farm.store.lease_time())
    host = farm.store.records()["farm-1"].host
    domain = farm.domains()["farm-1"]
    domain.destroy()
    domain.undefine()
    farm.observer.refresh({host})
    farm.write("farm.yaml", None)
    farm.write("one.yaml", VM.format(name="farm-1"))
    disks = {volume for volume in farm.volumes() if volume.startswith("farm-1.")}
    assert disks
    farm.settle()
    assert disks <= set(farm.volumes())
    assert set(farm.domains()) == {"farm-1", "web"}
    assert farm.states() == {}


def test_what_was_asked_by_the_last_holder_is_not_done_to_the_next(farm: Farm) -> None:
    farm.warm(max=1, warm=1, way="Keep")
    lease = farm.take("farm-1")
    desk = Desk(farm.engine, farm.clock)
    asked = Request(Act.STOP, "farm-1", uid=farm.uid("farm-1"))
    number = farm.store.add_request(asked, "ann", farm.clock())
    farm.late += 5
    farm.give_back(lease)
    farm.settle()
    wish = Checkout("farm", "bob", "test", 3600, 7200)
    assert farm.store.checkout_vm("farm-1", wish, farm.store.lease_time())
    desk.serve(lambda: False)
    record = farm.store.request(number)
    assert record is not None
    assert (record.state, record.code) == (RequestState.FAILED, 6)
    assert "lent to somebody else" in record.message
    assert farm.domains()["farm-1"].isActive()
    farm.late += 5
    number = farm.store.add_request(asked, "bob", farm.clock())
    desk.serve(lambda: False)
    assert not farm.domains()["farm-1"].isActive()
