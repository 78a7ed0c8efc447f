"""`merge` for hardware: exactly what differs is transplanted, in domains that other people made."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from reconciler_apply.merge import merge
from reconciler_apply.merge_hardware import PARTS
from support.round_trip import OWNER, observed, rendered

from reconciler.model.domain import DomainConfig
from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)
from reconciler.observed.domain_xml import parse_domain
from reconciler.planner.hardware import FIELDS, SHED

CASES = Path(__file__).parents[2] / "cases/domain_xml"
DOMAINS = [
    *("linux-q35-marked", "windows-cdrom", "hostdev-pci", "memory-hotplug-numa", "uefi-pflash"),
    *("libvirt/qemu-graphics-spice.x86_64-latest", "libvirt/qemu-cputune"),
]
WANTED: dict[str, Any] = {
    "cpu_model": "Skylake-Client",
    "cpu_features": ("hle=disable", "vmx=require"),
    "topology": Topology(1, 1, 2, 2),
    "pinning": ("0=2-3", "emulator=1"),
    "numa": (NumaCell("0-1", 64 << 20), NumaCell("2-3", 64 << 20)),
    "numatune": "preferred:1",
    "hugepages": "1Gi",
    "secure_boot": True,
    "tpm": "passthrough:/dev/tpm7",
    "watchdog": "ib700:poweroff",
    "agent": True,
    "rng": True,
    "video": "bochs",
    "graphics": (GraphicsConfig("vnc", "127.0.0.1", 5977),),
    "consoles": ("serial", "serial", "virtio"),
    "cdroms": (CdromConfig("sdx", "scsi", "/iso/x.iso"), CdromConfig("sdy", "sata")),
    "filesystems": (FilesystemConfig("home", "/srv/home"), FilesystemConfig("old", "/srv/old", "9p")),
    "host_devices": ("pci:0000:99:00.0", "usb:1234:5678", "usb:3.7"),
}
# What a field cannot change without another one.
ALONG = {"consoles": {"console"}, "secure_boot": {"firmware"}, "cdroms": {"boot"}, "host_devices": {"boot"}}
# The elements that a field may touch; in all others not even the number of children changes.
TOUCHED = {
    **{name: {"cpu"} for name in ("cpu_model", "cpu_features", "topology", "numa")},
    "pinning": {"cputune"},
    "numatune": {"numatune"},
    "hugepages": {"memoryBacking"},
    "secure_boot": {"os", "features"},
    "filesystems": {"memoryBacking", "filesystem"},
    "agent": {"channel"},
    "consoles": {"serial", "console"},
    "cdroms": {"disk", "controller"},
    "host_devices": {"hostdev", "controller"},
    "boot": {"os", "disk", "interface", "hostdev"},
}


def read(name: str) -> tuple[str, DomainConfig]:
    text = (CASES / f"{name}.xml").read_text()
    return text, observed(text).config


def shape(text: str) -> Counter[str]:
    """How often each path of tags is in a domain."""
    found: Counter[str] = Counter()

    def walk(element: ET.Element, path: str) -> None:
        found[path] += 1
        for child in element:
            walk(child, f"{path}/{child.tag}")

    for part in ET.fromstring(text):
        for device in part if part.tag == "devices" else (part,):
            if device.tag != "metadata":
                walk(device, device.tag)
    return found


def test_every_field_has_a_transplant_and_a_value_here() -> None:
    assert PARTS.keys() == set(FIELDS)
    assert WANTED.keys() == set(FIELDS) - {"boot"}


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("field", WANTED)
def test_a_field_arrives_and_all_else_stays(name: str, field: str) -> None:
    text, config = read(name)
    wanted = replace(config, **{field: WANTED[field]})
    if field == "consoles":
        wanted = replace(wanted, console="serial")
    if field == "secure_boot":
        wanted = replace(wanted, firmware="uefi")
    merged = merge(text, rendered(wanted), [field])
    after = observed(merged).config
    assert getattr(after, field) == WANTED[field]
    expect_unchanged(config, after, {field, *ALONG.get(field, ())})
    before, now = shape(text), shape(merged)
    moved = {path.partition("/")[0] for path in before | now if before[path] != now[path]}
    assert moved <= TOUCHED.get(field, {field})


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("field", SHED)
def test_a_field_is_taken_away(name: str, field: str) -> None:
    text, config = read(name)
    merged = merge(text, rendered(replace(config, **{field: SHED[field]})), [field])
    after = observed(merged).config
    assert getattr(after, field) in (None, SHED[field])
    expect_unchanged(config, after, {field, *ALONG.get(field, ())})


def expect_unchanged(before: DomainConfig, after: DomainConfig, but: set[str]) -> None:
    differing = {f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name)}
    assert differing <= but


@pytest.mark.parametrize("name", DOMAINS[:2])
def test_the_boot_order_names_devices(name: str) -> None:
    text, config = read(name)
    keys = [disk.target for disk in config.disks or ()] + [nic.mac for nic in config.interfaces or ()]
    keys += [drive.target for drive in config.cdroms or ()]
    assert len(set(keys)) == len(keys) > 0
    wanted = tuple(reversed(keys))
    merged = merge(text, rendered(replace(config, boot=wanted)), ["boot"])
    assert observed(merged).config.boot == wanted
    expect_unchanged(config, observed(merged).config, {"boot"})
    assert ET.fromstring(merged).find("os/boot") is None


def test_limits_of_a_disk_leave_its_bursts_alone() -> None:
    text, config = read("libvirt/qemu-blkdeviotune-max.x86_64-latest")
    disk = (config.disks or ())[0]
    wanted = replace(disk, limits=IoLimits(total_iops=77))
    others = (config.disks or ())[1:]
    merged = merge(text, rendered(replace(config, disks=(wanted, *others))), [f"disks[{disk.target}].limits"])
    assert (observed(merged).config.disks or ())[0].limits == IoLimits(total_iops=77)
    tune = ET.fromstring(merged).find("devices/disk/iotune")
    assert tune is not None
    assert tune.find("total_bytes_sec_max") is not None


def test_a_screen_keeps_its_password() -> None:
    text = (
        "<domain type='kvm'><name>a</name><devices><graphics type='vnc' port='-1' autoport='yes' passwd='x' "
        "keymap='de'><listen type='address' address='0.0.0.0'/></graphics></devices></domain>"
    )
    wanted = DomainConfig(
        "a", "22222222-0000-4000-8000-000000000001", graphics=(GraphicsConfig("vnc", "::1"),)
    )
    graphics = ET.fromstring(merge(text, rendered(wanted), ["graphics"])).find("devices/graphics")
    assert graphics is not None
    assert graphics.attrib == {"type": "vnc", "autoport": "yes", "passwd": "x", "keymap": "de"}
    assert [one.get("address") for one in graphics.findall("listen")] == ["::1"]


def test_the_seed_is_no_drive_of_the_user() -> None:
    uid = "22222222-0000-4000-8000-000000000001"
    seed = (
        f"<disk type='file' device='cdrom'><source file='/p/a.{uid}.cloud-init.iso'/>"
        "<target dev='sda' bus='sata'/></disk>"
    )
    text = f"<domain type='kvm'><name>a</name><uuid>{uid}</uuid><devices>{seed}</devices></domain>"
    config = parse_domain(text, OWNER).config
    assert config.cdroms is None
    merged = merge(text, rendered(replace(config, cdroms=(), seed=None)), ["cdroms"])
    assert parse_domain(merged, OWNER).config.seed == config.seed
