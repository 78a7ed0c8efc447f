# SPDX-License-Identifier: GPL-3.0-or-later
"""`merge` for hardware beyond disks and interfaces: each field's elements, and no other. Pure."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable

from .elements import child, prune, remove, replace

Matches = list[re.Match[str]]
Transplant = Callable[[ET.Element, ET.Element, Matches], None]

_AGENT = "org.qemu.guest_agent.0"
_LIMITS = ("total_bytes", "read_bytes", "write_bytes", "total_iops", "read_iops", "write_iops")


def tune_disk(old: ET.Element, new: ET.Element, attributes: Iterable[str | None]) -> None:
    """How a disk is read and written, as far as `attributes` say that it differs.

    Args:
        old: The disk in the domain, changed in place.
        new: The rendered one.
        attributes: Names of the fields that differ.
    """
    attributes = frozenset(attributes)
    if "read_only" in attributes:
        replace(old, new, "readonly")
    if "limits" not in attributes:
        return
    tune, wanted = child(old, "iotune"), new.find("iotune")
    for name in _LIMITS:
        remove(tune, f"{name}_sec")
        if wanted is not None:
            tune.extend(copy.deepcopy(one) for one in wanted.findall(f"{name}_sec"))
    prune(old, "iotune")


def device_key(device: ET.Element) -> str:
    """``pci:0000:65:00.0``, ``usb:046d:c52b`` or ``usb:1.4`` of a ``<hostdev>``; empty for any other sort."""
    source = device.find("source")
    if source is None or device.get("mode", "subsystem") != "subsystem":
        return ""
    address, vendor, product = source.find("address"), source.find("vendor"), source.find("product")
    if device.get("type") == "pci" and address is not None:
        parts = [_number(address.get(name)) for name in ("domain", "bus", "slot", "function")]
        return "pci:{:04x}:{:02x}:{:02x}.{:x}".format(*parts)
    if device.get("type") != "usb":
        return ""
    if vendor is not None and product is not None:
        return f"usb:{_number(vendor.get('id')):04x}:{_number(product.get('id')):04x}"
    if address is not None:
        return f"usb:{_number(address.get('bus'))}.{_number(address.get('device'))}"
    return ""


def _number(text: str | None) -> int:
    try:
        return int(text or "0", 0)
    except ValueError:
        return int(text or "0")


def _part(element: ET.Element, path: str) -> ET.Element:
    """What stands there, or an empty element where nothing does."""
    found = element.find(path)
    return found if found is not None else ET.Element(path)


def _cpu_model(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    cpu, new = child(domain, "cpu"), _part(wanted, "cpu")
    for name in ("mode", "match", "check", "migratable"):
        cpu.attrib.pop(name, None)
    cpu.attrib.update(new.attrib)
    replace(cpu, new, "model")
    remove(cpu, "vendor")


def _within(container: str, *tags: str) -> Transplant:
    """A transplant of some children of an element at the top, which goes when nothing is left of it."""

    def transplant(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
        for tag in tags:
            replace(child(domain, container), _part(wanted, container), tag)
        prune(domain, container)

    return transplant


def _numa(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    """Cells that stay keep what we don't model of them (their distances, for example)."""
    cpu, new = child(domain, "cpu"), _part(wanted, "cpu")
    old_cells, new_cells = cpu.findall("numa/cell"), new.findall("numa/cell")
    if old_cells and len(old_cells) == len(new_cells):
        for old, fresh in zip(old_cells, new_cells, strict=True):
            old.attrib.update(fresh.attrib)
    else:
        replace(cpu, new, "numa")
    prune(domain, "cpu")


def _secure_boot(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    os, new = child(domain, "os"), _part(wanted, "os")
    for tag in ("firmware", "loader", "nvram"):
        replace(os, new, tag)
    os.attrib.update(new.attrib)
    replace(child(domain, "features"), _part(wanted, "features"), "smm")
    prune(domain, "features")


def _tpm(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    old, fresh = devices.find("tpm"), new.find("tpm")
    if old is not None and fresh is not None:
        replace(old, fresh, "backend")
    else:
        replace(devices, new, "tpm")


def _devices(tag: str) -> Transplant:
    """A transplant of all devices of a tag."""

    def transplant(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
        replace(child(domain, "devices"), _part(wanted, "devices"), tag)

    return transplant


def _agent(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices = child(domain, "devices")
    for channel in list(_agents(devices)):
        devices.remove(channel)
    devices.extend(copy.deepcopy(channel) for channel in _agents(_part(wanted, "devices")))


def _agents(devices: ET.Element) -> list[ET.Element]:
    return [one for one in devices.findall("channel") if _part(one, "target").get("name") == _AGENT]


def _video(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    """The first card; another one is of a screen of its own."""
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    old, fresh = devices.find("video"), new.find("video")
    if old is not None and fresh is not None:
        replace(old, fresh, "model")
    else:
        replace(devices, new, "video")


def _graphics(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    """Screens that stay keep what we don't model of them: a password, a keymap."""
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    old, fresh = devices.findall("graphics"), new.findall("graphics")
    if [one.get("type") for one in old] != [one.get("type") for one in fresh]:
        replace(devices, new, "graphics")
        return
    for mine, theirs in zip(old, fresh, strict=True):
        for name in ("port", "autoport", "listen", "socket"):
            mine.attrib.pop(name, None)
        mine.attrib.update(theirs.attrib)
        replace(mine, theirs, "listen")


def _consoles(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    for tag in ("serial", "console"):
        remove(devices, tag)
        devices.extend(copy.deepcopy(device) for device in new.findall(tag))


def _cdroms(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    uid = (domain.findtext("uuid") or "").strip().lower()
    old_drives, new_drives = _drives(devices, uid), _drives(new, uid)
    for target, drive in old_drives.items():
        if target not in new_drives:
            devices.remove(drive)
    for target, drive in new_drives.items():
        if target in old_drives:
            _change_drive(old_drives[target], drive)
        else:
            fresh = copy.deepcopy(drive)
            remove(fresh, "boot")
            devices.append(fresh)
            bring_controllers(devices, new, ("scsi", "usb"))


def _drives(devices: ET.Element, uid: str) -> dict[str, ET.Element]:
    """CD-ROM drives by target, but for the one with our cloud-init files."""
    seed = f".{uid}.cloud-init.iso"
    drives = {}
    for disk in devices.findall("disk[@device='cdrom']"):
        source = _part(disk, "source")
        if not (source.get("file") or source.get("dev") or "").endswith(seed):
            drives[_part(disk, "target").get("dev", "")] = disk
    return drives


def _change_drive(old: ET.Element, new: ET.Element) -> None:
    mine, theirs = _part(old, "source"), _part(new, "source")
    if (mine.get("file") or mine.get("dev")) != (theirs.get("file") or theirs.get("dev")):
        old.set("type", new.get("type", "file"))
        replace(old, new, "source")
        remove(old, "backingStore")
    target, bus = child(old, "target"), _part(new, "target").get("bus", "")
    if target.get("bus") != bus:
        target.set("bus", bus)
        remove(old, "address")


def bring_controllers(devices: ET.Element, wanted: ET.Element, kinds: Iterable[str]) -> None:
    """Controllers of these kinds that the rendered domain has and this one lacks."""
    for kind in kinds:
        path = f"controller[@type='{kind}']"
        fresh = [one for one in wanted.findall(path) if one.get("model") != "none"]
        old = devices.findall(path)
        if fresh and all(one.get("model") == "none" for one in old):
            for controller in old:
                devices.remove(controller)
            devices.extend(copy.deepcopy(one) for one in fresh)


def _filesystems(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    old_folders, new_folders = _folders(devices), _folders(new)
    for tag, folder in old_folders.items():
        if tag not in new_folders:
            devices.remove(folder)
    for tag, folder in new_folders.items():
        if tag not in old_folders:
            devices.append(copy.deepcopy(folder))
        else:
            replace(old_folders[tag], folder, "source")
            if _driver(old_folders[tag]) != _driver(folder):
                replace(old_folders[tag], folder, "driver")
                old_folders[tag].set("accessmode", folder.get("accessmode", ""))
    if any(_driver(folder) == "virtiofs" for folder in new_folders.values()):
        backing = child(domain, "memoryBacking")
        for tag in ("source", "access"):
            replace(backing, _part(wanted, "memoryBacking"), tag)


def _folders(devices: ET.Element) -> dict[str, ET.Element]:
    return {
        _part(one, "target").get("dir", ""): one
        for one in devices.findall("filesystem")
        if one.get("type", "mount") == "mount"
    }


def _driver(folder: ET.Element) -> str:
    return "virtiofs" if _part(folder, "driver").get("type") == "virtiofs" else "9p"


def _host_devices(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    devices, new = child(domain, "devices"), _part(wanted, "devices")
    old_devices = {key: one for one in devices.findall("hostdev") if (key := device_key(one))}
    new_devices = {key: one for one in new.findall("hostdev") if (key := device_key(one))}
    for key, device in old_devices.items():
        if key not in new_devices:
            devices.remove(device)
    for key, device in new_devices.items():
        if key not in old_devices:
            fresh = copy.deepcopy(device)
            remove(fresh, "boot")
            devices.append(fresh)
    bring_controllers(devices, new, ("usb",))


def _boot(domain: ET.Element, wanted: ET.Element, _: Matches) -> None:
    remove(child(domain, "os"), "boot")
    order = {key: one.find("boot") for key, one in _bootable(wanted)}
    for device in child(domain, "devices"):
        remove(device, "boot")
    for key, device in _bootable(domain):
        boot = order.get(key)
        if boot is not None:
            device.append(copy.deepcopy(boot))
    child(domain, "os").extend(copy.deepcopy(boot) for boot in wanted.findall("os/boot"))


def _bootable(domain: ET.Element) -> list[tuple[str, ET.Element]]:
    devices = _part(domain, "devices")
    found = [(_part(one, "target").get("dev", ""), one) for one in devices.findall("disk")]
    found += [(_part(one, "mac").get("address", "").lower(), one) for one in devices.findall("interface")]
    return found + [(device_key(one), one) for one in devices.findall("hostdev")]


PARTS: dict[str, Transplant] = {
    "cpu_model": _cpu_model,
    "cpu_features": _within("cpu", "feature"),
    "topology": _within("cpu", "topology"),
    "pinning": _within("cputune", "vcpupin", "emulatorpin"),
    "numa": _numa,
    "numatune": _within("numatune", "memory"),
    "hugepages": _within("memoryBacking", "hugepages"),
    "secure_boot": _secure_boot,
    "tpm": _tpm,
    "watchdog": _devices("watchdog"),
    "agent": _agent,
    "rng": _devices("rng"),
    "video": _video,
    "graphics": _graphics,
    "consoles": _consoles,
    "cdroms": _cdroms,
    "filesystems": _filesystems,
    "host_devices": _host_devices,
    "boot": _boot,
}
"""Field to how it is transplanted, in an order in which that can happen."""
