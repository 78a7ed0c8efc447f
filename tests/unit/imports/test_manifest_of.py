"""Import and adoption write what is modelled: a field that is new has to be thought of here."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.decode import decode_text
from reconciler.desired.writer import to_yaml
from reconciler.errors import ReconcilerError
from reconciler.model.domain import DiskConfig, DomainConfig, DomainState, InterfaceConfig, ObservedDomain
from reconciler.model.host import Host, HostStatus, ObservedHost
from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)
from reconciler.observed.domain_xml import parse_domain
from reconciler.planner import Place, adopt
from reconciler.planner.manifest_of import NOT_SAID, PARTS, manifest_of, validated

CASES = Path(__file__).parents[2] / "cases" / "domain_xml"
BARE = DomainConfig(
    "a",
    "6a2f41a3-c54c-4cf1-8b3e-0123456789ab",
    cpus=2,
    max_cpus=2,
    memory=64 << 20,
    max_memory=64 << 20,
    disks=(DiskConfig("vda", "virtio", "/a", "raw"), DiskConfig("vdb", "virtio", "/b", "raw")),
    interfaces=(InterfaceConfig("52:54:00:00:00:01", "default", None),),
    console="none",
    virt_type="kvm",
    firmware="uefi",
)


def test_every_field_of_a_domain_is_said_or_left_out_for_a_reason() -> None:
    assert PARTS.keys() | NOT_SAID.keys() == {field.name for field in fields(DomainConfig)}
    assert not PARTS.keys() & NOT_SAID.keys()


def spec_of(config: DomainConfig) -> dict[str, Any]:
    """What the manifest of a domain says; it can be read back, and its adoption leaves nothing to do."""
    domain = ObservedDomain("kvm1", config, None, DomainState.SHUT_OFF)
    vm = validated(manifest_of(domain), domain)
    assert decode_text(to_yaml(vm), "a.yaml") == (vm,)
    adopt(domain, Place(Host("kvm1", "test:///default"), ObservedHost("kvm1", HostStatus.READY)), "default")
    spec: dict[str, Any] = vm.spec.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude_none=True
    )
    return spec


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cpu_model", "host-model", {"cpu": {"model": "host-model"}}),
        ("topology", Topology(1, 1, 2, 1), {"cpu": {"sockets": 1, "dies": 1, "cores": 2, "threads": 1}}),
        ("pinning", ("0=2-3", "emulator=0"), {"cpu": {"pinning": {"0": "2-3"}, "emulatorPinning": "0"}}),
        ("numa", (NumaCell("0-1", 64 << 20),), {"numa": {"cells": [{"cpus": "0-1", "memory": 64 << 20}]}}),
        ("numatune", "preferred:0", {"numa": {"mode": "preferred", "hostNodes": "0"}}),
        ("numatune", "strict:auto", {}),
        ("hugepages", "2Mi", {"hugepages": "2Mi"}),
        ("hugepages", "2Mi 1Gi@0", {}),
        ("secure_boot", False, {"secureBoot": False}),
        ("tpm", "emulator:2.0", {"tpm": {"version": "2.0"}}),
        ("tpm", "passthrough:/dev/tpm0", {"tpm": {"device": "/dev/tpm0"}}),
        ("tpm", "external:", {}),
        ("watchdog", "i6300esb:reset", {"watchdog": {"model": "i6300esb", "action": "reset"}}),
        ("watchdog", "odd:reset", {}),
        ("agent", True, {"agent": True}),
        ("rng", True, {"rng": True}),
        ("video", "virtio", {"video": "virtio"}),
        ("video", "a b", {}),
        (
            "graphics",
            (GraphicsConfig("vnc", "127.0.0.1", 5901),),
            {"graphics": [{"type": "vnc", "listen": "127.0.0.1", "port": 5901}]},
        ),
        ("graphics", (GraphicsConfig("vnc", "127.0.0.1"), GraphicsConfig("sdl")), {}),
        ("graphics", (GraphicsConfig("vnc", "socket:/run/x"),), {}),
        ("graphics", (GraphicsConfig("vnc"),), {}),
        ("consoles", ("virtio",), {"consoles": ["virtio"]}),
        ("cdroms", (CdromConfig("sda", "sata"),), {"cdroms": [{"name": "sda", "bus": "sata"}]}),
        ("cdroms", (CdromConfig("sda", "sata", "network:x"),), {}),
        (
            "filesystems",
            (FilesystemConfig("data", "/srv", "9p"),),
            {"filesystems": [{"tag": "data", "source": "/srv", "driver": "9p"}]},
        ),
        (
            "host_devices",
            ("pci:0000:65:00.0", "usb:046d:c52b", "usb:1.4"),
            {"hostDevices": [{"pci": "0000:65:00.0"}, {"usb": "046d:c52b"}, {"usbAddress": "1.4"}]},
        ),
        ("boot", ("vdb", "52:54:00:00:00:01", "vda"), {"boot": ["vdb", "net0", "root"]}),
        ("boot", ("hd",), {}),
        ("boot", ("pci:0000:65:00.0",), {}),
    ],
)
def test_a_part_is_said_if_a_manifest_can(field: str, value: object, said: dict[str, object]) -> None:
    plain = spec_of(BARE)
    found = spec_of(replace(BARE, **{field: value}))
    assert {key: value for key, value in found.items() if plain.get(key) != value} == said


def test_a_model_is_not_said_without_its_features() -> None:
    with_features = replace(BARE, cpu_model="qemu64", cpu_features=("vmx=require",))
    assert spec_of(with_features)["cpu"]["features"] == [{"name": "vmx", "policy": "require"}]
    odd = replace(BARE, cpu_model="qemu64", cpu_features=("vmx=unheard-of",))
    assert "cpu" not in spec_of(odd)


def test_how_a_disk_is_read_and_written_is_said() -> None:
    disk = DiskConfig(
        "vda",
        "virtio",
        "/a",
        "raw",
        cache="none",
        io="native",
        discard="unmap",
        limits=IoLimits(total_iops=9),
    )
    root = spec_of(replace(BARE, disks=(disk,)))["rootDisk"]
    assert {key: root[key] for key in ("cache", "io", "discard", "limits")} == {
        "cache": "none",
        "io": "native",
        "discard": "unmap",
        "limits": {"totalIops": 9},
    }
    assert "cache" not in spec_of(replace(BARE, disks=(replace(disk, cache="default"),)))["rootDisk"]


NOT_EXPRESSED = {
    "ceph-rbd": "a disk of its own on Ceph",
    "hostdev-pci": "a disk without a source",
    "interfaces-of-all-kinds": "an interface on neither network nor bridge",
    "odd-and-unknown": "a bus that we don't have",
    "uefi-pflash": "a disk that is a volume by its name",
    "xen-paravirtual": "the bus xen",
}


@pytest.mark.parametrize("path", sorted(CASES.glob("*.xml")), ids=lambda path: path.stem)
def test_other_peoples_domains_have_a_manifest_or_a_reason(path: Path) -> None:
    config = parse_domain(path.read_text(), "default").config
    if path.stem in NOT_EXPRESSED:
        with pytest.raises(ReconcilerError, match="a manifest cannot express it"):
            spec_of(config)
        return
    spec = spec_of(config)
    assert (spec["cpus"], spec["memory"]) == (config.cpus, config.memory)
