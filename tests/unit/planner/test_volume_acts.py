"""Snapshots of volumes: what they plan, and what is refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from planner_world import OWNER, World, desired_state

from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.operations import SnapshotVolume
from reconciler.model.placement import claim_name, own_volume_name
from reconciler.model.plan import Impact
from reconciler.model.snapshot import Snapshot
from reconciler.planner import survey, volume_acts
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import volume_uid

UID = volume_uid(OWNER, "data")
FILE = own_volume_name("data", UID, "qcow2")
THEN = Snapshot("then", 1.0, "", memory=False)
VOLUMES = {"data": {"size": 1 << 30}}
USER = {"disks": [{"name": "d", "volume": "data"}]}


def world(*files: str) -> World:
    made = World()
    made.add_host("lab1").pools["default"] |= set(files)
    made.hosts["lab1"].sizes[FILE] = 1 << 30
    return made


def seen(world: World, machines: dict[str, Any] | None = None, **more: Any) -> Survey:
    return survey(world.situation(desired_state(machines or {}, volumes=VOLUMES, **more)))


def test_each_act_is_one_action_on_the_host_that_has_it() -> None:
    volume = volume_acts.at_rest(seen(world(FILE)), "Volume/data")
    for made, act, impact in (
        (volume_acts.take(volume, "now", [THEN]), "take", Impact.NONE),
        (volume_acts.restore(volume, "then", [THEN]), "restore", Impact.DESTROY),
        (volume_acts.delete(volume, "then", [THEN]), "delete", Impact.DESTROY),
    ):
        [action] = made.actions
        name = "now" if act == "take" else "then"
        assert (action.vm, action.uid, action.host, action.impact) == ("Volume/data", UID, "lab1", impact)
        assert action.operation == SnapshotVolume("default", FILE, name, act)  # type: ignore[arg-type]
        assert [change.vm for change in made.changes] == ["Volume/data"]


def test_a_volume_of_a_machine_that_is_off_may_be_worked_on_and_of_one_that_runs_may_not() -> None:
    made = world()
    desired = desired_state({"a": USER}, volumes=VOLUMES)
    made.settle(desired)
    with pytest.raises(ReconcilerError, match="open in a on lab1, which runs"):
        volume_acts.at_rest(seen(made, {"a": USER}), "Volume/data")
    halted = {"a": {**USER, "runStrategy": "Halted"}}
    made.settle(desired_state(halted, volumes=VOLUMES))
    found = seen(made, halted)
    volume = volume_acts.at_rest(found, "Volume/data")
    assert volume.users == (found.index.ours["a"].uuid,)


def test_whoever_claims_it_may_have_it_open() -> None:
    made = world(FILE, claim_name(UID, "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"))
    with pytest.raises(ReconcilerError, match="claimed by the machine 6a2f41a3"):
        volume_acts.at_rest(seen(made), "Volume/data")


def test_a_silent_host_may_have_open_what_is_in_a_shared_pool() -> None:
    made = world()
    made.add_host("lab2").down = "no route"
    made.hosts["lab1"].pools["nas"] = {FILE}
    pools = {"nas": {"path": "/pool/nas", "shared": True}}
    with pytest.raises(ReconcilerError, match="may be open elsewhere: lab2"):
        volume_acts.at_rest(seen(made, pools=pools), "Volume/data")


def test_only_qcow2_holds_snapshots() -> None:
    with pytest.raises(ReconcilerError, match="is raw: only qcow2"):
        volume_acts.at_rest(seen(world(own_volume_name("data", UID, "raw"))), "Volume/data")


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="there is no volume 'x'"):
        volume_acts.at_rest(seen(world(FILE)), "Volume/x")
    with pytest.raises(ReconcilerError, match="on no host that answers"):
        volume_acts.at_rest(seen(world()), "Volume/data")
    volume = volume_acts.at_rest(seen(world(FILE)), "Volume/data")
    with pytest.raises(ReconcilerError, match="no snapshot 'x'; there is: then"):
        volume_acts.restore(volume, "x", [THEN])
    with pytest.raises(ReconcilerError, match="has a snapshot 'then' already"):
        volume_acts.take(volume, "then", [THEN])


@pytest.mark.parametrize("act", [volume_acts.take, volume_acts.restore, volume_acts.delete])
def test_a_number_is_no_name(act: Any) -> None:
    volume = volume_acts.at_rest(seen(world(FILE)), "Volume/data")
    with pytest.raises(UsageError, match="needs a letter"):
        act(volume, "1", [THEN])
