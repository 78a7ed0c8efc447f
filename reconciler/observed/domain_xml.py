"""A domain's XML, read into a `DomainConfig`, and our mark in it into an `Applied`.

libvirt's format is open-ended: whatever is unknown here is passed over, never an error.  One pass over
the children of ``<domain>`` and one over ``<devices>`` keep 20,000 domains affordable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from pydantic import ValidationError

from reconciler.model.domain import (
    CONFIG_JSON,
    METADATA_NAMESPACE,
    Applied,
    DiskConfig,
    DomainConfig,
    InterfaceConfig,
    SeedConfig,
)
from reconciler.model.parts import CdromConfig
from reconciler.model.placement import SEED, parse_volume_name
from reconciler.observed.disk_source import source_fields
from reconciler.observed.hardware_xml import boot_order, cdrom, device_fields, disk_fields, domain_fields
from reconciler.observed.xml_values import disk_path, number, parse_memory

__all__ = ["DomainXmlError", "ParsedDomain", "bare_config", "parse_domain", "parse_memory", "with_sizes"]

_MARK = f"{{{METADATA_NAMESPACE}}}vm"
_UUID = re.compile(r"<uuid>\s*([0-9a-fA-F-]{36})\s*</uuid>")
# Full virtualisation: an <os> of this type has a firmware; a container or a paravirtual kernel has none.
_HVM = "hvm"


class DomainXmlError(ValueError):
    """The text is not a domain that libvirt could have written."""


@dataclass(frozen=True, slots=True)
class ParsedDomain:
    """What one XML document says.

    Attributes:
        config: The configuration. ``autostart`` is None: libvirt keeps it outside the XML.
        applied: Our mark, or None when the domain is not ours.
        foreign_owner: Owner in its mark when that is another installation; else empty.
    """

    config: DomainConfig
    applied: Applied | None
    foreign_owner: str = ""


def parse_domain(xml: str, owner: str) -> ParsedDomain:
    """Read a domain's XML, persistent or live.

    Names of disks and interfaces, the template's digest, and sizes of disks (which the XML does not
    carry) are taken from our mark where the target or MAC, and for a size the path too, still agree.

    Args:
        xml: What ``virDomainGetXMLDesc`` returned.
        owner: A mark of another owner counts as none.

    Raises:
        DomainXmlError: Not well-formed, not a ``<domain>``, or with a document type declaration.
    """
    root = _root(xml)
    known = {child.tag: child for child in root}
    config = _config(root, known)
    metadata = known.get("metadata")
    mark = metadata.find(_MARK) if metadata is not None else None
    if mark is None:
        return ParsedDomain(config, None)
    if mark.get("owner") != owner:
        return ParsedDomain(config, None, mark.get("owner", ""))
    applied = _applied(mark, owner, config.uuid)
    return ParsedDomain(_named(config, applied.config) if applied else config, applied)


def bare_config(xml: str, name: str, uuid: str) -> DomainConfig:
    """The least that is sure of a domain whose XML cannot be read: that it exists."""
    found = _UUID.search(xml)
    return DomainConfig(name=name, uuid=found.group(1).lower() if found else uuid)


def with_sizes(config: DomainConfig, sizes: Mapping[str, int]) -> DomainConfig:
    """The same configuration with the virtual sizes (bytes, by target) that libvirt measured."""
    if not config.disks or not any(sizes.get(disk.target, disk.size) != disk.size for disk in config.disks):
        return config
    return replace(
        config, disks=tuple(replace(disk, size=sizes.get(disk.target, disk.size)) for disk in config.disks)
    )


def _root(xml: str) -> Element:
    # libvirt writes no document type; one could only come from something that means harm.
    if "<!DOCTYPE" in xml:
        raise DomainXmlError("a domain's XML has no document type declaration")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - the one dangerous construct was refused above
    except (ET.ParseError, UnicodeError) as error:
        raise DomainXmlError(f"not well-formed: {error}") from error
    if root.tag != "domain":
        raise DomainXmlError(f"<{root.tag}> is not a domain")
    return root


def _config(root: Element, known: Mapping[str, Element]) -> DomainConfig:
    arch, machine, firmware = _os(known.get("os"))
    cpus, max_cpus = _cpus(known.get("vcpu"))
    max_memory = _memory(known.get("memory"))
    memory = _memory(known.get("currentMemory"))
    uuid = (_text(known.get("uuid")) or "").strip().lower()
    by_tag: dict[str, list[Element]] = {}
    for device in known.get("devices", ()):
        by_tag.setdefault(device.tag, []).append(device)
    return DomainConfig(
        name=_text(known.get("name")) or "",
        uuid=uuid,
        virt_type=root.get("type"),
        arch=arch,
        machine=machine,
        firmware=firmware,
        cpus=cpus,
        max_cpus=max_cpus,
        memory=max_memory if memory is None else memory,
        max_memory=max_memory,
        description=_text(known.get("description")),
        boot=boot_order(by_tag, known.get("os")),
        **domain_fields(known, uefi=firmware == "uefi"),
        **_devices(by_tag, root, uuid),
    )


def _text(element: Element | None) -> str | None:
    return None if element is None else element.text


def _memory(element: Element | None) -> int | None:
    return None if element is None else parse_memory(element.text, element.get("unit"))


def _cpus(vcpu: Element | None) -> tuple[int | None, int | None]:
    if vcpu is None:
        return None, None
    most = number(vcpu.text)
    now = number(vcpu.get("current"))
    return (most if now is None else now), most


def _os(element: Element | None) -> tuple[str | None, str | None, str | None]:
    """Architecture, machine type and firmware."""
    if element is None:
        return None, None, None
    kind = element.find("type")
    if kind is None:
        return None, None, None
    firmware = None
    if kind.text == _HVM:
        loader = element.find("loader")
        uefi = element.get("firmware") == "efi" or (loader is not None and loader.get("type") == "pflash")
        firmware = "uefi" if uefi else "bios"
    return kind.get("arch"), kind.get("machine"), firmware


def _devices(by_tag: Mapping[str, Sequence[Element]], root: Element, uuid: str) -> dict[str, Any]:
    """Fields of the devices. Of the drives the one that cloud-init reads is ours and has its own field."""
    disks: list[DiskConfig] = []
    drives: list[CdromConfig] = []
    seed = None
    for device in by_tag.get("disk", ()):
        kind = device.get("device", "disk")
        if kind == "disk":
            disks.append(_disk(device))
        elif kind == "cdrom":
            drive = cdrom(device)
            parsed = parse_volume_name(drive.path.rpartition("/")[2]) if drive.path else None
            if parsed is not None and parsed[1:] == (uuid, SEED):
                seed = SeedConfig(drive.target, drive.bus, drive.path or "")
            else:
                drives.append(drive)
    container = root.get("type") == "lxc"
    serial = "serial" in by_tag or (container and "console" in by_tag)
    fields = device_fields(by_tag, container=container)
    # libvirt's order is that of the bus and of hot plugging; ours has to be the same for equal sets.
    fields["disks"] = tuple(sorted(disks, key=_by_target))
    fields["interfaces"] = tuple(_interface(one) for one in by_tag.get("interface", ()))
    fields["console"] = "serial" if serial else "none"
    fields["seed"] = seed
    if drives:
        fields["cdroms"] = tuple(sorted(drives, key=_by_target))
    return fields


def _by_target(device: DiskConfig | CdromConfig) -> tuple[int, str]:
    return len(device.target), device.target


def _disk(disk: Element) -> DiskConfig:
    target = disk.find("target")
    driver = disk.find("driver")
    return DiskConfig(
        target=target.get("dev", "") if target is not None else "",
        bus=target.get("bus", "") if target is not None else "",
        path=disk_path(disk.get("type", ""), disk.find("source")),
        format=driver.get("type", "raw") if driver is not None else "raw",
        **disk_fields(disk, driver),
        **source_fields(disk),
    )


def _interface(interface: Element) -> InterfaceConfig:
    mac = interface.find("mac")
    model = interface.find("model")
    source = interface.find("source")
    network = source.get("network") if source is not None else None
    bridge = None
    # The live XML of an interface in a network has that network's bridge beside it, and even type='bridge'.
    if network is None and source is not None and interface.get("type") == "bridge":
        bridge = source.get("bridge")
    return InterfaceConfig(
        mac=mac.get("address", "").lower() if mac is not None else "",
        network=network,
        bridge=bridge,
        model=model.get("type") if model is not None else None,
    )


def _applied(element: Element, owner: str, uuid: str) -> Applied | None:
    """What our mark says, or None: it cannot be read, or was copied along by cloning a domain."""
    uid = element.get("uid", "").lower()
    generation = number(element.get("generation"))
    if generation is None or uid != uuid:
        return None
    try:
        config = CONFIG_JSON.validate_json(element.text or "")
    except ValidationError:
        return None
    return Applied(
        owner=owner,
        uid=uid,
        name=element.get("name", config.name),
        generation=generation,
        spec_hash=element.get("hash", ""),
        config=config,
        image=element.get("image", ""),
        deletion_policy=element.get("deletionPolicy", "Retain"),
        protect=element.get("protect") == "true",
        stop_timeout=60 if (seconds := number(element.get("stopTimeout"))) is None else seconds,
    )


def _named(config: DomainConfig, pushed: DomainConfig) -> DomainConfig:
    """The observed configuration with what only the mark knows: names, known sizes, the template."""
    return replace(
        config,
        template=pushed.template,
        seed=_known_seed(config.seed, pushed.seed),
        disks=tuple(_named_disk(config.disks or (), pushed.disks or ())),
        interfaces=tuple(_named_interface(config.interfaces or (), pushed.interfaces or ())),
        cdroms=_named_cdroms(config.cdroms, pushed.cdroms or ()),
    )


def _named_cdroms(
    drives: tuple[CdromConfig, ...] | None, pushed: Iterable[CdromConfig]
) -> tuple[CdromConfig, ...] | None:
    if drives is None:
        return None
    names = {drive.target: drive.name for drive in pushed}
    return tuple(replace(drive, name=names.get(drive.target)) for drive in drives)


def _known_seed(seed: SeedConfig | None, pushed: SeedConfig | None) -> SeedConfig | None:
    if seed is None or pushed is None or seed.path != pushed.path:
        return seed
    return replace(seed, digest=pushed.digest)


def _named_disk(disks: Iterable[DiskConfig], pushed: Iterable[DiskConfig]) -> Iterable[DiskConfig]:
    by_target = {disk.target: disk for disk in pushed}
    for disk in disks:
        ours = by_target.get(disk.target)
        if ours is None:
            yield disk
        else:
            same = ours.path == disk.path
            yield replace(
                disk,
                name=ours.name,
                size=ours.size if same else None,
                volume=ours.volume if same else None,
            )


def _named_interface(
    interfaces: Iterable[InterfaceConfig], pushed: Iterable[InterfaceConfig]
) -> Iterable[InterfaceConfig]:
    by_mac = {interface.mac: interface for interface in pushed}
    for interface in interfaces:
        ours = by_mac.get(interface.mac)
        yield interface if ours is None else replace(interface, name=ours.name)
