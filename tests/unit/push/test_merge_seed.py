"""A cloud-init CD-ROM comes into an existing domain, moves and goes; other people's drives stay."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from reconciler_apply.merge import merge

from reconciler.model.domain import Applied, DomainConfig, SeedConfig
from reconciler.push.render import HostTraits, render_domain

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
BARE = DomainConfig("web-1", UID, virt_type="qemu", machine="q35", cpus=1, memory=128 << 20, disks=())
SEED = SeedConfig("sda", "scsi", f"/pool/web-1.{UID}.cloud-init.iso", "0" * 32)
THEIRS = (
    '<disk type="file" device="cdrom"><driver name="qemu" type="raw"/><source file="/theirs.iso"/>'
    '<target dev="sdb" bus="sata"/><readonly/></disk>'
)


def rendered(seed: SeedConfig | None) -> str:
    config = replace(BARE, seed=seed)
    return render_domain(config, Applied("default", UID, "web-1", 1, "0" * 32, config), HostTraits("qemu"))


def drives(xml: str) -> list[tuple[str, str, str]]:
    found = []
    for disk in ET.fromstring(xml).iterfind("devices/disk[@device='cdrom']"):
        source, target = disk.find("source"), disk.find("target")
        assert source is not None
        assert target is not None
        assert disk.find("readonly") is not None
        found.append(
            (source.get("file", source.get("dev", "")), target.get("dev", ""), target.get("bus", ""))
        )
    return found


def with_theirs(xml: str) -> str:
    return xml.replace("</devices>", f"{THEIRS}</devices>")


THEIR_DRIVE = ("/theirs.iso", "sdb", "sata")


def test_it_comes_with_the_controller_that_it_needs() -> None:
    merged = merge(with_theirs(rendered(None)), rendered(SEED), ["seed"])
    assert drives(merged) == [THEIR_DRIVE, (SEED.path, "sda", "scsi")]
    controllers = ET.fromstring(merged).findall("devices/controller[@type='scsi']")
    assert [one.get("model") for one in controllers] == ["virtio-scsi"]


def test_it_moves_to_another_bus() -> None:
    moved = replace(SEED, bus="sata")
    assert drives(merge(with_theirs(rendered(SEED)), rendered(moved), ["seed"])) == [
        THEIR_DRIVE,
        (SEED.path, "sda", "sata"),
    ]


def test_it_goes_alone() -> None:
    assert drives(merge(with_theirs(rendered(SEED)), rendered(None), ["seed"])) == [THEIR_DRIVE]


def test_on_a_block_device() -> None:
    path = f"/dev/vg/web-1.{UID}.cloud-init.iso"
    disk = ET.fromstring(rendered(replace(SEED, path=path))).find("devices/disk")
    assert disk is not None
    assert (disk.get("type"), drives(rendered(replace(SEED, path=path)))) == (
        "block",
        [(path, "sda", "scsi")],
    )
