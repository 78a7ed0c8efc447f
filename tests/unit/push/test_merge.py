"""Only what differs is transplanted; everything that we don't model stays."""

from __future__ import annotations

import difflib
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from typing import Any

import pytest
from reconciler_apply.merge import merge, same, tidy

from reconciler.model.domain import Applied, DiskConfig, DomainConfig, InterfaceConfig
from reconciler.push.render import HostTraits, render_domain
from reconciler.push.template import UserTemplate

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
ROOT = DiskConfig("vda", "virtio", "/p/root.qcow2", "qcow2", None, "root")
DATA = DiskConfig("vdb", "virtio", "/p/data.raw", "raw", 1 << 30, "data")
NET0 = InterfaceConfig("52:00:00:00:00:01", "default", None, "virtio", "net0")
NET1 = InterfaceConfig("52:00:00:00:00:02", None, "br0", "virtio", "net1")
BEFORE = DomainConfig(
    "web-1",
    UID,
    virt_type="kvm",
    machine="pc",
    cpus=2,
    max_cpus=4,
    memory=1 << 28,
    max_memory=1 << 29,
    disks=(ROOT, DATA),
    interfaces=(NET0, NET1),
    console="serial",
    description="before",
)
# Things that people, or libvirt itself, add to a domain, and that we know nothing of.
FOREIGN = """
  <cpu mode="custom"><topology sockets="1" cores="4" threads="1"/></cpu>
  <vcpus><vcpu id="0" enabled="yes" hotpluggable="no"/></vcpus>
  <cputune><shares>512</shares></cputune>
"""
FOREIGN_DEVICES = """
    <disk type="file" device="cdrom"><source file="/iso"/><target dev="vdc" bus="sata"/></disk>
    <hostdev mode="subsystem" type="pci">
      <source><address domain="0x0" bus="0x3" slot="0x0" function="0x0"/></source>
      <address type="pci" bus="0x00" slot="0x09"/></hostdev>
    <controller type="pci" index="0" model="pci-root"/>
    <controller type="ide" index="0"/>
"""


def rendered(config: DomainConfig, template: str | None = None) -> str:
    applied = Applied("default", UID, config.name, 1, "0" * 32, config)
    user = UserTemplate("t.j2", template) if template is not None else None
    return render_domain(config, applied, HostTraits(), user)


def on_the_host(config: DomainConfig = BEFORE, template: str | None = None) -> str:
    """The domain as it stands there: with things of others in it."""
    xml = rendered(config, template).replace('<cpu mode="host-passthrough" />', "")
    xml = xml.replace("<devices>", f"{FOREIGN}<devices>{FOREIGN_DEVICES}", 1)
    note = '<o:note xmlns:o="urn:other">keep</o:note>'
    return xml.replace("<metadata>", f"<metadata>{note}", 1)


def changed(*fields: str, **values: Any) -> ET.Element:
    return ET.fromstring(merge(on_the_host(), rendered(replace(BEFORE, **values)), fields))


def targets(domain: ET.Element) -> list[str | None]:
    return [target.get("dev") for target in domain.iterfind("devices/disk/target")]


def test_nothing_to_change_changes_nothing() -> None:
    fields_with_one_element = [
        "metadata",
        "cpus",
        "max_memory",
        "memory",
        "description",
        "disks",
        "interfaces",
    ]
    assert same(merge(on_the_host(), rendered(BEFORE), fields_with_one_element), on_the_host())


def test_a_diff_shows_what_changes_and_no_other_spelling() -> None:
    as_libvirt_writes = on_the_host().replace('"', "'").replace(" />", "/>").replace("><", ">\n<")
    after = merge(as_libvirt_writes, rendered(replace(BEFORE, description="after")), ["description"])
    lines = list(difflib.ndiff(tidy(as_libvirt_writes).splitlines(), after.splitlines()))
    changes = [line for line in lines if line[0] in "+-" and "reconciler:vm" not in line]
    assert changes == ["-   <description>before</description>", "+   <description>after</description>"]


def test_white_space_in_a_text_is_a_difference() -> None:
    assert same("<a><b x='1' y='2'/></a>", '<a>\n  <b y="2" x="1"></b>\n</a>')
    assert not same("<a><b>text</b></a>", "<a><b>text </b></a>")


@pytest.mark.parametrize(
    ("field", "values", "path", "attribute", "expected"),
    [
        ("memory", {"memory": 1 << 27}, "currentMemory", None, str(1 << 17)),
        ("max_memory", {"max_memory": 1 << 30}, "memory", None, str(1 << 20)),
        ("cpus", {"cpus": 3}, "vcpu", "current", "3"),
        ("cpus", {"cpus": 4}, "vcpu", "current", None),
        ("max_cpus", {"max_cpus": 8}, "vcpu", None, "8"),
        ("max_cpus", {"max_cpus": 8}, "vcpu", "current", "2"),
        ("description", {"description": "<after>"}, "description", None, "<after>"),
        ("firmware", {"firmware": "uefi"}, "os", "firmware", "efi"),
        ("virt_type", {"virt_type": "qemu"}, ".", "type", "qemu"),
        ("machine", {"machine": "pc-i440fx-7.2"}, "os/type", "machine", "pc-i440fx-7.2"),
    ],
)
def test_one_field(
    field: str, values: dict[str, Any], path: str, attribute: str | None, expected: str | None
) -> None:
    domain = changed(field, **values)
    element = domain.find(path)
    assert element is not None
    assert (element.get(attribute) if attribute else element.text) == expected


def test_what_others_added_stays() -> None:
    domain = changed(
        "memory", "cpus", "description", "disks", "interfaces", memory=1 << 27, cpus=1, description="x"
    )
    for path in (
        "cputune/shares",
        "devices/hostdev",
        "devices/disk[@device='cdrom']",
        "cpu/topology",
        "vcpus",
    ):
        assert domain.find(path) is not None, path
    assert domain.findtext("metadata/{urn:other}note") == "keep"


def test_a_field_that_is_not_named_stays_as_it_is() -> None:
    domain = changed("memory", memory=1 << 27, description="after", cpus=1, disks=())
    assert domain.findtext("description") == "before"
    assert domain.find("vcpu").get("current") == "2"  # type: ignore[union-attr]
    assert targets(domain) == ["vdc", "vda", "vdb"]


def test_the_mark_is_always_the_new_one() -> None:
    domain = changed("memory", memory=1 << 27)
    marks = domain.findall("metadata/{urn:reconciler:vm:v1}vm")
    assert len(marks) == 1
    assert '"memory":134217728' in (marks[0].text or "")


def test_an_emptied_description_goes() -> None:
    assert changed("description", description="").find("description") is None


def test_cpus_listed_one_by_one_go_when_their_number_changes() -> None:
    domain = changed("max_cpus", max_cpus=8)
    assert domain.find("vcpus") is None
    assert domain.find("cpu/topology") is None
    assert domain.find("cpu") is not None


def test_a_disk_is_added_removed_or_changed_by_its_name() -> None:
    logs = DiskConfig("vde", "virtio", "/p/logs.raw", "raw", 1, "logs")
    assert targets(changed("disks[logs]", disks=(ROOT, DATA, logs))) == ["vdc", "vda", "vdb", "vde"]
    assert targets(changed("disks[data]", disks=(ROOT,))) == ["vdc", "vda"]
    moved = changed("disks[data].path", disks=(ROOT, replace(DATA, path="/p/other.raw")))
    assert moved.find("devices/disk/source[@file='/p/other.raw']") is not None
    assert moved.find("devices/disk/source[@file='/p/data.raw']") is None


def test_a_disk_somebody_added_is_named_by_its_target() -> None:
    current = merge(
        on_the_host(),
        rendered(replace(BEFORE, disks=(ROOT, DATA, replace(DATA, target="vdx")))),
        ["disks[vdx]"],
    )
    assert "vdx" in current
    assert "vdx" not in merge(current, rendered(BEFORE), ["disks[vdx]"])


def test_the_size_of_a_disk_is_not_in_the_xml() -> None:
    grown = changed("disks[data].size", disks=(ROOT, replace(DATA, size=1 << 40, path="/not/now")))
    assert grown.find("devices/disk/source[@file='/p/data.raw']") is not None


def test_a_cd_drive_on_the_wanted_target_is_no_disk() -> None:
    domain = changed("disks[vdc]")
    assert domain.find("devices/disk[@device='cdrom']") is not None


def test_interfaces_by_name() -> None:
    assert len(changed("interfaces[net1]", interfaces=(NET0,)).findall("devices/interface")) == 1
    moved = changed("interfaces[net1].bridge", interfaces=(NET0, replace(NET1, bridge=None, network="lan")))
    interface = moved.find("devices/interface/source[@network='lan']/..")
    assert interface is not None
    assert interface.get("type") == "network"
    other_mac = changed("interfaces[net0].mac", interfaces=(replace(NET0, mac="52:00:00:00:00:99"), NET1))
    macs = {mac.get("address") for mac in other_mac.iterfind("devices/interface/mac")}
    assert macs == {"52:00:00:00:00:99", NET1.mac}


def test_another_chipset_forgets_its_slots_but_not_the_hosts() -> None:
    domain = changed("machine", machine="q35")
    assert domain.find("devices/hostdev/address") is None
    assert domain.find("devices/hostdev/source/address") is not None
    assert domain.find("devices/controller[@type='ide']") is None
    assert {one.get("model") for one in domain.iterfind("devices/controller[@type='pci']")} == {
        "pcie-root-port"
    }


@pytest.mark.parametrize(
    ("alias", "resolved"), [("pc", "pc-i440fx-7.2"), ("q35", "pc-q35-7.2"), ("virt", "virt-7.2")]
)
def test_a_machine_type_that_libvirt_resolved_stays(alias: str, resolved: str) -> None:
    current = on_the_host().replace('machine="pc"', f'machine="{resolved}"')
    domain = ET.fromstring(merge(current, rendered(replace(BEFORE, machine=alias)), ["machine"]))
    assert domain.find(f"os/type[@machine='{resolved}']") is not None
    assert domain.find("devices/hostdev/address") is not None


def test_the_console_comes_and_goes() -> None:
    without = merge(on_the_host(), rendered(replace(BEFORE, console="none")), ["console"])
    assert "<serial" not in without
    assert "<console" not in without
    assert "<console" in merge(without, rendered(BEFORE), ["console"])


def test_what_a_template_set_goes_with_it() -> None:
    rng = "<devices><rng model='virtio'><backend model='random'/></rng></devices>"
    tuned = f"<memtune><hard_limit>1</hard_limit></memtune>{rng}"
    current = on_the_host(template=tuned)
    assert "memtune" in current
    domain = ET.fromstring(merge(current, rendered(BEFORE, "<iothreads>2</iothreads>"), ["template"]))
    assert domain.find("memtune") is None
    assert domain.find("devices/rng") is None
    assert domain.findtext("iothreads") == "2"
    assert domain.find("cputune") is not None
    mark = domain.find("metadata/{urn:reconciler:vm:v1}vm")
    assert mark is not None
    assert mark.get("template") == "iothreads"


def test_another_change_keeps_what_the_template_set_and_its_note() -> None:
    current = on_the_host(template="<iothreads>2</iothreads>")
    domain = ET.fromstring(merge(current, rendered(BEFORE), ["memory"]))
    assert domain.findtext("iothreads") == "2"
    mark = domain.find("metadata/{urn:reconciler:vm:v1}vm")
    assert mark is not None
    assert mark.get("template") == "iothreads"


@pytest.mark.parametrize("field", ["uuid", "name", "nonsense", "disks[", "memory; rm"])
def test_a_field_that_cannot_be_changed_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="cannot be changed"):
        merge(on_the_host(), rendered(BEFORE), [field])


def test_every_field_of_the_model_can_be_merged_or_is_known_not_to() -> None:
    elsewhere = {"name", "uuid"}
    for field in fields(DomainConfig):
        if field.name not in elsewhere:
            merge(on_the_host(), rendered(BEFORE), [field.name])
