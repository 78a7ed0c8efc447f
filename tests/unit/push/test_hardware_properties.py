"""Any hardware: rendered and read back it is the same, and no text of it gets out of its place."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from reconciler_apply.merge import merge
from support.round_trip import OWNER, lost, rendered

from reconciler.model.domain import DiskConfig, DomainConfig, InterfaceConfig
from reconciler.model.envelope import check_text
from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)
from reconciler.observed.domain_xml import parse_domain
from reconciler.planner.fields import SCALARS
from reconciler.planner.hardware import FIELDS

UUID = "0b6f1f7c-5a57-4b0e-8f7e-0a4a1d2a9a99"
MAC = "52:54:00:00:00:01"
BARE = DomainConfig("a", UUID, "kvm", cpus=4, max_cpus=4, memory=1 << 30, max_memory=1 << 30)


def _carried(text: str) -> bool:
    """XML carries it as it is: attribute values make spaces of line ends and tabs."""
    try:
        return check_text(text) == text and "\n" not in text and "\t" not in text
    except ValueError:
        return False


texts = st.text(st.sampled_from("ab <>&\"'{}%$]é"), min_size=1, max_size=12).filter(_carried)
paths = texts.map(lambda text: f"/{text}")
words = st.sampled_from(["host-passthrough", "host-model", "EPYC", "qemu64"])
sets = st.sampled_from(["0", "1-3", "0,2,5-7"])
counts = st.integers(0, 1 << 40)
small = st.integers(1, 64)
TAGS = """
domain name uuid metadata {urn:reconciler:vm:v1}vm memory currentMemory vcpu memoryBacking hugepages
page source access cputune vcpupin emulatorpin numatune os type features acpi apic cpu model
topology feature numa cell clock devices disk driver target iotune total_bytes_sec read_iops_sec
write_iops_sec readonly boot interface mac controller memballoon filesystem channel tpm backend
device graphics listen video hostdev address vendor product watchdog rng serial console
"""
hardware = st.fixed_dictionaries(
    {},
    optional={
        "cpu_model": words,
        "cpu_features": st.just(("svm=disable", "vmx=require")),
        "topology": st.builds(Topology, small, small, small, small),
        "pinning": st.lists(sets, min_size=1, max_size=4).map(
            lambda where: tuple(f"{cpu}={cpus}" for cpu, cpus in enumerate(where))
        ),
        "numa": st.lists(
            st.builds(NumaCell, sets, small.map(lambda mib: mib << 20)), min_size=1, max_size=3
        ).map(tuple),
        "numatune": st.sampled_from(["strict:0", "preferred:1", "interleave:0-1"]),
        "hugepages": st.sampled_from(["default", "2Mi", "1Gi", "2Mi@0 1Gi@1-2"]),
        "tpm": paths.map(lambda path: f"passthrough:{path}") | st.just("emulator:2.0"),
        "watchdog": st.sampled_from(["i6300esb:reset", "ib700:inject-nmi"]),
        "agent": st.just(True),
        "rng": st.just(True),
        "video": texts,
        "graphics": st.lists(
            st.builds(
                GraphicsConfig, st.just("vnc"), texts | st.none(), st.integers(1024, 65535) | st.none()
            ),
            min_size=1,
            max_size=2,
        ).map(tuple),
        "consoles": st.sampled_from([("virtio",), ("virtio", "virtio")]),
        "cdroms": st.builds(CdromConfig, st.just("sda"), st.just("sata"), paths | st.none()).map(
            lambda drive: (drive,)
        ),
        "filesystems": st.builds(FilesystemConfig, texts, paths, st.sampled_from(["virtiofs", "9p"])).map(
            lambda folder: (folder,)
        ),
        "host_devices": st.just(("pci:0000:65:00.0", "usb:046d:c52b", "usb:1.4")),
        "boot": st.permutations(["vda", MAC]).map(tuple),
        "disks": st.builds(
            DiskConfig,
            target=st.just("vda"),
            bus=st.just("virtio"),
            path=paths,
            format=st.just("raw"),
            cache=st.none() | st.just("none"),
            limits=st.builds(IoLimits, counts, read_iops=counts, write_iops=counts).filter(
                lambda limits: limits != IoLimits()
            )
            | st.none(),
            read_only=st.none() | st.just(True),
        ).map(lambda disk: (disk,)),
        "interfaces": st.just((InterfaceConfig(MAC, "default", None, "virtio"),)),
    },
)


@settings(max_examples=60)
@given(hardware)
def test_it_is_read_back_as_it_was_rendered(fields: dict[str, object]) -> None:
    if "boot" in fields and not {"disks", "interfaces"} <= fields.keys():
        del fields["boot"]
    config = replace(BARE, **fields)  # type: ignore[arg-type]
    xml = rendered(config)
    back = parse_domain(xml, OWNER)
    assert lost(config, back.config) == {}
    assert back.applied is not None
    assert back.applied.config == config
    # No text became an element: there are no others than the same machine has with plain words.
    assert {element.tag for element in ET.fromstring(xml).iter()} <= set(TAGS.split())


@settings(max_examples=40)
@given(hardware, hardware)
def test_one_becomes_the_other(one: dict[str, object], other: dict[str, object]) -> None:
    """Whatever a domain has and whatever it shall have: written once, nothing differs any more."""
    before, after = _with(one), _with(other)
    fields = [name for name in FIELDS if getattr(after, name) is not None and name != "boot"]
    merged = parse_domain(merge(rendered(before), rendered(after), fields), OWNER).config
    rows = {row.name: row for row in SCALARS}
    assert [n for n in fields if not rows[n].equal(getattr(after, n), getattr(merged, n))] == []
    start = parse_domain(rendered(before), OWNER).config
    untouched = set(FIELDS) - set(fields) - {"boot", "consoles"}
    assert {name for name in untouched if getattr(merged, name) != getattr(start, name)} == set()


def _with(fields: dict[str, object]) -> DomainConfig:
    chosen = {name: value for name, value in fields.items() if name not in ("boot", "disks", "interfaces")}
    return replace(BARE, **chosen)  # type: ignore[arg-type]
