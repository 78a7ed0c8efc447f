# SPDX-License-Identifier: GPL-3.0-or-later
"""New values into an existing domain's XML, leaving everything that we don't model as it is. Pure.

Only the fields that differ are transplanted from the freshly rendered XML: the CD drive that somebody
added, the pinned cpus, the device addresses stay.
"""

from __future__ import annotations

import copy
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable

from . import mark, merge_hardware
from .elements import child as _child
from .elements import remove as _remove
from .elements import replace as _replace

_FIELD = re.compile(r"(?P<part>\w+)(?:\[(?P<key>[^\]]+)\])?(?:\.(?P<attribute>\w+))?")
_ALIASES = {"pc": "pc-i440fx-", "q35": "pc-q35-"}
_OUTSIDE_THE_XML = frozenset(["autostart", "state", "metadata", "image"])


def merge(current: str, rendered: str, fields: Iterable[str]) -> str:
    """The current XML with `fields` as they are in the rendered one, and with its mark.

    Args:
        current: The domain's persistent XML.
        rendered: The whole domain as it shall be.
        fields: Paths such as ``memory`` or ``disks[data].path``.

    Raises:
        ValueError: A field that cannot be changed in an existing domain.
    """
    domain, wanted = parse(current), parse(rendered)
    by_part: dict[str, list[re.Match[str]]] = {}
    for path in fields:
        match = _FIELD.fullmatch(path)
        if match is None or match["part"] not in _PARTS.keys() | _OUTSIDE_THE_XML:
            raise ValueError(f"the field {path} of an existing domain cannot be changed")
        by_part.setdefault(match["part"], []).append(match)
    for part, transplant in _PARTS.items():
        if part in by_part:
            transplant(domain, wanted, by_part[part])
    _mark(domain, wanted, renew_paths="template" in by_part)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def tidy(text: str) -> str:
    """A document as `merge` writes it, so that a diff of both shows what changes and no other spelling."""
    domain = parse(text)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def same(one: str, other: str) -> bool:
    """True if two documents differ in spelling at most: quotes, indentation, order of attributes."""
    return _equal(ET.fromstring(one), ET.fromstring(other))


def _equal(one: ET.Element, other: ET.Element) -> bool:
    if (one.tag, one.attrib, len(one)) != (other.tag, other.attrib, len(other)):
        return False
    if len(one) == 0:
        return (one.text or "") == (other.text or "")
    return all(_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def parse(text: str) -> ET.Element:
    """Parse, remembering the prefixes of foreign namespaces, so that they come out as they went in."""
    for _, (prefix, uri) in ET.iterparse(io.StringIO(text), events=("start-ns",)):
        if prefix and not re.fullmatch(r"ns\d+", prefix):
            ET.register_namespace(prefix, uri)
    return ET.fromstring(text)


def _mark(domain: ET.Element, wanted: ET.Element, *, renew_paths: bool) -> None:
    metadata = _child(domain, "metadata")
    new = copy.deepcopy(wanted.find(f"metadata/{mark.TAG}"))
    old = metadata.find(mark.TAG)
    if new is None:
        return
    if not renew_paths:
        new.attrib.pop("template", None)
        if old is not None and old.get("template"):
            new.set("template", old.get("template", ""))
    at = list(metadata).index(old) if old is not None else len(metadata)
    if old is not None:
        metadata.remove(old)
    metadata.insert(at, new)


def _cpus(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    new = wanted.find("vcpu")
    if new is None:
        return
    vcpu = _child(domain, "vcpu")
    vcpu.set("current", new.get("current") or new.text or "1")
    _drop_needless_current(vcpu)


def _max_cpus(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    new = wanted.find("vcpu")
    if new is None:
        return
    vcpu = _child(domain, "vcpu")
    if vcpu.get("current") is None and vcpu.text:
        vcpu.set("current", str(min(int(vcpu.text), int(new.text or "1"))))
    vcpu.text = new.text
    _drop_needless_current(vcpu)
    # Both list the cpus one by one, or by a product, that no longer fits; libvirt would refuse them.
    _remove(domain, "vcpus")
    topology = domain.find("cpu/topology")
    if topology is not None and _product(topology) != int(new.text or "1"):
        _remove(_child(domain, "cpu"), "topology")


def _drop_needless_current(vcpu: ET.Element) -> None:
    if vcpu.get("current") == vcpu.text:
        del vcpu.attrib["current"]


def _product(topology: ET.Element) -> int:
    product = 1
    for name in ("sockets", "dies", "clusters", "cores", "threads"):
        product *= int(topology.get(name, "1"))
    return product


def _whole(tag: str) -> Callable[[ET.Element, ET.Element, list[re.Match[str]]], None]:
    """A transplant that replaces one element, or removes it where it is not wanted."""

    def transplant(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
        _replace(domain, wanted, tag)

    return transplant


def _virt_type(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    domain.set("type", wanted.get("type", ""))
    _replace(domain, wanted, "cpu")


def _machine(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    old, new = domain.find("os/type"), wanted.find("os/type")
    if old is None or new is None:
        return
    before = old.get("machine", "")
    if "arch" in new.attrib:
        old.set("arch", new.attrib["arch"])
    if "machine" in new.attrib and not _is_alias(new.attrib["machine"], before):
        old.set("machine", new.attrib["machine"])
    if ("q35" in before) != ("q35" in old.get("machine", "")):
        _forget_pci(_child(domain, "devices"), _child(wanted, "devices"))


def _is_alias(alias: str, machine: str) -> bool:
    """True if libvirt made this machine type of that alias: ``pc-q35-7.2`` of ``q35``."""
    return machine.startswith(_ALIASES.get(alias, f"{alias}-"))


def _forget_pci(devices: ET.Element, wanted: ET.Element) -> None:
    """Another chipset has other slots: libvirt finds addresses, and adds disk controllers as needed."""
    for device in list(devices):
        if device.tag == "controller" and device.get("type") in ("pci", "ide", "sata"):
            devices.remove(device)
            continue
        for address in device.findall("address[@type='pci']"):
            device.remove(address)
    devices.extend(copy.deepcopy(port) for port in wanted.findall("controller[@type='pci']"))


def _firmware(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    old, new = _child(domain, "os"), _child(wanted, "os")
    for tag in ("loader", "nvram", "firmware"):
        _remove(old, tag)
    old.attrib.pop("firmware", None)
    old.attrib.update(new.attrib)


def _console(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    devices, new = _child(domain, "devices"), _child(wanted, "devices")
    for tag in ("serial", "console"):
        _remove(devices, tag)
        devices.extend(copy.deepcopy(device) for device in new.findall(tag))


def _disks(domain: ET.Element, wanted: ET.Element, matches: list[re.Match[str]]) -> None:
    """Add, change or remove the disks that `matches` name; a size is not in the XML."""
    matches = [match for match in matches if match["attribute"] != "size"]
    devices, new = _child(domain, "devices"), _child(wanted, "devices")
    old_disks, new_disks = _disks_of(devices), _disks_of(new)
    for target in _chosen(domain, wanted, matches, ("disks", "target"), old_disks.keys() | new_disks.keys()):
        old, fresh = old_disks.get(target), new_disks.get(target)
        if old is not None and fresh is not None:
            _change_disk(old, fresh)
            merge_hardware.tune_disk(old, fresh, _attributes(domain, wanted, matches, target))
        elif old is not None:
            devices.remove(old)
        elif fresh is not None:
            _add_disk(domain, new, copy.deepcopy(fresh))


def _attributes(
    domain: ET.Element, wanted: ET.Element, matches: list[re.Match[str]], target: str
) -> set[str | None]:
    """What differs of one disk."""
    part = ("disks", "target")
    return {
        match["attribute"]
        for match in matches
        if match["key"] is None or target in _chosen(domain, wanted, [match], part, ())
    }


def _disks_of(devices: ET.Element) -> dict[str, ET.Element]:
    disks = {}
    for disk in devices.findall("disk"):
        target = disk.find("target")
        if disk.get("device", "disk") == "disk" and target is not None:
            disks[target.get("dev", "")] = disk
    return disks


def _seed(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    """Add, move or remove the CD-ROM with the cloud-init files, and no other."""
    devices, new = _child(domain, "devices"), _child(wanted, "devices")
    uid = domain.findtext("uuid", "").lower()
    for disk in devices.findall("disk"):
        if _is_seed(disk, uid):
            devices.remove(disk)
    for disk in new.findall("disk"):
        if _is_seed(disk, uid):
            _add_disk(domain, new, copy.deepcopy(disk))


def _is_seed(disk: ET.Element, uid: str) -> bool:
    source = disk.find("source")
    path = source.get("file") or source.get("dev") or "" if source is not None else ""
    return disk.get("device") == "cdrom" and path.endswith(f".{uid}.cloud-init.iso")


def _change_disk(old: ET.Element, new: ET.Element) -> None:
    source, driver, target = _child(new, "source"), _child(new, "driver"), _child(new, "target")
    if not _same_place(old, new, source):
        old.set("type", new.get("type", "file"))
        _replace(old, new, "source")
        _remove(old, "backingStore")
        _replace_or_remove(old, new, "auth")
    _replace_or_remove(old, new, "shareable")
    _child(old, "driver").attrib.update(driver.attrib)
    if _child(old, "target").get("bus") != target.get("bus"):
        _child(old, "target").set("bus", target.get("bus", ""))
        _remove(old, "address")


def _same_place(old: ET.Element, new: ET.Element, source: ET.Element) -> bool:
    """True if both lead to the same bytes in the same way; libvirt adds an index and more to a source."""
    before = _child(old, "source")
    return (
        old.get("type", "file") == new.get("type", "file")
        and all(before.get(name) == source.get(name) for name in ("file", "dev", "protocol", "name"))
        and _servers(before) == _servers(source)
        and _secret(old) == _secret(new)
    )


def _servers(source: ET.Element) -> list[tuple[str | None, str | None]]:
    return [(host.get("name"), host.get("port")) for host in source.findall("host")]


def _secret(disk: ET.Element) -> tuple[str | None, str | None]:
    auth = disk.find("auth")
    if auth is None:
        return None, None
    secret = auth.find("secret")
    return auth.get("username"), secret.get("uuid") if secret is not None else None


def _replace_or_remove(old: ET.Element, new: ET.Element, tag: str) -> None:
    if new.find(tag) is not None:
        _replace(old, new, tag)
    else:
        _remove(old, tag)


def _add_disk(domain: ET.Element, wanted_devices: ET.Element, disk: ET.Element) -> None:
    devices = _child(domain, "devices")
    if domain.find("os/boot") is not None or devices.find("*/boot") is not None:
        _remove(disk, "boot")
    if _child(disk, "target").get("bus") == "scsi" and devices.find("controller[@type='scsi']") is None:
        devices.extend(copy.deepcopy(one) for one in wanted_devices.findall("controller[@type='scsi']"))
    devices.append(disk)


def _interfaces(domain: ET.Element, wanted: ET.Element, matches: list[re.Match[str]]) -> None:
    """Add, change or remove the interfaces that `matches` name."""
    devices = _child(domain, "devices")
    old_nics, new_nics = _interfaces_of(devices), _interfaces_of(_child(wanted, "devices"))
    for mac in _chosen(domain, wanted, matches, ("interfaces", "mac"), old_nics.keys() | new_nics.keys()):
        old, fresh = old_nics.get(mac), new_nics.get(mac)
        if old is not None and fresh is not None:
            old.set("type", fresh.get("type", ""))
            _replace(old, fresh, "source")
            if fresh.find("model") is not None:
                _replace(old, fresh, "model")
        elif old is not None:
            devices.remove(old)
        elif fresh is not None:
            devices.append(copy.deepcopy(fresh))


def _interfaces_of(devices: ET.Element) -> dict[str, ET.Element]:
    nics = {}
    for nic in devices.findall("interface"):
        mac = nic.find("mac")
        if mac is not None:
            nics[mac.get("address", "").lower()] = nic
    return nics


def _chosen(
    domain: ET.Element,
    wanted: ET.Element,
    matches: list[re.Match[str]],
    part: tuple[str, str],
    everything: Iterable[str],
) -> list[str]:
    """What the fields' keys identify: a key is a name in the old mark or the new, or the thing itself."""
    if any(match["key"] is None for match in matches):
        return sorted(everything)
    chosen: set[str] = set()
    for names in (mark.devices(one.find(f"metadata/{mark.TAG}"), *part) for one in (domain, wanted)):
        chosen.update(*(names.get(match["key"], {match["key"]}) for match in matches))
    return sorted(chosen)


def _template(domain: ET.Element, wanted: ET.Element, _: list[re.Match[str]]) -> None:
    """What the old template set goes, what the new one sets comes; the marks say which paths those are."""
    marks = (one.find(f"metadata/{mark.TAG}") for one in (domain, wanted))
    paths = {path for one in marks if one is not None for path in one.get("template", "").split()}
    for path in sorted(paths):
        container, _slash, tag = path.rpartition("/")
        if path == "devices/controller":
            _usb_controllers(_child(domain, "devices"), _child(wanted, "devices"))
        elif container:
            _replace(_child(domain, container), _child(wanted, container), tag)
        else:
            _replace(domain, wanted, tag)


def _usb_controllers(devices: ET.Element, wanted: ET.Element) -> None:
    """The one sort of controller whose presence a template decides; libvirt manages the others itself."""
    for controller in devices.findall("controller[@type='usb']"):
        devices.remove(controller)
    devices.extend(copy.deepcopy(one) for one in wanted.findall("controller[@type='usb']"))


_PARTS: dict[str, Callable[[ET.Element, ET.Element, list[re.Match[str]]], None]] = {
    "virt_type": _virt_type,
    "machine": _machine,
    "arch": _machine,
    "firmware": _firmware,
    "max_cpus": _max_cpus,
    "cpus": _cpus,
    "max_memory": _whole("memory"),
    "memory": _whole("currentMemory"),
    "description": _whole("description"),
    "console": _console,
    "disks": _disks,
    "interfaces": _interfaces,
    "seed": _seed,
    **merge_hardware.PARTS,
    "template": _template,
}
"""Field to how it is transplanted, in the order in which they must happen."""
