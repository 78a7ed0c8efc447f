"""What `reconciler discard` refuses, and what `get volumes` shows."""

from __future__ import annotations

from typing import Any

import pytest
from planner_world import OWNER, World, desired_state, uid

from reconciler.belongings import discarding
from reconciler.engine import Look
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.operations import DiscardVolume
from reconciler.model.placement import own_volume_name, volume_name
from reconciler.planner import make_plan, survey
from reconciler.planner.volumes import volume_uid
from reconciler.views.storage import describe_volume, volume_rows

FILE = own_volume_name("data", volume_uid(OWNER, "data"), "qcow2")
DISK = volume_name("db", uid(7), "root", "qcow2")


def look(world: World, machines: dict[str, Any] | None = None, **more: Any) -> Look:
    situation = world.situation(desired_state(machines or {}, **more))
    found = survey(situation)
    plan = make_plan(found, {}, world.new_uid)
    return Look(situation, found, {}, plan)


def world(*files: str) -> World:
    made = World()
    made.add_host("lab1").pools["default"] |= set(files)
    made.hosts["lab1"].sizes[FILE] = 1 << 30
    return made


def test_a_kept_volume_and_a_kept_disk_can_be_discarded() -> None:
    for name, key, of in ((FILE, "Volume/data", volume_uid(OWNER, "data")), (DISK, "db", uid(7))):
        [action] = discarding(look(world(FILE, DISK)), f"lab1/default/{name}").actions
        assert (action.vm, action.uid, action.operation) == (key, of, DiscardVolume("default", name))


def test_what_is_declared_is_not() -> None:
    with pytest.raises(ReconcilerError, match="remove its manifest first"):
        discarding(look(world(FILE), volumes={"data": {"size": 1 << 30}}), f"lab1/default/{FILE}")
    with pytest.raises(ReconcilerError, match="would come back to it"):
        discarding(look(world(DISK), {"db": {"runStrategy": "Halted"}}), f"lab1/default/{DISK}")


@pytest.mark.parametrize(
    "name", ["precious.qcow2", "debian.0123456789abcdef.qcow2", f"claim.{uid(1)}.{uid(2)}"]
)
def test_what_we_did_not_make_is_not(name: str) -> None:
    with pytest.raises(UsageError, match="does not say that we made it"):
        discarding(look(world(name)), f"lab1/default/{name}")


def test_what_another_installation_made_is_not() -> None:
    theirs = own_volume_name("data", volume_uid("theirs", "data"), "qcow2")
    with pytest.raises(UsageError, match="another installation"):
        discarding(look(world(theirs)), f"lab1/default/{theirs}")


def test_what_a_domain_has_is_not() -> None:
    made = world()
    volumes = {"data": {"size": 1 << 30}}
    made.settle(desired_state({"a": {"disks": [{"name": "d", "volume": "data"}]}}, volumes=volumes))
    with pytest.raises(ReconcilerError, match="used by the domain 'a' on lab1"):
        discarding(look(made), f"lab1/default/{FILE}")


def test_a_silent_host_may_use_what_is_in_a_shared_pool() -> None:
    made = world()
    made.add_host("lab2").down = "no route"
    made.hosts["lab1"].pools["nas"] = {FILE}
    pools = {"nas": {"path": "/pool/nas", "shared": True}}
    with pytest.raises(ReconcilerError, match="lab2 does not answer, and may use it"):
        discarding(look(made, pools=pools), f"lab1/nas/{FILE}")


@pytest.mark.parametrize("where", ["lab1/default/nothing", "nowhere/default/x", "lab1"])
def test_what_is_not_there_is_told(where: str) -> None:
    with pytest.raises(UsageError):
        discarding(look(world()), where)


def test_volumes_as_they_are_shown() -> None:
    made = world(FILE)
    shown = look(made, volumes={"new": {"size": 1 << 20}})
    rows = {row.name: (row.host, row.size, row.policy, row.status) for row in volume_rows(shown)}
    assert rows == {
        "data": ("lab1", 1 << 30, "Retain", "Kept"),
        "new": ("", 1 << 20, "Retain", "WaitForFirstMachine"),
    }
    assert f"Lies in:   lab1/default/{FILE}" in describe_volume(shown, "data")
    with pytest.raises(UsageError, match="no volume 'never'"):
        describe_volume(shown, "never")
