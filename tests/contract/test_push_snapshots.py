"""Snapshots against libvirt's test driver: taken once, gone back to with the mark of today, deleted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from push_world import UID, action, carry_out, config, defined, mark_of, node

from reconciler.model.domain import METADATA_NAMESPACE, Applied, DiskConfig
from reconciler.model.operations import DeleteSnapshot, Redefine, RestoreSnapshot, Start, TakeSnapshot

ROOT = DiskConfig("vda", "virtio", "/pool/root.qcow2", "qcow2", 1 << 20, "root")
DATA = DiskConfig("vdb", "virtio", "/pool/data.qcow2", "qcow2", 1 << 20, "data")
VOLUME = replace(DATA, path=f"/pool/volume-shelf.{UID}.qcow2", volume="shelf")
THEN = config(disks=(ROOT,))
TAKE = TakeSnapshot("before", ("vda",))


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        carry_out(conn, tmp_path, defined(THEN))
        yield conn


def marked(conn: libvirt.virConnect) -> dict[str, str]:
    """What the mark of the next start says."""
    domain = conn.lookupByUUIDString(UID)
    where = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    element = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_NAMESPACE, where)
    return dict(ET.fromstring(element).attrib)


def restore(applied: Applied) -> RestoreSnapshot:
    return RestoreSnapshot("before", applied)


def test_a_snapshot_is_taken_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    for outcome in ("changed", "ok"):
        assert carry_out(conn, tmp_path, action(TAKE))["take-snapshot"].outcome == outcome
    assert conn.lookupByUUIDString(UID).snapshotListNames() == ["before"]


@pytest.mark.parametrize("running", [False, True])
def test_the_mark_of_today_outlives_the_way_back(
    conn: libvirt.virConnect, tmp_path: Path, running: bool
) -> None:
    if running:
        carry_out(conn, tmp_path, action(Start()))
    carry_out(conn, tmp_path, action(TAKE))
    today = replace(THEN, description="new", cpus=2)
    renewed = mark_of(today, generation=7)
    carry_out(conn, tmp_path, action(Redefine(today, renewed, ("description", "cpus"))))
    result = carry_out(conn, tmp_path, action(restore(renewed)))["restore-snapshot"]
    assert result.outcome == "changed", result
    domain = conn.lookupByUUIDString(UID)
    assert "<description>" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert (marked(conn)["generation"], marked(conn)["uid"]) == ("7", UID)
    assert bool(domain.isActive()) is running


def test_what_would_not_be_whole_is_not_taken(conn: libvirt.virConnect, tmp_path: Path) -> None:
    result = carry_out(conn, tmp_path, action(TakeSnapshot("half", ("vda", "vdb"))))["take-snapshot"]
    assert (result.outcome, result.reason) == ("failed", "DisksChanged")
    assert conn.lookupByUUIDString(UID).snapshotListNames() == []


def test_a_disk_that_went_to_somebody_else_is_not_rolled_back(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    both = replace(THEN, disks=(ROOT, DATA))
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 2), ("disks[data]",))))
    carry_out(conn, tmp_path, action(TakeSnapshot("before", ("vda", "vdb"))))
    carry_out(conn, tmp_path, action(Redefine(THEN, mark_of(THEN, 3), ("disks[data]",))))
    result = carry_out(conn, tmp_path, action(restore(mark_of(THEN, 3))))["restore-snapshot"]
    assert (result.outcome, result.reason) == ("failed", "DiskDetached")
    assert marked(conn)["generation"] == "3"


def test_a_snapshot_of_a_disk_that_went_is_not_deleted(conn: libvirt.virConnect, tmp_path: Path) -> None:
    # libvirt 9 crashes if it is asked to.
    both = replace(THEN, disks=(ROOT, DATA))
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 2), ("disks[data]",))))
    carry_out(conn, tmp_path, action(TakeSnapshot("before", ("vda", "vdb"))))
    carry_out(conn, tmp_path, action(Redefine(THEN, mark_of(THEN, 3), ("disks[data]",))))
    result = carry_out(conn, tmp_path, action(DeleteSnapshot("before")))["delete-snapshot"]
    assert (result.outcome, result.reason, result.terminal) == ("failed", "DiskDetached", True)
    assert "no longer has /pool/data.qcow2, which the snapshot 'before' would change" in result.message
    assert "virsh snapshot-delete web-1 before --metadata" in result.message
    assert conn.lookupByUUIDString(UID).snapshotListNames() == ["before"]
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 4), ("disks[data]",))))
    assert carry_out(conn, tmp_path, action(DeleteSnapshot("before")))["delete-snapshot"].outcome == "changed"


def test_a_snapshot_of_a_target_that_went_is_not_deleted(conn: libvirt.virConnect, tmp_path: Path) -> None:
    # libvirt looks the disks up by their targets, whatever file they lead to.
    carry_out(conn, tmp_path, action(TAKE))
    moved = replace(THEN, disks=(replace(ROOT, target="vdc"),))
    carry_out(conn, tmp_path, action(Redefine(moved, mark_of(moved, 2), ("disks[root]",))))
    result = carry_out(conn, tmp_path, action(DeleteSnapshot("before")))["delete-snapshot"]
    assert (result.outcome, result.reason) == ("failed", "DiskDetached")
    assert "no longer has the disk vda" in result.message
    assert conn.lookupByUUIDString(UID).snapshotListNames() == ["before"]


def test_no_snapshot_is_kept_inside_of_a_volume(conn: libvirt.virConnect, tmp_path: Path) -> None:
    both = replace(THEN, disks=(ROOT, VOLUME))
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 2), ("disks[data]",))))
    take = TakeSnapshot("before", ("vda", "vdb"))
    result = carry_out(conn, tmp_path, action(take))["take-snapshot"]
    assert (result.outcome, result.reason, result.terminal) == ("failed", "VolumeInSnapshot", True)
    assert "'web-1' has the volume 'shelf'" in result.message
    assert conn.lookupByUUIDString(UID).snapshotListNames() == []


def test_a_volume_that_cannot_be_written_is_no_obstacle(conn: libvirt.virConnect, tmp_path: Path) -> None:
    both = replace(THEN, disks=(ROOT, replace(VOLUME, read_only=True)))
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 2), ("disks[data]",))))
    for operation in (TAKE, restore(mark_of(both, 2)), DeleteSnapshot("before")):
        [result] = carry_out(conn, tmp_path, action(operation)).values()
        assert result.outcome == "changed", result


@pytest.mark.parametrize("attached", [True, False])
def test_a_snapshot_that_was_kept_inside_of_a_volume_is_not_touched(
    conn: libvirt.virConnect, tmp_path: Path, attached: bool
) -> None:
    both = replace(THEN, disks=(ROOT, VOLUME))
    carry_out(conn, tmp_path, action(Redefine(both, mark_of(both, 2), ("disks[data]",))))
    domain = conn.lookupByUUIDString(UID)
    domain.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>", 0)
    if not attached:
        carry_out(conn, tmp_path, action(Redefine(THEN, mark_of(THEN, 3), ("disks[data]",))))
    for operation in (restore(mark_of(THEN, 3)), DeleteSnapshot("before")):
        [result] = carry_out(conn, tmp_path, action(operation)).values()
        assert (result.outcome, result.reason) == ("failed", "VolumeInSnapshot")
        assert "the volume 'shelf'" in result.message
    assert domain.snapshotListNames() == ["before"]


def test_a_snapshot_of_when_it_was_nobodys_is_not_gone_back_to(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    domain = conn.lookupByUUIDString(UID)
    kind, where = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    mine = domain.metadata(kind, METADATA_NAMESPACE, where)
    domain.setMetadata(kind, None, "reconciler", METADATA_NAMESPACE, where)
    domain.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>", 0)
    domain.setMetadata(kind, mine, "reconciler", METADATA_NAMESPACE, where)
    result = carry_out(conn, tmp_path, action(restore(mark_of(THEN))))["restore-snapshot"]
    assert (result.outcome, result.reason) == ("failed", "NotOurs")


def test_no_snapshot_is_touched_of_a_domain_that_is_not_ours(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    domain = conn.lookupByUUIDString(UID)
    domain.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>", 0)
    kind, where = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    domain.setMetadata(kind, None, "reconciler", METADATA_NAMESPACE, where)
    for operation in (TAKE, restore(mark_of(THEN)), DeleteSnapshot("before")):
        [result] = carry_out(conn, tmp_path, action(operation)).values()
        assert (result.outcome, result.reason) == ("failed", "NotOurs")
    assert domain.snapshotListNames() == ["before"]


def test_a_snapshot_is_deleted_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(TAKE))
    for outcome in ("changed", "ok"):
        assert (
            carry_out(conn, tmp_path, action(DeleteSnapshot("before")))["delete-snapshot"].outcome == outcome
        )
    result = carry_out(conn, tmp_path, action(restore(mark_of(THEN))))["restore-snapshot"]
    assert (result.outcome, result.reason) == ("failed", "SnapshotMissing")


def test_a_dry_run_keeps_its_hands_off(conn: libvirt.virConnect, tmp_path: Path) -> None:
    result = carry_out(conn, tmp_path, action(TAKE), check=True)["take-snapshot"]
    assert "would take the snapshot" in result.message
    assert conn.lookupByUUIDString(UID).snapshotListNames() == []
