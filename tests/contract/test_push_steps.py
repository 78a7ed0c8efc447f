"""Every kind of step against libvirt's test driver: done once, then found done; refused where it must be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from push_world import UID, action, carry_out, config, defined, mark_of, node

from reconciler.model.domain import DiskConfig, InterfaceConfig
from reconciler.model.operations import (
    AttachDisk,
    AttachHostDevice,
    AttachInterface,
    ChangeMedia,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDisk,
    DetachHostDevice,
    DetachInterface,
    EnsureImage,
    GrowDisk,
    Mark,
    Operation,
    PinCpus,
    Redefine,
    SetAutostart,
    SetCpus,
    SetDescription,
    SetLimits,
    SetMemory,
    Start,
    Stop,
    Undefine,
    Unmark,
)
from reconciler.model.parts import CdromConfig, IoLimits
from reconciler.model.placement import image_volume_name, volume_name

FOREIGN_UID = "99999999-0000-4000-8000-000000000000"
FOREIGN = f"""<domain type='test'><name>theirs</name><uuid>{FOREIGN_UID}</uuid><memory>65536</memory>
  <os><type>hvm</type></os></domain>"""


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path, FOREIGN) as conn:
        yield conn


@pytest.fixture
def running(conn: libvirt.virConnect, tmp_path: Path) -> libvirt.virDomain:
    """Our machine, running."""
    carry_out(conn, tmp_path, defined(config()), action(Start(), "web-1/define"))
    return conn.lookupByUUIDString(UID)


def twice(conn: libvirt.virConnect, directory: Path, operation: Operation) -> None:
    """The first time it changes something, the second time nothing."""
    for outcome in ("changed", "ok"):
        results = carry_out(conn, directory, action(operation))
        assert [result.outcome for result in results.values()] == [outcome], results


def test_define_start_stop_undefine(conn: libvirt.virConnect, tmp_path: Path) -> None:
    wanted = config()
    twice(conn, tmp_path, Define(wanted, mark_of(wanted)))
    twice(conn, tmp_path, Start())
    assert conn.lookupByName("web-1").isActive()
    twice(conn, tmp_path, Stop(5))
    twice(conn, tmp_path, Undefine())
    assert conn.lookupByUUIDString(FOREIGN_UID)


def test_a_stop_without_patience_pulls_the_plug(
    running: libvirt.virDomain, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    twice(conn, tmp_path, Stop(0))
    assert running.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED


@pytest.mark.parametrize(
    "operation",
    [
        SetMemory(64 << 20),
        SetCpus(2),
        SetDescription("quotes \" ' & <tags> {{ 7 * 7 }}"),
        SetAutostart(True),
    ],
)
def test_live_changes(
    operation: Operation, running: libvirt.virDomain, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    twice(conn, tmp_path, operation)


def test_live_changes_of_a_stopped_machine_are_nothing_to_do(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    carry_out(conn, tmp_path, defined(config()))
    disk = DiskConfig("vdb", "virtio", "/pool/x.raw", "raw")
    for operation in (
        SetMemory(1 << 26),
        SetCpus(2),
        SetDescription("x"),
        AttachDisk(disk),
        DetachDisk("vda"),
        SetLimits("vda", IoLimits(read_iops=1)),
        ChangeMedia(CdromConfig("sda", "sata", "/iso/x.iso")),
        PinCpus(("0=0",), 1),
        AttachHostDevice("pci:0000:65:00.0"),
        DetachHostDevice("usb:046d:c52b"),
    ):
        (result,) = carry_out(conn, tmp_path, action(operation)).values()
        assert result.outcome == "ok"


def test_redefine_changes_the_named_fields_and_leaves_the_running_instance(
    running: libvirt.virDomain, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    wanted = config(memory=64 << 20, description="new", cpus=2)
    twice(conn, tmp_path, Redefine(wanted, mark_of(wanted, 2), ("memory", "description")))
    persistent, live = running.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), running.XMLDesc(0)
    assert "<currentMemory unit='KiB'>65536<" in persistent
    assert "<description>new<" in persistent
    assert "current='1'" in persistent
    assert 'generation="2"' in persistent
    assert 'generation="1"' in live
    assert running.isActive()


def test_a_field_that_cannot_be_redefined_is_terminal(
    running: object, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    wanted = config()
    result = carry_out(conn, tmp_path, action(Redefine(wanted, mark_of(wanted), ("uuid",))))["redefine"]
    assert (result.outcome, result.reason, result.terminal) == ("failed", "Unsupported", True)


def test_mark_and_unmark(conn: libvirt.virConnect, tmp_path: Path) -> None:
    adopted = config("theirs", FOREIGN_UID)
    domain = conn.lookupByUUIDString(FOREIGN_UID)
    before = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    for outcome in ("changed", "ok"):
        marked = carry_out(conn, tmp_path, action(Mark(mark_of(adopted)), uid=FOREIGN_UID))
        assert marked["mark"].outcome == outcome
    assert f'uid="{FOREIGN_UID}"' in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert f'uid="{FOREIGN_UID}"' in domain.XMLDesc(0)
    for outcome in ("changed", "ok"):
        assert carry_out(conn, tmp_path, action(Unmark(), uid=FOREIGN_UID))["unmark"].outcome == outcome
    # libvirt keeps the empty element.
    assert domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("  <metadata/>\n", "") == before


def test_another_owners_machine_is_not_adopted(conn: libvirt.virConnect, tmp_path: Path) -> None:
    theirs = config("theirs", FOREIGN_UID)
    carry_out(conn, tmp_path, action(Mark(mark_of(theirs, owner="other")), uid=FOREIGN_UID))
    result = carry_out(conn, tmp_path, action(Mark(mark_of(theirs)), uid=FOREIGN_UID))["mark"]
    assert (result.outcome, result.reason) == ("failed", "NotOurs")


DISK = DiskConfig("vdb", "virtio", "/pool/x.raw", "raw", 1 << 20, "data")
NIC = InterfaceConfig("52:00:00:00:00:07", "default", None, "virtio", "net7")


@pytest.mark.parametrize(
    "operation",
    [
        Redefine(config(memory=64 << 20), mark_of(config()), ("memory",)),
        Start(),
        Stop(0),
        SetMemory(64 << 20),
        SetCpus(1),
        SetDescription("x"),
        SetAutostart(True),
        AttachDisk(DISK),
        DetachDisk("vdb"),
        GrowDisk("vda", "/pool/x", 1 << 30),
        AttachInterface(NIC),
        DetachInterface(NIC.mac),
        SetLimits("vda", IoLimits(read_iops=1)),
        ChangeMedia(CdromConfig("sda", "sata", "/iso/x.iso")),
        PinCpus(("0=0",), 1),
        AttachHostDevice("pci:0000:65:00.0"),
        DetachHostDevice("usb:046d:c52b"),
        Undefine(),
    ],
    ids=lambda operation: operation.kind,
)
@pytest.mark.parametrize("owner", [None, "other"])
def test_a_domain_without_our_mark_is_left_alone(
    operation: Operation, owner: str | None, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    domain = conn.lookupByUUIDString(FOREIGN_UID)
    if owner:
        domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            f'<vm owner="{owner}" uid="{FOREIGN_UID}"/>',
            "reconciler",
            "urn:reconciler:vm:v1",
            libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )
    before = (domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), domain.autostart())
    if isinstance(operation, Redefine):
        twin = config("theirs", FOREIGN_UID)
        operation = Redefine(twin, mark_of(twin), ("memory",))
    (result,) = carry_out(conn, tmp_path, action(operation, uid=FOREIGN_UID)).values()
    assert (result.outcome, result.reason) == ("failed", "NotOurs")
    assert (domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), domain.autostart()) == before


def test_a_clone_that_carries_our_mark_along_is_not_ours(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(config()))
    xml = conn.lookupByUUIDString(UID).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    clone_uid = "88888888-0000-4000-8000-000000000000"
    mark_untouched = xml.replace(f"<uuid>{UID}</uuid>", f"<uuid>{clone_uid}</uuid>").replace(
        "<name>web-1</name>", "<name>clone</name>"
    )
    conn.defineXML(mark_untouched)
    result = carry_out(conn, tmp_path, action(Undefine(), uid=clone_uid))["undefine"]
    assert result.reason == "NotOurs"


def test_a_name_that_is_taken_is_refused(conn: libvirt.virConnect, tmp_path: Path) -> None:
    wanted = config("theirs")
    result = carry_out(conn, tmp_path, action(Define(wanted, mark_of(wanted))))["define"]
    assert (result.outcome, result.reason) == ("failed", "NameTaken")
    assert FOREIGN_UID in result.message


def test_a_uuid_that_is_taken_is_refused(conn: libvirt.virConnect, tmp_path: Path) -> None:
    wanted = config("new", FOREIGN_UID)
    result = carry_out(conn, tmp_path, action(Define(wanted, mark_of(wanted)), uid=FOREIGN_UID))["define"]
    assert result.reason == "NotOurs"


def test_a_machine_that_is_gone(conn: libvirt.virConnect, tmp_path: Path) -> None:
    for operation in (Stop(1), Undefine(), Unmark()):
        assert next(iter(carry_out(conn, tmp_path, action(operation)).values())).outcome == "ok"
    for operation in (Start(), SetMemory(1 << 26), SetAutostart(True)):
        assert next(iter(carry_out(conn, tmp_path, action(operation)).values())).reason == "DomainMissing"


VOLUME = volume_name("web-1", UID, "data", "raw")


def test_volumes(conn: libvirt.virConnect, tmp_path: Path) -> None:
    twice(conn, tmp_path, CreateVolume("default", VOLUME, "raw", 1 << 30))
    volume = conn.storagePoolLookupByName("default").storageVolLookupByName(VOLUME)
    assert volume.info()[1] == 1 << 30
    twice(conn, tmp_path, DeleteVolume(volume.path()))


def test_an_overlay_takes_its_images_size_or_a_larger_one(conn: libvirt.virConnect, tmp_path: Path) -> None:
    pool = conn.storagePoolLookupByName("default")
    pool.createXML("<volume><name>base.qcow2</name><capacity>1000000</capacity></volume>", 0)
    name = volume_name("web-1", UID, "root", "qcow2")
    overlay = CreateVolume("default", name, "qcow2", None, "base.qcow2", "qcow2")
    twice(conn, tmp_path, overlay)
    assert pool.storageVolLookupByName(name).info()[1] == 1_000_000
    small = replace(overlay, volume="small.qcow2", size=999_999)
    result = carry_out(conn, tmp_path, action(small))["create-volume"]
    assert (result.reason, result.terminal) == ("DiskTooSmall", True)
    orphan = replace(overlay, volume="orphan.qcow2", backing="gone.qcow2")
    assert carry_out(conn, tmp_path, action(orphan))["create-volume"].reason == "ImageMissing"


@pytest.mark.parametrize(
    "path",
    [
        "/pool/base.qcow2",
        "/pool/web-1.99999999-0000-4000-8000-000000000000.data.raw",
        f"/pool/{UID}",
        f"/pool/{UID}.raw",
        f"/pool/x{UID}.data.raw",
        f"/{UID}/a.b.c.d",
    ],
)
def test_only_the_machines_own_disks_can_be_deleted(
    path: str, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    result = carry_out(conn, tmp_path, action(DeleteVolume(path)))["delete-volume"]
    assert (result.outcome, result.reason, result.terminal) == ("failed", "NotOurs", True)


@pytest.mark.parametrize("uid", [UID, "6a2f41a3-c54c-4cf1-8b3e-000000000002"])
def test_a_disk_in_use_is_not_deleted(uid: str, conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "raw", 1 << 20)))
    user = config("user", uid, disks=(DiskConfig("vda", "virtio", f"/pool/{VOLUME}", "raw"),))
    carry_out(conn, tmp_path, defined(user))
    if uid == UID:  # its own domain is in the way only while it runs
        conn.lookupByName("user").create()
    result = carry_out(conn, tmp_path, action(DeleteVolume(f"/pool/{VOLUME}")))["delete-volume"]
    assert result.reason == "DiskInUse"
    assert "user" in result.message


def test_the_disks_of_a_machine_go_before_its_domain(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "raw", 1 << 20)))
    carry_out(conn, tmp_path, defined(config(disks=(DiskConfig("vda", "virtio", f"/pool/{VOLUME}", "raw"),))))
    result = carry_out(conn, tmp_path, action(DeleteVolume(f"/pool/{VOLUME}")))["delete-volume"]
    assert result.outcome == "changed"


def test_a_disk_grows_and_never_shrinks(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(config()), action(CreateVolume("default", VOLUME, "raw", 1 << 20)))
    volume = conn.storageVolLookupByPath(f"/pool/{VOLUME}")
    result = carry_out(conn, tmp_path, action(GrowDisk("vdb", volume.path(), 1 << 10)))["grow-disk"]
    assert result.outcome == "ok"
    assert volume.info()[1] == 1 << 20


def ensure_image(path: Path, **changes: str) -> EnsureImage:
    digest = hashlib.sha256(b"image").hexdigest()
    step = EnsureImage(
        "base", image_volume_name("base", digest, "raw"), "default", "/pool", digest, "raw", path=str(path)
    )
    return replace(step, **changes)


def test_an_image_reaches_the_pool_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    source = tmp_path / "base.raw"
    source.write_bytes(b"image")
    twice(conn, tmp_path, ensure_image(source))


def test_what_can_be_wrong_with_an_image(conn: libvirt.virConnect, tmp_path: Path) -> None:
    source = tmp_path / "base.raw"
    source.write_bytes(b"image")
    reasons = {
        "ImageMissing": ensure_image(tmp_path / "nothing"),
        "PoolMissing": ensure_image(source, pool="nowhere"),
        "ChecksumMismatch": ensure_image(source, sha256="0" * 64),
    }
    for reason, step in reasons.items():
        assert carry_out(conn, tmp_path, action(step))["ensure-image"].reason == reason
    assert conn.storagePoolLookupByName("default").listVolumes() == []
    huge = tmp_path / "huge.raw"
    with huge.open("wb") as file:
        file.truncate(1 << 42)
    assert carry_out(conn, tmp_path, action(ensure_image(huge)))["ensure-image"].reason == "PoolFull"
