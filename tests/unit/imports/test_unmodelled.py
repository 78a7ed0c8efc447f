from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.imports.unmodelled import unmodelled
from reconciler.model.manifest import VirtualMachineSpec

BARE = VirtualMachineSpec(cpus=1, memory=64 << 20)
CASES = Path(__file__).parents[2] / "cases" / "domain_xml"


def domain(inner: str = "", devices: str = "") -> str:
    return f"<domain type='kvm'><name>a</name>{inner}<devices>{devices}</devices></domain>"


def test_what_libvirt_adds_by_itself_is_not_worth_a_word() -> None:
    inner = "<os><type>hvm</type><boot dev='hd'/></os><features><acpi/></features><clock offset='utc'/>"
    devices = (
        "<emulator>/usr/bin/qemu</emulator><controller type='pci'/><memballoon model='virtio'/>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/>"
        "<target dev='vda' bus='virtio'/><address type='pci'/></disk>"
        "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>"
    )
    assert unmodelled(domain(inner, devices), BARE) == ()


@pytest.mark.parametrize(
    ("inner", "devices", "says"),
    [
        ("", "<sound model='ich9'/>", "sound (ich9)"),
        ("", "<redirdev bus='usb' type='spicevmc'/>", "redirdev (spicevmc)"),
        ("<sysinfo type='smbios'/>", "", "sysinfo (smbios)"),
        ("<title>old</title>", "", "title"),
        (
            "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/>",
            "",
            "qemu:commandline",
        ),
        ("", "<interface type='direct'><mac address='52:54:00:00:00:01'/></interface>", "interface (direct)"),
        (
            "",
            "<disk device='disk'><driver discard='unmap'/><target dev='vda'/></disk>",
            "disk vda: discard=unmap",
        ),
        ("", "<disk device='disk'><target dev='vda'/><serial>A</serial></disk>", "disk vda: serial"),
    ],
)
def test_what_no_manifest_says_is_named(inner: str, devices: str, says: str) -> None:
    assert says in unmodelled(domain(inner, devices), BARE)


def test_what_the_manifest_says_needs_no_word() -> None:
    xml = domain(
        "<cpu mode='host-model'/><os><type>hvm</type><boot dev='cdrom'/></os>",
        "<tpm model='tpm-crb'/><channel type='unix'><target name='org.qemu.guest_agent.0'/></channel>"
        "<disk device='disk'><driver cache='none'/><target dev='vda'/><iotune/></disk>"
        "<disk device='disk'><driver cache='none'/><target dev='vdb'/></disk>"
        "<disk device='cdrom'><target dev='sda'/></disk><hostdev type='pci'/>",
    )
    assert set(unmodelled(xml, BARE)) == {
        "cpu (host-model)",
        "boot order (cdrom)",
        "tpm (tpm-crb)",
        "channel (unix)",
        "disk vda: cache=none",
        "disk vda: iotune",
        "disk vdb: cache=none",
        "cdrom sda",
        "hostdev (pci)",
    }
    spec = {
        "cpus": 1,
        "memory": "64Mi",
        "cpu": {"model": "host-model"},
        "tpm": {},
        "agent": True,
        "rootDisk": {"path": "/a", "cache": "none", "limits": {"totalIops": 9}},
        "disks": [{"name": "vdb", "path": "/b"}],
        "cdroms": [{"name": "sda"}],
        "boot": ["sda"],
    }
    assert unmodelled(xml, VirtualMachineSpec.model_validate(spec)) == (
        "disk vdb: cache=none",
        "hostdev (pci)",
    )


@pytest.mark.parametrize("path", sorted(CASES.glob("*.xml")), ids=lambda path: path.stem)
def test_other_peoples_domains_are_read(path: Path) -> None:
    found = unmodelled(path.read_text(), BARE)
    assert len(set(found)) == len(found)
    assert all(line.isprintable() and len(line) < 200 for line in found)


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    unmodelled(text, BARE)


def test_text_of_a_domain_stays_on_its_line() -> None:
    (line,) = unmodelled(domain("", "<sound model='a&#10;kind: VirtualMachine'/>"), BARE)
    assert "\n" not in line
