"""A domain that exists -> the manifest that describes it, one small function a part.

A row of `PARTS` for each field of `DomainConfig`; a field that a manifest does not say stands in `NOT_SAID`
with the reason.  A test counts them, so that a new field cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from reconciler.errors import ReconcilerError
from reconciler.model.domain import DiskConfig, DomainConfig, DomainState, InterfaceConfig, ObservedDomain
from reconciler.model.envelope import check_text
from reconciler.model.hardware import Word
from reconciler.model.manifest import RunStrategy, VirtualMachine
from reconciler.planner import hardware_of as hardware
from reconciler.planner.names import ROOT

_LONGEST_DESCRIPTION = 4096

Part = Callable[[DomainConfig], Mapping[str, Any]]
"""Fields of a machine's spec, in YAML's terms."""


def named(config: DomainConfig) -> DomainConfig:
    """The configuration with names for its parts: the first disk is the root disk."""
    disks = [
        replace(disk, name=ROOT if index == 0 else disk.target, size=None)
        for index, disk in enumerate(config.disks or ())
    ]
    interfaces = [replace(nic, name=f"net{index}") for index, nic in enumerate(config.interfaces or ())]
    drives = config.cdroms and tuple(replace(drive, name=drive.target) for drive in config.cdroms)
    return replace(config, disks=tuple(disks), interfaces=tuple(interfaces), cdroms=drives)


def manifest_of(domain: ObservedDomain) -> dict[str, Any]:
    """The manifest in YAML's terms, not validated yet."""
    config = named(domain.config)
    spec: dict[str, Any] = {
        "runStrategy": RunStrategy.ALWAYS if domain.state is DomainState.RUNNING else RunStrategy.MANUAL,
        "placement": {"host": domain.host},
    }
    for part in PARTS.values():
        spec |= part(config)
    return {"metadata": {"name": config.name}, "spec": spec}


def validated(fields: Mapping[str, Any], domain: ObservedDomain) -> VirtualMachine:
    """The manifest.

    Raises:
        ReconcilerError: A manifest cannot express this domain; the message says what of it.
    """
    try:
        return VirtualMachine.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"a manifest cannot express it: {where}: {first['msg']}"
        raise ReconcilerError(
            f"the domain {domain.name!r} on {domain.host} cannot be adopted: {message}"
        ) from error


def _as(field: str, attribute: str) -> Part:
    """A part that is said under `field` if the domain has it."""

    def part(config: DomainConfig) -> Mapping[str, Any]:
        value = getattr(config, attribute)
        return {} if value is None else {field: value}

    return part


def _max_cpus(config: DomainConfig) -> Mapping[str, Any]:
    return {} if config.max_cpus == config.cpus else {"maxCpus": config.max_cpus}


def _max_memory(config: DomainConfig) -> Mapping[str, Any]:
    return {} if config.max_memory == config.memory else {"maxMemory": config.max_memory}


def _disks(config: DomainConfig) -> Mapping[str, Any]:
    parts: dict[str, Any] = {}
    for disk in config.disks or ():
        if disk.name == ROOT:
            parts["rootDisk"] = _disk(disk)
        else:
            parts.setdefault("disks", []).append({"name": disk.name, **_disk(disk)})
    return parts


def _disk(disk: DiskConfig) -> dict[str, Any]:
    return {"path": disk.path, "bus": disk.bus, "format": disk.format, **hardware.disk_extras(disk)}


def _interfaces(config: DomainConfig) -> Mapping[str, Any]:
    return {"interfaces": [_interface(nic) for nic in config.interfaces or ()]}


def _interface(nic: InterfaceConfig) -> dict[str, Any]:
    entry = {"name": nic.name, "network": nic.network, "bridge": nic.bridge, "mac": nic.mac}
    return entry if nic.model is None else {**entry, "model": nic.model}


def _console(config: DomainConfig) -> Mapping[str, Any]:
    return {"console": config.console}


def _description(config: DomainConfig) -> Mapping[str, Any]:
    text = config.description
    return {"description": text} if text and _is_text(text) else {}


def _is_text(text: str) -> bool:
    try:
        check_text(text)
    except ValueError:
        return False
    return len(text) <= _LONGEST_DESCRIPTION


def _autostart(config: DomainConfig) -> Mapping[str, Any]:
    # Explicit, so that a look at the manifest shows what it ties down.
    return {"autostart": bool(config.autostart)}


PARTS: Final[Mapping[str, Part]] = {
    "cpus": _as("cpus", "cpus"),
    "max_cpus": _max_cpus,
    "memory": _as("memory", "memory"),
    "max_memory": _max_memory,
    "arch": _as("architecture", "arch"),
    "machine": _as("machine", "machine"),
    "firmware": _as("firmware", "firmware"),
    "disks": _disks,
    "interfaces": _interfaces,
    "console": _console,
    "description": _description,
    "autostart": _autostart,
    "cpu_model": hardware.cpu,
    "numa": hardware.numa,
    "hugepages": hardware.hugepages,
    "secure_boot": _as("secureBoot", "secure_boot"),
    "tpm": hardware.tpm,
    "watchdog": hardware.watchdog,
    "agent": _as("agent", "agent"),
    "rng": _as("rng", "rng"),
    "video": hardware.plain("video", "video", Word),
    "graphics": hardware.graphics,
    "consoles": hardware.consoles,
    "cdroms": hardware.cdroms,
    "filesystems": hardware.filesystems,
    "host_devices": hardware.host_devices,
    "boot": hardware.boot,
}
"""Field of `DomainConfig` to what says it in a manifest."""

NOT_SAID: Final[Mapping[str, str]] = {
    "name": "it is the manifest's name",
    "uuid": "it is in the mark",
    "virt_type": "it is the host's, and an adopted machine keeps its own",
    "template": "a domain that is not ours was made from none",
    "cpu_features": "it is in `cpu`, with the model",
    "topology": "it is in `cpu`, with the model",
    "pinning": "it is in `cpu`, with the model",
    "numatune": "it is in `numa`",
    "seed": "a domain that is not ours has none that we made",
}
"""Fields of `DomainConfig` that stand in no spec, and why."""
