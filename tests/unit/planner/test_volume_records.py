"""What the pools prove about volumes, as far as it is worth remembering."""

from __future__ import annotations

from planner_world import OWNER, World, desired_state

from reconciler.bookkeeping.volumes import seen_volumes, with_warnings
from reconciler.model.placement import Phase, VolumeRecord, copying_name, own_volume_name
from reconciler.planner import survey
from reconciler.planner.volumes import volume_uid

UID = volume_uid(OWNER, "data")
FILE = own_volume_name("data", UID, "qcow2")
DECLARED = {"data": {"size": 1 << 30, "deletionPolicy": "Delete"}}


def record(policy: str = "Delete", phase: Phase = Phase.PLACED, host: str = "lab1") -> VolumeRecord:
    return VolumeRecord("data", UID, host, "default", policy, phase)


def world(*files: str, known: VolumeRecord | None = None) -> World:
    made = World()
    made.add_host("lab1").pools["default"] |= set(files)
    made.volumes = {"data": known} if known else {}
    return made


def seen(of: World, volumes: dict[str, dict[str, object]] | None = None) -> object:
    return seen_volumes(survey(of.situation(desired_state({}, volumes=volumes or {}))))


def test_a_declared_volume_is_remembered_with_its_policy() -> None:
    assert seen(world(FILE), DECLARED) == ([record()], [])


def test_one_that_is_being_copied_is_not_there_yet() -> None:
    assert seen(world(FILE, copying_name(UID)), DECLARED) == ([record(phase=Phase.INTENDED)], [])


def test_the_policy_outlives_the_manifest() -> None:
    assert seen(world(FILE, known=record())) == ([record()], [])


def test_what_nobody_knows_is_not_remembered_and_so_never_deleted() -> None:
    assert seen(world(FILE)) == ([], [])


def test_a_volume_of_another_installation_is_not_ours() -> None:
    theirs = own_volume_name("data", volume_uid("somebody", "data"), "qcow2")
    assert seen(world(theirs), DECLARED) == ([], [])


def test_one_that_is_gone_and_that_nobody_declares_is_forgotten() -> None:
    assert seen(world(known=record())) == ([], ["data"])


def test_one_that_is_gone_and_declared_is_not() -> None:
    assert seen(world(known=record()), DECLARED) == ([], [])


def test_a_silent_host_proves_nothing() -> None:
    silent = world(known=record())
    silent.hosts["lab1"].down = "no route"
    assert seen(silent) == ([], [])


def test_a_stopped_pool_proves_nothing() -> None:
    stopped = world(known=record())
    del stopped.hosts["lab1"].pools["default"]
    assert seen(stopped) == ([], [])


def test_a_pool_that_runs_short_is_a_warning_of_its_host() -> None:
    of = world()
    of.hosts["lab1"].pools["fast"] = set()
    pools = {"fast": {"path": "/pool/fast", "warnBelow": "60Gi"}}
    found = survey(of.situation(desired_state({}, pools=pools)))
    assert with_warnings(found, found.observed)["lab1"].message == "pool fast has less than 60Gi left"
    pools = {"fast": {"path": "/pool/fast", "warnBelow": "40Gi"}}
    found = survey(of.situation(desired_state({}, pools=pools)))
    assert with_warnings(found, found.observed) is found.observed
