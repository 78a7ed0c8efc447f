"""Acts on one machine: what they plan, and what they refuse before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ReconcilerError
from reconciler.model.domain import Applied, DiskConfig, DomainConfig, DomainState, ObservedDomain
from reconciler.model.operations import RestoreSnapshot, Start, Stop, TakeSnapshot
from reconciler.model.plan import Action, Blocked, Change, Impact, Plan, Verb
from reconciler.model.snapshot import Snapshot
from reconciler.planner import one_off

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
ROOT = DiskConfig("vda", "virtio", "/pool/root.qcow2", "qcow2", None, "root")
DATA = DiskConfig("vdb", "virtio", "/pool/data.qcow2", "qcow2", None, "data")
SHELF = replace(DATA, path=f"/pool/volume-shelf.{UID}.qcow2", volume="shelf")
THEN = Snapshot("then", 1.0, "shutoff", False, ("/pool/root.qcow2", "/pool/data.qcow2"))


def domain(*disks: DiskConfig, running: bool = True, **config: str) -> ObservedDomain:
    """A machine with these disks; on the host they carry no names."""
    told = DomainConfig("web", UID, virt_type="kvm", disks=disks, **config)  # type: ignore[arg-type]
    seen = replace(told, disks=tuple(replace(disk, name=None) for disk in disks))
    mark = Applied("default", UID, "web", 3, "hash", told)
    state = DomainState.RUNNING if running else DomainState.SHUT_OFF
    return ObservedDomain("h1", seen, seen if running else None, state, applied=mark, applied_live=mark)


def kinds(plan: Plan) -> list[str]:
    return [action.operation.kind for action in plan.actions]


def test_a_restart_stops_first_what_runs() -> None:
    plan = one_off.restart(domain(ROOT), 7, "asked")
    assert [action.operation for action in plan.actions] == [Stop(7), Start()]
    assert plan.actions[1].after == ("web/stop",)
    assert kinds(one_off.restart(domain(ROOT, running=False), 7, "asked")) == ["start"]
    assert plan.changes[0].verb is Verb.RESTART
    assert kinds(one_off.start(domain(ROOT), "x")) == ["start"]
    assert kinds(one_off.stop(domain(ROOT), 0, "x")) == ["stop"]


def test_a_snapshot_is_of_all_disks_that_can_be_written() -> None:
    seed = replace(DATA, target="sda", format="raw", read_only=True)
    plan = one_off.take_snapshot(domain(ROOT, DATA, seed), "now", [THEN])
    assert plan.actions[0].operation == TakeSnapshot("now", ("vda", "vdb"))
    assert plan.changes[0].reason == "'now' keeps root, data and its memory"
    assert plan.changes[0].impact is Impact.LIVE
    cold = one_off.take_snapshot(domain(ROOT, running=False), "now", [])
    assert cold.changes[0].reason == "'now' keeps root"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (domain(ROOT, replace(DATA, format="raw")), "has the disk data, which is raw"),
        (domain(ROOT, replace(DATA, type="network")), "has the disk data, which is network"),
        (domain(ROOT, replace(DATA, type="block")), "has the disk data, which is block"),
        (domain(ROOT, firmware="uefi"), "boots with UEFI"),
        (domain(), "has no disk"),
        (replace(domain(ROOT), live=None, config=DomainConfig("web", UID, virt_type="lxc")), "of type lxc"),
        (replace(domain(ROOT), applied=None), "is not ours"),
    ],
)
def test_half_a_snapshot_is_refused(found: ObservedDomain, says: str) -> None:
    with pytest.raises(ReconcilerError, match=says):
        one_off.take_snapshot(found, "now", [])


@pytest.mark.parametrize(
    "volume",
    [
        SHELF,
        replace(SHELF, volume=None),  # its name tells, even if nobody remembers what it is
        replace(SHELF, path="/pool/linked.qcow2"),
        replace(SHELF, format="raw"),
    ],
)
def test_a_volume_holds_no_snapshot_of_a_machine(volume: DiskConfig) -> None:
    with pytest.raises(ReconcilerError, match="has the volume shelf") as caught:
        one_off.take_snapshot(domain(ROOT, volume), "now", [])
    assert "detach it first" in caught.value.hint
    assert "source: {volume: shelf}" in caught.value.hint
    plan = one_off.take_snapshot(domain(ROOT, replace(volume, read_only=True)), "now", [])
    assert plan.actions[0].operation == TakeSnapshot("now", ("vda",))


@pytest.mark.parametrize("found", [domain(ROOT, SHELF), domain(ROOT)])
def test_a_snapshot_inside_of_a_volume_is_not_touched(found: ObservedDomain) -> None:
    known = [replace(THEN, disks=(ROOT.path, SHELF.path))]
    for act in (one_off.restore_snapshot, one_off.delete_snapshot):
        with pytest.raises(ReconcilerError, match="the volume shelf") as caught:
            act(found, "then", known)
        assert "virsh snapshot-delete web then --metadata" in caught.value.hint


def test_a_snapshot_of_a_disk_that_went_is_not_deleted() -> None:
    with pytest.raises(ReconcilerError, match=r"no longer has /pool/data\.qcow2, which .* would") as caught:
        one_off.delete_snapshot(domain(ROOT), "then", [THEN])
    assert "attach it again first" in caught.value.hint
    assert "virsh snapshot-delete web then --metadata" in caught.value.hint


def test_going_back_writes_the_mark_of_today() -> None:
    found = domain(ROOT, DATA)
    plan = one_off.restore_snapshot(found, "then", [THEN])
    assert found.applied is not None
    assert plan.actions[0].operation == RestoreSnapshot("then", found.applied)
    assert plan.changes[0].impact is Impact.DESTROY
    assert plan.notes == ()
    later = replace(DATA, target="vdc", path="/pool/later.qcow2", name="later")
    notes = one_off.restore_snapshot(domain(ROOT, DATA, later), "then", [THEN]).notes
    assert notes == ("later of web came after the snapshot and stays as it is",)


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ([], "has no snapshot 'then'; there is: none"),
        ([replace(THEN, name="other")], "there is: other"),
        ([replace(THEN, marked=False)], "was not ours yet"),
        ([replace(THEN, disks=("/pool/root.qcow2", "/pool/gone.qcow2"))], "no longer has /pool/gone.qcow2"),
    ],
)
def test_what_cannot_be_gone_back_to(known: list[Snapshot], says: str) -> None:
    with pytest.raises(ReconcilerError, match=says):
        one_off.restore_snapshot(domain(ROOT, DATA), "then", known)


def test_names_of_snapshots_are_taken_once() -> None:
    with pytest.raises(ReconcilerError, match="already"):
        one_off.take_snapshot(domain(ROOT), "then", [THEN])
    with pytest.raises(ReconcilerError, match="has no snapshot"):
        one_off.delete_snapshot(domain(ROOT), "now", [THEN])
    assert kinds(one_off.delete_snapshot(domain(ROOT, DATA), "then", [THEN])) == ["delete-snapshot"]


def action(name: str, vm: str, *after: str) -> Action:
    return Action(name, "h1", vm, UID, Start(), Impact.NONE, "test", after)


def test_the_part_of_one_machine_takes_along_what_it_needs() -> None:
    changes = tuple(Change(vm, UID, "h1", Verb.UPDATE, Impact.NONE, "x") for vm in ("Volume/v", "a", "b"))
    actions = (action("pool", "Volume/v"), action("img", ""), action("a/x", "a", "pool"), action("b/x", "b"))
    blocked = (Blocked("a", "R", "m"), Blocked("c", "R", "m"))
    plan = Plan("r", changes, actions, blocked, 5, ("a: note", "b: note", "whole"))
    part = one_off.only(plan, "a")
    assert [act.id for act in part.actions] == ["pool", "a/x"]
    assert [change.vm for change in part.changes] == ["Volume/v", "a"]
    assert (part.blocked, part.notes, part.unchanged) == (blocked[:1], ("a: note",), 0)
    assert one_off.refusal(part, "a") == blocked[0]
    assert one_off.only(plan, "z").unchanged == 1


def test_what_waits_for_another_machine_is_not_done_alone() -> None:
    plan = Plan("r", (), (action("a/x", "a"), action("img", "", "a/x"), action("b/x", "b", "img")))
    with pytest.raises(ReconcilerError, match="b waits for a change of a"):
        one_off.only(plan, "b")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sets(st.integers(0, 9))), max_size=10))
def test_a_part_is_closed_and_in_order(drawn: list[tuple[str, set[int]]]) -> None:
    actions = tuple(
        action(str(at), "" if vm == "b" else vm, *(str(n) for n in sorted(after) if n < at))
        for at, (vm, after) in enumerate(drawn)
    )
    part = one_off.only(Plan("r", (), actions), "a")
    ids = [act.id for act in part.actions]
    assert ids == [act.id for act in actions if act.id in ids]
    assert {act.id for act in actions if act.vm == "a"} <= set(ids)
    assert all(before in ids for act in part.actions for before in act.after)
