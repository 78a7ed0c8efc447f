"""Pools of machines over the real engine, and hosts of libvirt's test driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.farm import Farm, KilledError

from reconciler.errors import ReconcilerError
from reconciler.model.plan import Plan
from reconciler.model.pool import MemberState
from reconciler.model.request import Act, Request
from reconciler.requests import plan_act
from reconciler.store.base import Subject
from reconciler.views import show
from reconciler.views.glance import Glance


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    yield made
    made.stop()


def test_the_warm_minimum_is_made_and_kept(farm: Farm) -> None:
    farm.warm()
    assert farm.states() == {"farm-1": "available", "farm-2": "available"}
    assert set(farm.domains()) == {"farm-1", "farm-2"}
    farm.take("farm-1")
    farm.settle()
    assert farm.states() == {"farm-1": "leased", "farm-2": "available", "farm-3": "available"}
    ready = farm.store.conditions(Subject.VM)["VirtualMachinePool/farm"]
    assert [(one.type, str(one.status), one.reason) for one in ready] == [("Ready", "True", "Warm")]


@pytest.mark.slow
def test_never_more_than_the_maximum_are_made(farm: Farm) -> None:
    farm.warm(max=3)
    leases = [farm.take(vm) for vm in ("farm-1", "farm-2")]
    farm.settle()
    assert sorted(farm.states().values()) == ["available", "leased", "leased"]
    leases.append(farm.take("farm-3"))
    farm.settle()
    assert sorted(farm.domains()) == ["farm-1", "farm-2", "farm-3"]


def test_recreate_gives_another_machine_and_leaves_no_disk(farm: Farm) -> None:
    farm.warm()
    before, disks = farm.uid("farm-1"), farm.volumes()
    lease = farm.take("farm-1")
    farm.settle()
    farm.give_back(lease)
    farm.settle()
    assert farm.uid("farm-1") != before
    assert farm.members()["farm-1"].state is MemberState.AVAILABLE
    assert farm.members()["farm-1"].life == 2
    assert not [volume for volume in farm.volumes() if before in volume]
    assert len(farm.volumes()) == len(disks) + 1


def test_keep_gives_the_machine_as_it_was_left(farm: Farm) -> None:
    farm.warm(way="Keep")
    before, pushes = farm.uid("farm-1"), len(farm.pushed)
    farm.give_back(farm.take("farm-1"))
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.uid("farm-1") == before
    assert len(farm.pushed) == pushes


@pytest.mark.slow
def test_keep_starts_what_was_left_shut_off(farm: Farm) -> None:
    farm.warm(way="Keep")
    lease = farm.take("farm-1")
    farm.domains()["farm-1"].destroy()
    farm.observer.refresh({"h1", "h2"})
    farm.give_back(lease)
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.domains()["farm-1"].isActive()


def revert_kinds(plan: Plan) -> list[str]:
    return [action.operation.kind for action in plan.actions if action.vm == "farm-1"]


def test_revert_gives_the_same_machine_clean_disks(farm: Farm) -> None:
    farm.warm(way="Revert")
    before, disks = farm.uid("farm-1"), farm.volumes()
    farm.give_back(farm.take("farm-1"))
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.members()["farm-1"].life == 2
    assert farm.uid("farm-1") == before
    assert farm.volumes() == disks
    assert farm.domains()["farm-1"].isActive()
    kinds = revert_kinds(farm.pushed[-1])
    assert kinds == ["stop", "delete-volume", "undefine", "create-volume", "define", "start"]


def test_while_machines_are_cleaned_they_are_not_called_lent(farm: Farm) -> None:
    farm.warm(way="Revert", max=2)
    leases = [farm.take("farm-1"), farm.take("farm-2")]
    farm.settle()
    assert farm.store.conditions(Subject.VM)["VirtualMachinePool/farm"][0].reason == "AllLent"
    told = []
    farm.before_push = lambda _: told.extend(farm.store.conditions(Subject.VM)["VirtualMachinePool/farm"])
    for lease in leases:
        farm.give_back(lease)
    farm.settle()
    assert (told[0].reason, str(told[0].status)) == ("Filling", "False")
    assert told[0].message == "fewer than 2 machines are ready yet (2 cleaning)"


@pytest.mark.slow
@pytest.mark.parametrize("done", range(7))
def test_a_revert_that_was_cut_short_is_repeated(farm: Farm, done: int) -> None:
    """After any number of its steps: the disks are new, and nobody gets the machine before they are."""
    farm.warm(way="Revert")
    before, connections = farm.uid("farm-1"), farm.connections
    lease = farm.take("farm-1")
    farm.settle()
    disks = farm.volumes()
    farm.give_back(lease)

    def kill(plan: Plan) -> None:
        first = [action.id for action in plan.actions if action.vm == "farm-1"]
        farm.fails = lambda action: action.id in first[done:]

    farm.before_push = kill
    farm.tick()
    assert farm.states()["farm-1"] != "available"
    farm.stop()
    farm.before_push, farm.fails = lambda _: None, lambda _: False
    farm.start()
    assert farm.connections is connections
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.volumes() == disks
    assert farm.uid("farm-1") == before
    assert farm.domains()["farm-1"].isActive()


@pytest.mark.slow
def test_a_daemon_that_dies_after_a_revert_reverts_again(farm: Farm) -> None:
    """What was done and not written down is done again: better twice than with a holder's data."""
    farm.warm(way="Revert")
    before = farm.uid("farm-1")
    lease = farm.take("farm-1")
    farm.settle()
    farm.give_back(lease)

    def die(_: Plan) -> None:
        raise KilledError

    farm.after_push = die
    with pytest.raises(KilledError):
        farm.tick()
    assert farm.states()["farm-1"] == "cleaning"
    farm.stop()
    farm.after_push = lambda _: None
    farm.start()
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert (farm.members()["farm-1"].life, farm.uid("farm-1")) == (2, before)
    assert len([plan for plan in farm.pushed if "undefine" in revert_kinds(plan)]) == 2


@pytest.mark.slow
def test_a_machine_that_cannot_be_reverted_is_made_anew(farm: Farm) -> None:
    farm.warm(way="Revert")
    before = farm.uid("farm-1")
    lease = farm.take("farm-1")
    farm.settle()
    farm.give_back(lease)
    farm.fails = lambda action: action.operation.kind == "define" and action.vm == "farm-1"
    for _ in range(5):
        farm.settle()
        farm.late += 60
    assert farm.states()["farm-1"] in ("retiring", "creating", "error")
    farm.fails = lambda _: False
    farm.late += 1000
    farm.late += 400
    farm.settle()
    assert farm.states()["farm-1"] == "available"
    assert farm.uid("farm-1") != before


@pytest.mark.slow
def test_an_expired_lease_brings_the_machine_back(farm: Farm) -> None:
    farm.warm(more="lease: {timeout: 10m, max: 1h, grace: 5m}")
    before = farm.uid("farm-1")
    farm.take("farm-1", 600)
    farm.settle()
    farm.late += 301
    farm.settle()
    farm.settle()
    assert farm.events().count("LeaseEnding") == 1
    assert farm.states()["farm-1"] == "leased"
    farm.late += 300
    farm.settle()
    assert farm.events().count("LeaseExpired") == 1
    assert farm.states()["farm-1"] == "available"
    assert farm.uid("farm-1") != before


@pytest.mark.slow
def test_a_new_template_reaches_those_that_nobody_has(farm: Farm) -> None:
    farm.warm(max=4, warm=2)
    lease = farm.take("farm-1")
    farm.settle()
    before = {name: one.UUIDString() for name, one in farm.domains().items()}
    farm.declare(max=4, warm=2, cpus=2)
    farm.settle(40)
    after = {name: one.UUIDString() for name, one in farm.domains().items()}
    assert after["farm-1"] == before["farm-1"]
    assert farm.domains()["farm-1"].info()[3] == 1
    free = farm.with_state(MemberState.AVAILABLE)
    assert len(free) >= 2
    assert all(farm.domains()[vm].info()[3] == 2 for vm in free)
    farm.give_back(lease)
    farm.settle()
    assert farm.domains()["farm-1"].info()[3] == 2


@pytest.mark.slow
def test_a_new_template_keeps_the_pool_warm_where_there_is_room(farm: Farm) -> None:
    farm.warm(max=3, warm=2)
    farm.declare(max=3, warm=2, cpus=2)
    for _ in range(12):
        farm.tick()
        assert len(farm.with_state(MemberState.AVAILABLE)) >= 2
    assert all(domain.info()[3] == 2 for domain in farm.domains().values())


@pytest.mark.slow
def test_idle_machines_over_the_minimum_are_reclaimed(farm: Farm) -> None:
    farm.warm(max=5, warm=1, more="reclaimAfter: 10m")
    leases = []
    for _ in range(3):
        leases.append(farm.take(farm.with_state(MemberState.AVAILABLE)[0]))
        farm.settle()
    for lease in leases:
        farm.give_back(lease)
    farm.settle()
    assert len(farm.states()) == 4
    farm.late += 601
    farm.settle()
    assert farm.states() == {"farm-1": "available"}
    assert set(farm.domains()) == {"farm-1"}
    assert len(farm.volumes()) == 1


@pytest.mark.slow
def test_without_reclaiming_nothing_that_was_made_is_given_up(farm: Farm) -> None:
    farm.warm(max=5, warm=1)
    lease = farm.take("farm-1")
    farm.settle()
    farm.give_back(lease)
    farm.late += 1e6
    farm.settle()
    assert farm.states() == {"farm-1": "available", "farm-2": "available"}


@pytest.mark.slow
def test_what_cannot_be_made_is_an_error_and_made_anew(farm: Farm) -> None:
    farm.fails = lambda action: action.operation.kind == "start" and action.vm == "farm-1"
    farm.declare(max=3, warm=2)
    for _ in range(3):
        farm.tick()
    farm.late += 1000
    farm.tick()
    assert farm.states()["farm-1"] == "error"
    assert "MemberFailed" in farm.events()
    for _ in range(6):
        farm.tick()
    assert len(farm.with_state(MemberState.AVAILABLE)) == 2
    farm.fails = lambda _: False
    farm.late += 1000
    farm.settle()
    assert farm.states()["farm-1"] == "available"


@pytest.mark.slow
def test_disks_of_a_creation_that_was_given_up_are_nobodys(farm: Farm) -> None:
    farm.fails = lambda action: action.operation.kind == "define" and action.vm == "farm-1"
    farm.declare(max=1, warm=1)
    farm.tick()
    farm.tick()
    first = farm.volumes()
    assert len(first) == 1
    farm.late += 1000
    farm.tick()
    assert farm.states() == {"farm-1": "error"}
    farm.late += 400
    farm.fails = lambda action: action.operation.kind in ("define", "create-volume")
    farm.tick()
    assert not set(first) & set(farm.volumes())
    farm.fails = lambda _: False
    farm.late += 1000
    farm.settle()
    assert farm.states() == {"farm-1": "available"}
    assert len(farm.volumes()) == 1


def test_an_idle_pool_costs_no_plan(farm: Farm) -> None:
    farm.warm()
    first = farm.tick().look
    assert farm.tick().look is first
    farm.take("farm-1")
    assert farm.tick().look.situation.desired is first.situation.desired


def test_what_is_told_of_a_pool(farm: Farm) -> None:
    farm.warm()
    farm.take("farm-1")
    look = farm.settle()
    glance = Glance(farm.engine, look)
    [pool] = show(glance, "machinepools")  # type: ignore[misc]
    assert (pool["warm"], pool["max"], pool["available"], pool["leased"], pool["error"]) == (2, 4, 2, 1, 0)
    assert json.loads(farm.store.statuses("VirtualMachinePool")["farm"])["leased"] == 1
    told = "\n".join(show(glance, "describe", "virtualmachinepool/farm")["lines"])  # type: ignore[index]
    assert "farm-1 is leased by ann" in told
    assert "Warm" in told
    assert "farm.yaml:1" in "\n".join(show(glance, "describe", "farm-2")["lines"])  # type: ignore[index]


def test_a_holder_acts_on_a_machine_that_the_loop_leaves_alone(farm: Farm) -> None:
    farm.warm()
    lease = farm.take("farm-1")
    farm.declare(cpus=2)
    look = farm.tick().look
    assert look.survey.blocked["farm-1"].reason == "OlderTemplate"
    assert plan_act(look, Request(Act.STOP, "farm-1")).actions
    farm.declare(way="Revert")
    farm.give_back(lease)
    with pytest.raises(ReconcilerError, match="Cleaning"):
        plan_act(farm.engine.look(), Request(Act.STOP, "farm-1"))


def test_what_failed_is_tried_at_once_when_somebody_says_so(farm: Farm) -> None:
    """`reconciler retry` is another process: the loop must not rest on a plan without what failed."""
    farm.fails = lambda action: action.operation.kind == "start"
    farm.declare(max=1, warm=1)
    farm.settle()
    assert farm.store.retries()
    farm.fails = lambda _: False
    farm.store.clear_retries(["farm-1"])
    farm.settle()
    assert farm.states() == {"farm-1": "available"}
