"""What a domain has and a manifest does not say, in words: adoption leaves it as it is.

Everything counts but what we model and what libvirt or every installer adds by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from reconciler.model.manifest import RootDisk, VirtualMachineSpec

_MODELLED: Final = frozenset(
    {"name", "uuid", "description", "memory", "currentMemory", "vcpu", "os", "devices", "metadata"}
)
# Defaults that libvirt writes into every domain.
_EVERYWHERE: Final = frozenset(
    {"features", "clock", "on_poweroff", "on_reboot", "on_crash", "pm", "resource"}
)
_DEVICES_EVERYWHERE: Final = frozenset({"emulator", "controller", "input", "memballoon", "audio"})
# What a manifest says only if it can: element to the field of the spec.
_MAYBE: Final[Mapping[str, str]] = {
    "cpu": "cpu",
    "cputune": "cpu",
    "numatune": "numa",
    "memoryBacking": "hugepages",
    "tpm": "tpm",
    "watchdog": "watchdog",
    "rng": "rng",
    "video": "video",
    "graphics": "graphics",
    "filesystem": "filesystems",
    "hostdev": "host_devices",
}
# Children of devices that we model, with those attributes that say more than we do.
_ALWAYS: Final = ("alias", "address", "target", "source")
_DISK: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys((*_ALWAYS, "backingStore", "auth"), frozenset()),
    "driver": frozenset({"detect_zeroes", "iothread", "queues", "error_policy"}),
}
_DISK_MAYBE: Final[Mapping[str, str]] = {"readonly": "read_only", "iotune": "limits", "boot": "boot"}
_DISK_WORDS: Final = ("cache", "io", "discard")
_INTERFACE: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys((*_ALWAYS, "mac", "model"), frozenset()),
    "source": frozenset({"portgroup"}),
}
_OS: Final = frozenset({"type", "loader", "nvram", "firmware", "init", "initarg", "boot"})
_AGENT: Final = "org.qemu.guest_agent.0"
_ONE_OF_MANY: Final = ("type", "model", "name", "dev", "bus", "mode", "device")
_LONGEST: Final = 60


def unmodelled(xml: str, spec: VirtualMachineSpec) -> tuple[str, ...]:
    """What of a domain's XML its manifest does not say, such as ``sound (ich9)`` or ``disk vda: serial``.

    Args:
        xml: What libvirt reports of the domain; not well-formed text has nothing.
        spec: What the manifest says.
    """
    if "<!DOCTYPE" in xml:
        return ()
    try:
        root = ET.fromstring(xml)  # noqa: S314 - the one dangerous construct was refused above
    except (ET.ParseError, UnicodeError):
        return ()
    said = frozenset(name for name in type(spec).model_fields if getattr(spec, name) not in (None, ()))
    found = [*_of_domain(root, said), *_of_os(root.find("os"), said)]
    # Adoption calls disks by their targets, and the first one root.
    disks = {disk.name: disk for disk in spec.disks}
    for device in root.iterfind("devices/*"):
        found += _of_device(device, said, disks.get(_place(device), spec.root_disk))
    return tuple(dict.fromkeys(found))


def _of_domain(root: Element, said: frozenset[str]) -> Iterator[str]:
    for child in root:
        if child.tag in _MODELLED or child.tag in _EVERYWHERE or _MAYBE.get(child.tag) in said:
            continue
        yield _called(child)


def _of_os(element: Element | None, said: frozenset[str]) -> Iterator[str]:
    boots = []
    for child in element if element is not None else ():
        if child.tag == "boot":
            boots.append(child.get("dev", ""))
        elif child.tag not in _OS:
            yield f"os {_called(child)}"
    # Without any word of boot order a machine boots from its first disk.
    if boots not in ([], ["hd"]) and "boot" not in said:
        yield f"boot order ({_short(', '.join(boots))})"


def _of_device(device: Element, said: frozenset[str], disk: RootDisk | None) -> Iterator[str]:
    tag, kind = device.tag, device.get("type", "")
    if tag == "disk" and device.get("device", "disk") == "disk":
        yield from _of_disk(device, said, disk)
    elif tag == "disk":
        if device.get("device") != "cdrom" or "cdroms" not in said:
            yield f"{_short(device.get('device', ''))} {_place(device)}"
    elif tag == "interface" and kind in ("network", "bridge"):
        mac = device.find("mac")
        address = mac.get("address", "") if mac is not None else ""
        yield from _of_children(device, f"interface {_short(address)}", _INTERFACE, said)
    elif not _is_said(device, said):
        yield _called(device)


def _is_said(device: Element, said: frozenset[str]) -> bool:
    """A device that needs no word: the manifest says it, or libvirt adds it by itself."""
    tag, target = device.tag, device.find("target")
    if tag in ("serial", "console"):
        virtio = target is not None and target.get("type") == "virtio"
        return not virtio or "consoles" in said
    if tag == "channel":
        return target is not None and target.get("name") == _AGENT and "agent" in said
    return tag in _DEVICES_EVERYWHERE or _MAYBE.get(tag) in said


def _of_disk(device: Element, said: frozenset[str], disk: RootDisk | None) -> Iterator[str]:
    what = f"disk {_place(device)}"
    has = frozenset(name for name in _DISK_MAYBE.values() if getattr(disk, name, None) is not None)
    yield from _of_children(device, what, _DISK, has | (said & {"boot"}))
    driver = device.find("driver")
    for word in _DISK_WORDS:
        value = driver.get(word) if driver is not None else None
        if value is not None and getattr(disk, word, None) != value:
            yield f"{what}: {word}={_short(value)}"


def _place(disk: Element) -> str:
    target = disk.find("target")
    return _short(target.get("dev", "")) if target is not None else ""


def _of_children(
    device: Element, what: str, known: Mapping[str, frozenset[str]], said: frozenset[str]
) -> Iterator[str]:
    for child in device:
        if child.tag not in known:
            if _DISK_MAYBE.get(child.tag) not in said:
                yield f"{what}: {_local(child.tag)}"
            continue
        for attribute in sorted(known[child.tag].intersection(child.keys())):
            yield f"{what}: {attribute}={_short(child.get(attribute, ''))}"


def _called(element: Element) -> str:
    """Name and kind of an element: ``hostdev (pci)``, ``cpu (host-model)``."""
    kind = next((value for name in _ONE_OF_MANY if (value := element.get(name))), "")
    return _local(element.tag) + (f" ({_short(kind)})" if kind else "")


def _local(tag: str) -> str:
    """A tag, with a word for the namespaces that one meets."""
    namespace, brace, name = tag.rpartition("}")
    if not brace:
        return _short(tag)
    return f"{'qemu:' if '/qemu/' in namespace else ''}{_short(name)}"


def _short(text: str) -> str:
    """Text for one line of a comment."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
