"""A copy that was begun: whatever was done of it, no half of a disk is ever taken for a whole one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import World, desired_state

from reconciler.model.domain import DomainState
from reconciler.model.operations import CreateVolume
from reconciler.model.plan import Plan
from reconciler.planner.clone import half_copied

SOURCE = {"rootDisk": {"size": "1Gi"}, "disks": [{"name": "data", "size": "1Gi"}], "runStrategy": "Halted"}
COPY = {**SOURCE, "cloneOf": "web", "runStrategy": "Always"}
BOTH = desired_state({"web": SOURCE, "copy": COPY})


@pytest.fixture
def world() -> World:
    made = World()
    made.add_host("lab1")
    made.settle(desired_state({"web": SOURCE}))
    made.look()
    return made


def ids(plan: Plan) -> list[str]:
    return [action.id for action in plan.actions]


def test_every_disk_is_a_copy_of_the_disk_of_its_name(world: World) -> None:
    _, plan = world.plan(BOTH)
    made = [act.operation for act in plan.actions if isinstance(act.operation, CreateVolume)]
    web = next(iter(world.hosts["lab1"].domains.values())).config
    assert [one.source for one in made] == [disk.path.rpartition("/")[2] for disk in web.disks or ()]
    assert all(one.source_pool == "default" and one.backing is None for one in made)
    assert plan.changes[0].uid != web.uuid


@pytest.mark.parametrize("done", [1, 2])
def test_a_copy_that_was_cut_short_is_made_anew(world: World, done: int) -> None:
    _, plan = world.plan(BOTH)
    world.apply(plan, only=done)
    uid = plan.changes[0].uid
    operation = plan.actions[done - 1].operation
    assert isinstance(operation, CreateVolume)
    world.hosts["lab1"].pools["default"].add(half_copied(uid, operation.volume))
    _, again = world.plan(BOTH)
    assert ids(again) == ids(plan)[done - 1 :]
    assert again.changes[0].uid == uid
    # And it is still a copy, that needs its source to be off.
    source = next(d for d in world.hosts["lab1"].domains.values() if d.config.name == "web")
    source.state, source.live = DomainState.RUNNING, source.config
    assert [b.reason for b in world.plan(BOTH)[1].blocked] == ["CloneSourceRunning"]


def test_a_copy_whose_disks_are_whole_needs_its_source_no_more(world: World) -> None:
    world.apply(world.plan(BOTH)[1], only=2)
    _, plan = world.plan(desired_state({"copy": COPY}))
    assert [name for name in ids(plan) if name.startswith("copy/")] == ["copy/define", "copy/start"]
    world.settle(desired_state({"copy": COPY}))


def test_a_source_that_is_about_to_run_is_not_copied(world: World) -> None:
    started = desired_state({"web": {**SOURCE, "runStrategy": "Always"}, "copy": COPY})
    assert [(b.vm, b.reason) for b in world.plan(started)[1].blocked] == [("copy", "CloneSourceRunning")]


def test_two_copies_have_nothing_in_common(world: World) -> None:
    nic = {"interfaces": [{"network": "default"}]}
    wanted = desired_state({"web": SOURCE, **{name: {**COPY, **nic} for name in ("one", "two")}})
    world.settle(wanted)
    one, two = (world.domain(f"lab1/{name}").config for name in ("one", "two"))
    assert one.uuid != two.uuid
    assert not {disk.path for disk in one.disks or ()} & {disk.path for disk in two.disks or ()}
    assert {nic.mac for nic in one.interfaces or ()}.isdisjoint(nic.mac for nic in two.interfaces or ())
    assert replace(one, name="", uuid="", disks=(), interfaces=()) == replace(
        two, name="", uuid="", disks=(), interfaces=()
    )
