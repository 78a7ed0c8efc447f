"""Disks of a machine that begin as copies of another's, against libvirt's test driver."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from push_world import UID, action, carry_out, config, defined, node

from reconciler.model.domain import DiskConfig
from reconciler.model.operations import CreateVolume, Start
from reconciler.model.placement import volume_name
from reconciler.planner.clone import half_copied

OTHER = "11111111-0000-4000-8000-000000000000"
SOURCE = volume_name("web-1", UID, "root", "qcow2")
TARGET = volume_name("copy", OTHER, "root", "qcow2")
COPY = CreateVolume("default", TARGET, "qcow2", 2 << 20, source=SOURCE, source_pool="default")


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        disk = DiskConfig("vda", "virtio", f"/pool/{SOURCE}", "qcow2", 1 << 20, "root")
        made = action(CreateVolume("default", SOURCE, "qcow2", 1 << 20))
        carry_out(conn, tmp_path, made, defined(config(disks=(disk,))))
        yield conn


def copied(conn: libvirt.virConnect, directory: Path) -> tuple[str, str]:
    [result] = carry_out(conn, directory, action(COPY, uid=OTHER, vm="copy")).values()
    return result.outcome, result.reason or result.message


def volumes(conn: libvirt.virConnect) -> list[str]:
    return sorted(conn.storagePoolLookupByName("default").listVolumes())


def test_a_disk_is_copied_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    assert copied(conn, tmp_path) == ("changed", f"copied from {SOURCE}")
    assert copied(conn, tmp_path) == ("ok", "")
    assert volumes(conn) == sorted([SOURCE, TARGET])


def test_what_runs_is_not_copied(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(Start()))
    assert copied(conn, tmp_path) == ("failed", "SourceInUse")
    assert volumes(conn) == [SOURCE]


def test_a_copy_that_was_cut_short_is_made_anew(conn: libvirt.virConnect, tmp_path: Path) -> None:
    copied(conn, tmp_path)
    marker = half_copied(OTHER, TARGET)
    assert marker == f"copying.{uuid.uuid5(uuid.UUID(OTHER), TARGET)}"
    xml = f"<volume><name>{marker}</name><capacity>1</capacity></volume>"
    conn.storagePoolLookupByName("default").createXML(xml, 0)
    assert copied(conn, tmp_path) == ("changed", f"copied from {SOURCE}")
    assert volumes(conn) == sorted([SOURCE, TARGET])
