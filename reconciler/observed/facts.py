"""What a host is: processors, memory, virtualisation. Changes so rarely that it is asked seldom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import libvirt

from reconciler.observed.capable import hardware_of

# What boards say whose maker never wrote a UUID. libvirt itself turns down those of one digit only.
_NOBODYS_UUIDS = frozenset({"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"})
# Network devices that come and go with guests, and the loopback that every host has.
_PASSING = ("lo_", "vnet", "tap", "macvtap", "veth")
# Every x86 emulator brings its own BIOS, whether or not libvirt has a descriptor for it.
_BIOS_ARCHES = ("x86_64", "i686")


@dataclass(frozen=True, slots=True)
class Facts:
    """The fields of the same names of `ObservedHost`."""

    arch: str
    cpus: int
    memory: int
    virt_types: frozenset[str]
    libvirt_version: str
    hypervisor_version: str
    machines: frozenset[str]
    firmwares: frozenset[str]
    uuid: str
    nics: frozenset[str]
    hardware: frozenset[str] | None


def read_facts(raw: libvirt.virConnect, virt_type: str | None = None) -> Facts:
    """Ask everything, in a handful of calls.

    Args:
        raw: The host.
        virt_type: What machines shall use there; None: the best that it offers.

    Raises:
        libvirt.libvirtError: The host does not answer.
    """
    info = raw.getInfo()
    capabilities = ET.fromstring(raw.getCapabilities())  # noqa: S314 - from libvirt, not from people
    arch = capabilities.findtext("host/cpu/arch") or str(info[0])
    return Facts(
        arch=arch,
        cpus=int(info[2]),
        memory=_memory(raw, int(info[1])),
        virt_types=frozenset(domain.get("type", "") for domain in capabilities.iterfind("guest/arch/domain")),
        libvirt_version=_version(raw.getLibVersion()),
        hypervisor_version=_hypervisor_version(raw),
        machines=frozenset(_machines(capabilities, arch)),
        firmwares=_firmwares(raw, arch),
        uuid=_uuid(capabilities),
        nics=_nics(raw),
        hardware=_hardware(raw, arch, virt_type),
    )


def _uuid(capabilities: Element) -> str:
    """Empty for the test driver, which has none, and for one that is no single machine's."""
    uuid = (capabilities.findtext("host/uuid") or "").strip().lower()
    return "" if uuid in _NOBODYS_UUIDS or len(set(uuid.replace("-", ""))) < 2 else uuid


def _nics(raw: libvirt.virConnect) -> frozenset[str]:
    """``net_eth0_52_54_00_00_00_01`` and so on. Unlike the host's name this asks no name service."""
    try:
        devices = raw.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)
    except libvirt.libvirtError as error:
        raise_unless_unsupported(error)
        return frozenset()
    names = [str(device.name()) for device in devices]
    return frozenset([name for name in names if not name.removeprefix("net_").startswith(_PASSING)])


def _memory(raw: libvirt.virConnect, info_mebibytes: int) -> int:
    """Bytes. virNodeGetInfo has been seen to report 5 GiB on a machine of 24 GiB, so it comes second."""
    try:
        stats = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
    except libvirt.libvirtError as error:
        raise_unless_unsupported(error)
        stats = {}
    kibibytes = int(stats.get("total", 0))
    return kibibytes << 10 if kibibytes else info_mebibytes << 20


def _hypervisor_version(raw: libvirt.virConnect) -> str:
    try:
        return _version(raw.getVersion())
    except libvirt.libvirtError as error:
        raise_unless_unsupported(error)
        return ""


def _version(number: int) -> str:
    """``9.0.0`` of 9000000."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" if number else ""


def _machines(capabilities: Element, arch: str) -> Iterator[str]:
    """Machine types and their aliases, of the host's own architecture where it is among the guests'."""
    guests = capabilities.findall(f"guest/arch[@name='{arch}']") or capabilities.findall("guest/arch")
    for guest in guests:
        for machine in guest.iter("machine"):
            for name in (machine.text, machine.get("canonical")):
                if name:
                    yield name


def _firmwares(raw: libvirt.virConnect, arch: str) -> frozenset[str]:
    bios = frozenset({"bios"}) if arch in _BIOS_ARCHES else frozenset[str]()
    try:
        text = raw.getDomainCapabilities(None, None, None, None, 0)
    except libvirt.libvirtError as error:
        # Containers and the test driver have none to tell; a host without any emulator says "invalid
        # argument" here, and has no use for firmware either.
        if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
            raise_unless_unsupported(error)
        return bios
    return bios | _named_firmwares(ET.fromstring(text))  # noqa: S314 - from libvirt


def _hardware(raw: libvirt.virConnect, arch: str, virt_type: str | None) -> frozenset[str] | None:
    """None where the driver cannot tell: containers, the test driver."""
    kind = virt_type if virt_type in ("kvm", "qemu") else None
    for machine in ("q35", None) if arch in _BIOS_ARCHES else (None,):
        try:
            text = raw.getDomainCapabilities(None, None, machine, kind, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                raise_unless_unsupported(error)
            continue
        return hardware_of(ET.fromstring(text))  # noqa: S314 - from libvirt
    return None


def _named_firmwares(capabilities: Element) -> frozenset[str]:
    named = {value.text for value in capabilities.iterfind("os/enum[@name='firmware']/value")}
    loader = capabilities.find("os/loader[@supported='yes']/value")
    return frozenset(
        word
        for word, usable in (("bios", "bios" in named), ("uefi", "efi" in named or loader is not None))
        if usable
    )


def raise_unless_unsupported(error: libvirt.libvirtError) -> None:
    """Let the error pass if it says only that this driver has no such function.

    Raises:
        libvirt.libvirtError: It says something else.
    """
    if error.get_error_code() not in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
        raise error
