"""DomainConfig -> libvirt's XML. Text from a manifest is escaped by Jinja and read back by a parser."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from reconciler.errors import RenderError
from reconciler.model.domain import (
    CONFIG_JSON,
    METADATA_NAMESPACE,
    Applied,
    DiskConfig,
    DomainConfig,
    InterfaceConfig,
)
from reconciler.model.host import name_and_port
from reconciler.model.network_config import NETWORK_JSON, NETWORK_NAMESPACE
from reconciler.model.operations import CreateVolume, DefineNetwork, DefinePool
from reconciler.model.parts import CdromConfig
from reconciler.push.fragments import join, paths_of
from reconciler.push.hardware import hardware_context, host_device, pci_devices
from reconciler.push.template import UserTemplate
from reconciler.settings import data_dir

ET.register_namespace("reconciler", METADATA_NAMESPACE)
ET.register_namespace("network", NETWORK_NAMESPACE)

_X86 = ("x86_64", "i686")
_SPARE_ROOT_PORTS = 4
"""Devices that can be hot plugged into a PCI Express machine beyond those it is defined with."""


@dataclass(frozen=True, slots=True)
class HostTraits:
    """What rendering needs to know of the host that a domain goes to.

    Attributes:
        virt_type: Domain type when the configuration leaves it to the host.
        arch: The host's architecture, which an unset one means.
        xml_allow: Further elements that an XML template may use here.
    """

    virt_type: str = "kvm"
    arch: str = "x86_64"
    xml_allow: tuple[str, ...] = ()


def render_domain(
    config: DomainConfig, applied: Applied, traits: HostTraits, template: UserTemplate | None = None
) -> str:
    """The XML of a whole domain, with our mark in it.

    Args:
        config: What to render; None in it is left out, so that the host chooses.
        applied: The mark.
        traits: The host that it goes to.
        template: The user's own template, or None.

    Raises:
        RenderError: The template was refused, or the XML does not read back as what was meant.
    """
    fragments = template.render(config) if template else ()
    paths = paths_of(fragments)
    domain = _parse(_render("domain.xml.j2", _domain_context(config, applied, traits, paths)))
    if template:
        join(domain, fragments, traits.xml_allow, template.path)
    _check(domain, config, applied)
    return _text(domain)


def render_mark(applied: Applied, template_paths: Sequence[str] = ()) -> str:
    """Our mark alone, as it stands in a domain's ``<metadata>``."""
    context = _mark_context(applied, template_paths)
    return _text(_parse(_render("metadata.xml.j2", context)))


def render_disk(disk: DiskConfig) -> str:
    """A disk to hot plug."""
    return _text(_parse(_render("disk.xml.j2", {"disk": disk, "boot": {}})))


def render_interface(interface: InterfaceConfig) -> str:
    """An interface to hot plug."""
    return _text(_parse(_render("interface.xml.j2", {"interface": interface, "boot": {}})))


def render_cdrom(drive: CdromConfig) -> str:
    """A CD-ROM drive with what is in it, to change that in a running domain."""
    return _text(_parse(_render("cdrom.xml.j2", {"drive": drive, "boot": {}})))


def render_host_device(key: str) -> str:
    """A device of the host to hot plug."""
    return _text(_parse(_render("hostdev.xml.j2", {"device": host_device(key), "boot": {}})))


def render_volume(volume: CreateVolume) -> str:
    """A volume; an overlay's backing path and inherited size are filled in on the host."""
    return _text(_parse(_render("volume.xml.j2", {"volume": volume})))


def render_pool(pool: DefinePool) -> str:
    """A storage pool."""
    export, servers = "", pool.hosts
    if pool.type == "netfs":
        # host:path, and an IPv6 address has colons of its own: the path begins at the first ":/".
        server, _, path = pool.source.partition(":/")
        export, servers = f"/{path}", (server,)
    return _text(_parse(_render("pool.xml.j2", {"pool": pool, "export": export, "servers": servers})))


def render_network(operation: DefineNetwork, owner: str) -> str:
    """A network, with our mark in it: what libvirt chose is kept on the host.

    Raises:
        RenderError: The XML does not read back as what was meant.
    """
    context = {
        "name": operation.network,
        "uuid": operation.uuid,
        "owner": owner,
        "config": operation.config,
        "namespace": NETWORK_NAMESPACE,
        "mark_json": NETWORK_JSON.dump_json(operation.mark, exclude_defaults=True).decode(),
    }
    network = _parse(_render("network.xml.j2", context))
    for tag, meant in (("name", operation.network), ("uuid", operation.uuid)):
        if network.findtext(tag) != meant or len(network.findall(tag)) > 1:
            raise RenderError(f"the rendered network has another {tag} than {meant!r}")
    return _text(network)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(data_dir("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["name_and_port"] = name_and_port
    return environment


def _render(template: str, context: dict[str, Any]) -> str:
    try:
        return _environment().get_template(template).render(context)
    except TemplateError as error:
        raise RenderError(f"templates/{template}: {error}", hint="reinstall reconciler") from error


def _domain_context(
    config: DomainConfig, applied: Applied, traits: HostTraits, paths: Sequence[str]
) -> dict[str, Any]:
    disks = config.disks or ()
    max_memory = config.max_memory if config.max_memory is not None else config.memory
    max_cpus = config.max_cpus if config.max_cpus is not None else config.cpus
    return {
        "domain": config,
        "virt_type": config.virt_type or traits.virt_type,
        "x86": (config.arch or traits.arch) in _X86,
        "memory_kib": _kib(config.memory),
        "max_memory_kib": _kib(max_memory),
        "cpus": config.cpus if config.cpus is not None else max_cpus,
        "max_cpus": max_cpus,
        "uses_scsi": any(
            one.bus == "scsi"
            for one in (*disks, *(config.cdroms or ()), *([config.seed] if config.seed else ()))
        ),
        "root_ports": _root_ports(config),
        **hardware_context(config, config.virt_type or traits.virt_type),
        **_mark_context(applied, paths),
    }


def _mark_context(applied: Applied, template_paths: Sequence[str]) -> dict[str, Any]:
    return {
        "namespace": METADATA_NAMESPACE,
        "mark": applied,
        "mark_json": CONFIG_JSON.dump_json(applied.config, exclude_defaults=True).decode(),
        "template_paths": template_paths,
    }


def _kib(size: int | None) -> int | None:
    return None if size is None else -(-size // 1024)


def _root_ports(config: DomainConfig) -> int:
    machine = config.machine or ""
    if not ("q35" in machine or machine.startswith("virt")):
        return 0
    devices = len(config.disks or ()) + len(config.interfaces or ()) + pci_devices(config)
    return devices + _SPARE_ROOT_PORTS


def _parse(text: str) -> ET.Element:
    try:
        return ET.fromstring(text)  # noqa: S314 - our own output, autoescaped; it has no DOCTYPE
    except ET.ParseError as error:
        raise RenderError(f"the rendered XML is not well-formed: {error}") from error


def _text(element: ET.Element) -> str:
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"


def _check(domain: ET.Element, config: DomainConfig, applied: Applied) -> None:
    """Read back what identifies a domain: nothing in a manifest may have moved it."""
    mark = domain.find(f"metadata/{{{METADATA_NAMESPACE}}}vm")
    meant = {"name": config.name, "uuid": config.uuid, "owner": applied.owner, "uid": applied.uid}
    found = {
        "name": domain.findtext("name"),
        "uuid": domain.findtext("uuid"),
        "owner": mark.get("owner") if mark is not None else None,
        "uid": mark.get("uid") if mark is not None else None,
    }
    for key, value in meant.items():
        if found[key] != value or len(domain.findall(key)) > 1:
            raise RenderError(f"the rendered XML has the {key} {found[key]!r} where {value!r} was meant")
    if applied.uid != config.uuid:
        raise RenderError(f"machine {applied.name!r}: uid {applied.uid} and domain UUID {config.uuid} differ")
