"""A domain's hardware beyond disks and interfaces, read into fields of `DomainConfig`.

Each reader sees only elements that are there: most domains have few of them, and 20,000 have to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)
from reconciler.model.units import format_size
from reconciler.observed.xml_values import disk_path, number, parse_memory

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""Name of the channel that the QEMU guest agent listens on."""

_MODES = frozenset({"host-passthrough", "host-model", "maximum"})
_LIMITS = {
    "total_bytes": "total_bytes_sec",
    "read_bytes": "read_bytes_sec",
    "write_bytes": "write_bytes_sec",
    "total_iops": "total_iops_sec",
    "read_iops": "read_iops_sec",
    "write_iops": "write_iops_sec",
}

Fields = dict[str, Any]


def domain_fields(known: Mapping[str, Element], *, uefi: bool) -> Fields:
    """What the elements outside of ``<devices>`` say.

    Args:
        known: Children of ``<domain>`` by tag.
        uefi: The firmware is UEFI.
    """
    fields: Fields = {}
    for tag, read in _OF_DOMAIN.items():
        if tag in known:
            read(known[tag], fields)
    if uefi:
        fields["secure_boot"] = _secure_boot(known["os"])
    return fields


def device_fields(by_tag: Mapping[str, Sequence[Element]], *, container: bool) -> Fields:
    """What the devices say, but for disks and interfaces.

    Args:
        by_tag: Children of ``<devices>`` by tag, in their order.
        container: It is one: its file systems are not what a guest mounts by a tag.
    """
    fields: Fields = {}
    for tag, elements in by_tag.items():
        read = _OF_DEVICES.get(tag)
        if read is not None and not (container and tag == "filesystem"):
            read(elements, fields)
    consoles = (*("serial" for _ in by_tag.get("serial", ())), *_virtio_consoles(by_tag.get("console", ())))
    if consoles:
        fields["consoles"] = consoles
    return fields


def boot_order(by_tag: Mapping[str, Sequence[Element]], os: Element | None) -> tuple[str, ...] | None:
    """What is tried first: keys of devices, or libvirt's words where it has none."""
    found = []
    for tag, key in _BOOTABLE.items():
        for device in by_tag.get(tag, ()):
            boot = device.find("boot")
            if boot is not None:
                found.append((number(boot.get("order")) or 0, key(device)))
    if found:
        return tuple(key for _, key in sorted(found))
    words = tuple(boot.get("dev", "") for boot in os.iterfind("boot")) if os is not None else ()
    return words or None


def cdrom(disk: Element) -> CdromConfig:
    """A drive, of a ``<disk device='cdrom'>``."""
    target, source = disk.find("target"), disk.find("source")
    kind = disk.get("type", "")
    # A tray that was emptied while the machine runs keeps a source with nothing but a number in it.
    empty = source is None or (kind in ("file", "block") and not (source.get("file") or source.get("dev")))
    return CdromConfig(
        target=target.get("dev", "") if target is not None else "",
        bus=target.get("bus", "") if target is not None else "",
        path=None if empty else disk_path(kind, source),
    )


def disk_fields(disk: Element, driver: Element | None) -> Fields:
    """How a disk is read and written."""
    fields: Fields = {}
    if driver is not None:
        for name in ("cache", "io", "discard"):
            value = driver.get(name)
            if value is not None:
                fields[name] = value
    if disk.find("readonly") is not None:
        fields["read_only"] = True
    tune = disk.find("iotune")
    if tune is not None:
        limits = {name: number(tune.findtext(tag)) or 0 for name, tag in _LIMITS.items()}
        if any(limits.values()):
            fields["limits"] = IoLimits(**limits)
    return fields


def _secure_boot(os: Element) -> bool | None:
    for feature in os.iterfind("firmware/feature[@name='secure-boot']"):
        return feature.get("enabled") == "yes"
    loader = os.find("loader")
    return None if loader is None or loader.get("secure") is None else loader.get("secure") == "yes"


def _cpu(cpu: Element, fields: Fields) -> None:
    mode = cpu.get("mode")
    model = mode if mode in _MODES else (cpu.findtext("model") or "").strip()
    if model:
        fields["cpu_model"] = model
    features = tuple(
        sorted(f"{one.get('name', '')}={one.get('policy', 'require')}" for one in cpu.iterfind("feature"))
    )
    if features:
        fields["cpu_features"] = features
    topology = cpu.find("topology")
    if topology is not None:
        counts = {name: number(topology.get(name)) or 1 for name in ("sockets", "dies", "cores", "threads")}
        fields["topology"] = Topology(**counts)
    cells = cpu.findall("numa/cell")
    if cells:
        cells.sort(key=lambda one: number(one.get("id")) or 0)
        fields["numa"] = tuple(map(_cell, cells))


def _cell(cell: Element) -> NumaCell:
    return NumaCell(cell.get("cpus", ""), parse_memory(cell.get("memory"), cell.get("unit")) or 0)


def _cputune(cputune: Element, fields: Fields) -> None:
    pins = [(number(pin.get("vcpu")) or 0, pin.get("cpuset", "")) for pin in cputune.iterfind("vcpupin")]
    pinning = [f"{cpu}={cpus}" for cpu, cpus in sorted(pins)]
    emulator = cputune.find("emulatorpin")
    if emulator is not None:
        pinning.append(f"emulator={emulator.get('cpuset', '')}")
    if pinning:
        fields["pinning"] = tuple(pinning)


def _numatune(numatune: Element, fields: Fields) -> None:
    memory = numatune.find("memory")
    if memory is not None:
        where = memory.get("nodeset") or memory.get("placement", "")
        fields["numatune"] = f"{memory.get('mode', 'strict')}:{where}"


def _memory_backing(backing: Element, fields: Fields) -> None:
    hugepages = backing.find("hugepages")
    if hugepages is not None:
        pages = [_page(page) for page in hugepages.iterfind("page")]
        fields["hugepages"] = " ".join(pages) or "default"


def _page(page: Element) -> str:
    size = format_size(parse_memory(page.get("size"), page.get("unit")) or 0)
    nodes = page.get("nodeset")
    return f"{size}@{nodes}" if nodes else size


def _tpm(elements: Iterable[Element], fields: Fields) -> None:
    for tpm in elements:
        backend = tpm.find("backend")
        if backend is None:
            continue
        device = backend.find("device")
        detail = backend.get("version") or (device.get("path") if device is not None else "")
        kind = backend.get("type", "")
        fields["tpm"] = f"{kind}:{detail}" if detail else kind


def _watchdog(elements: Iterable[Element], fields: Fields) -> None:
    told = [f"{one.get('model', '')}:{one.get('action', 'reset')}" for one in elements]
    # A q35 machine has an itco of its own, which newer libvirt shows beside the one that was asked for.
    fields["watchdog"] = next((one for one in told if not one.startswith("itco:")), told[0])


def _channel(elements: Iterable[Element], fields: Fields) -> None:
    for channel in elements:
        target = channel.find("target")
        if target is not None and target.get("name") == AGENT_CHANNEL:
            fields["agent"] = True


def _rng(_elements: Iterable[Element], fields: Fields) -> None:
    fields["rng"] = True


def _video(elements: Iterable[Element], fields: Fields) -> None:
    models = [model.get("type", "") for one in elements if (model := one.find("model")) is not None]
    if models:
        fields["video"] = models[0]


def _graphics(elements: Iterable[Element], fields: Fields) -> None:
    fields["graphics"] = tuple(_screen(one) for one in elements)


def _screen(graphics: Element) -> GraphicsConfig:
    port = None if graphics.get("autoport") == "yes" else number(graphics.get("port"))
    listen = graphics.get("listen")
    for one in graphics.iterfind("listen"):
        kind = one.get("type")
        if kind == "address":
            listen = one.get("address") or listen
        elif kind is not None:
            listen = f"{kind}:{one.get('network') or one.get('socket') or ''}"
    if graphics.get("socket"):
        listen = f"socket:{graphics.get('socket')}"
    return GraphicsConfig(graphics.get("type", ""), listen, port if port and port > 0 else None)


def _virtio_consoles(elements: Iterable[Element]) -> Iterator[str]:
    for console in elements:
        target = console.find("target")
        if target is not None and target.get("type") == "virtio":
            yield "virtio"


def _filesystem(elements: Iterable[Element], fields: Fields) -> None:
    found = []
    for one in elements:
        source, target = one.find("source"), one.find("target")
        if one.get("type", "mount") != "mount" or source is None or target is None or not source.get("dir"):
            continue
        driver = one.find("driver")
        kind = driver.get("type", "") if driver is not None else ""
        found.append(
            FilesystemConfig(
                target.get("dir", ""), source.get("dir", ""), "virtiofs" if kind == "virtiofs" else "9p"
            )
        )
    if found:
        fields["filesystems"] = tuple(sorted(found, key=lambda folder: folder.tag))


def _hostdev(elements: Iterable[Element], fields: Fields) -> None:
    keys = sorted(filter(None, map(host_device, elements)))
    if keys:
        fields["host_devices"] = tuple(keys)


def host_device(device: Element) -> str:
    """``pci:0000:65:00.0``, ``usb:046d:c52b``, ``usb:1.4``; empty for what we don't model."""
    kind, source = device.get("type"), device.find("source")
    if device.get("mode", "subsystem") != "subsystem" or source is None:
        return ""
    address = source.find("address")
    if kind == "pci" and address is not None:
        parts = [_hex(address.get(name)) for name in ("domain", "bus", "slot", "function")]
        return "pci:{:04x}:{:02x}:{:02x}.{:x}".format(*parts)
    if kind != "usb":
        return ""
    vendor, product = source.find("vendor"), source.find("product")
    if vendor is not None and product is not None:
        return f"usb:{_hex(vendor.get('id')):04x}:{_hex(product.get('id')):04x}"
    if address is not None:
        return f"usb:{_hex(address.get('bus'))}.{_hex(address.get('device'))}"
    return ""


def _hex(text: str | None) -> int:
    """A number as libvirt writes it, ``0x1f`` or plain decimal."""
    try:
        return int(text or "0", 0)
    except ValueError:
        return number(text) or 0


def _target_of(device: Element) -> str:
    target = device.find("target")
    return target.get("dev", "") if target is not None else ""


def _mac_of(device: Element) -> str:
    mac = device.find("mac")
    return mac.get("address", "").lower() if mac is not None else ""


_OF_DOMAIN: Mapping[str, Callable[[Element, Fields], None]] = {
    "cpu": _cpu,
    "cputune": _cputune,
    "numatune": _numatune,
    "memoryBacking": _memory_backing,
}
_OF_DEVICES: Mapping[str, Callable[[Sequence[Element], Fields], None]] = {
    "tpm": _tpm,
    "watchdog": _watchdog,
    "channel": _channel,
    "rng": _rng,
    "video": _video,
    "graphics": _graphics,
    "filesystem": _filesystem,
    "hostdev": _hostdev,
}
_BOOTABLE: Mapping[str, Callable[[Element], str]] = {
    "disk": _target_of,
    "interface": _mac_of,
    "hostdev": host_device,
}
