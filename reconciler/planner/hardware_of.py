"""What a domain is made of beyond disks and interfaces -> fields of a manifest, one small function a part.

A part that a manifest cannot express is left out: a field that is not said is the host's, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from reconciler.model.domain import DiskConfig, DomainConfig
from reconciler.model.hardware import (
    Cdrom,
    Cpu,
    DiskCache,
    DiskDiscard,
    DiskIo,
    DiskLimits,
    Filesystem,
    Graphics,
    HostDevice,
    Numa,
    PageSize,
    Tpm,
    Watchdog,
    Word,
)
from reconciler.model.parts import IoLimits

Fields = Mapping[str, Any]
_DISK_WORDS: Final[Mapping[str, Any]] = {"cache": DiskCache, "io": DiskIo, "discard": DiskDiscard}
_LIMITS: Final = {
    "totalBytes": "total_bytes",
    "readBytes": "read_bytes",
    "writeBytes": "write_bytes",
    "totalIops": "total_iops",
    "readIops": "read_iops",
    "writeIops": "write_iops",
}


def disk_extras(disk: DiskConfig) -> Fields:
    """How a disk is read and written, as far as a manifest says it."""
    fields = {
        name: getattr(disk, name)
        for name, words in _DISK_WORDS.items()
        if getattr(disk, name) in get_args(words)
    }
    if disk.read_only is not None:
        fields["readOnly"] = disk.read_only
    limits = _limits(disk.limits) if disk.limits is not None else {}
    return {**fields, "limits": limits} if limits and _fits(DiskLimits, limits) else fields


def cpu(config: DomainConfig) -> Fields:
    """Model, features, topology and pinning."""
    parts: dict[str, Any] = {}
    if config.cpu_model is not None and _fits(Word, config.cpu_model):
        features = [{"name": name, "policy": policy} for name, policy in _pairs(config.cpu_features)]
        said = {"model": config.cpu_model, **({"features": features} if features else {})}
        # Without its features the model would be another one.
        parts |= said if _fits(Cpu, said) else {}
    if config.topology is not None:
        names = ("sockets", "dies", "cores", "threads")
        parts |= {name: getattr(config.topology, name) for name in names}
    pins = dict(_pairs(config.pinning))
    emulator = pins.pop("emulator", None)
    bound: dict[str, Any] = {"pinning": {int(each): where for each, where in pins.items()}} if pins else {}
    if emulator is not None:
        bound["emulatorPinning"] = emulator
    parts |= bound if _fits(Cpu, bound) else {}
    return {"cpu": parts} if parts and _fits(Cpu, parts) else {}


def numa(config: DomainConfig) -> Fields:
    """The guest's nodes, and the host's that its memory comes from."""
    parts: dict[str, Any] = {}
    if config.numa:
        parts["cells"] = [{"cpus": cell.cpus, "memory": cell.memory} for cell in config.numa]
    if config.numatune is not None:
        mode, _, nodes = config.numatune.partition(":")
        said = {**parts, "mode": mode, "hostNodes": nodes}
        parts = said if _fits(Numa, said) else parts
    return {"numa": parts} if parts and _fits(Numa, parts) else {}


def hugepages(config: DomainConfig) -> Fields:
    """The size of the pages behind its memory."""
    known = config.hugepages is not None and _fits(PageSize, config.hugepages)
    return {"hugepages": config.hugepages} if known else {}


def tpm(config: DomainConfig) -> Fields:
    """The TPM, emulated or the host's own."""
    kind, _, detail = (config.tpm or "").partition(":")
    name = {"emulator": "version", "passthrough": "device"}.get(kind)
    if name is None:
        return {}
    parts = {name: detail} if detail else {}
    return {"tpm": parts} if _fits(Tpm, parts) else {}


def watchdog(config: DomainConfig) -> Fields:
    """Model and action of the watchdog."""
    model, _, action = (config.watchdog or "").partition(":")
    parts = {"model": model, "action": action}
    return {"watchdog": parts} if _fits(Watchdog, parts) else {}


def graphics(config: DomainConfig) -> Fields:
    """All screens, or none of them: a list is compared whole."""
    screens = [
        {"type": each.type, "listen": each.listen, **({"port": each.port} if each.port else {})}
        for each in config.graphics or ()
    ]
    # Left out, the address would be loopback; a domain without one listens where its host says.
    if not screens or any(each["listen"] is None or not _fits(Graphics, each) for each in screens):
        return {}
    return {"graphics": screens}


def consoles(config: DomainConfig) -> Fields:
    """The consoles, where ``console`` does not say it all."""
    if config.consoles in (None, (), ("serial",)):
        return {}
    return {"consoles": list(config.consoles or ())}


def cdroms(config: DomainConfig) -> Fields:
    """The CD-ROM drives."""
    drives = [
        {"name": each.name or each.target, "bus": each.bus, **({"path": each.path} if each.path else {})}
        for each in config.cdroms or ()
    ]
    return {"cdroms": drives} if drives and all(_fits(Cdrom, each) for each in drives) else {}


def filesystems(config: DomainConfig) -> Fields:
    """The folders of the host."""
    folders = [
        {"tag": each.tag, "source": each.source, "driver": each.driver} for each in config.filesystems or ()
    ]
    return {"filesystems": folders} if folders and all(_fits(Filesystem, each) for each in folders) else {}


def host_devices(config: DomainConfig) -> Fields:
    """The devices of the host."""
    devices = []
    for key in config.host_devices or ():
        kind, _, address = key.partition(":")
        field = kind if kind == "pci" or ":" in address else "usbAddress"
        devices.append({field: address})
    return {"hostDevices": devices} if devices and all(_fits(HostDevice, each) for each in devices) else {}


def boot(config: DomainConfig) -> Fields:
    """The boot order by names; libvirt's words (``hd``) say it of no device."""
    names: dict[str, str | None] = {disk.target: disk.name for disk in config.disks or ()}
    if "cdroms" in cdroms(config):
        names |= {drive.target: drive.name or drive.target for drive in config.cdroms or ()}
    names |= {nic.mac: nic.name for nic in config.interfaces or ()}
    order = [names.get(key) for key in config.boot or ()]
    return {"boot": order} if order and all(order) else {}


def plain(field: str, attribute: str, model: Any) -> Callable[[DomainConfig], Fields]:
    """A part that is said under `field` as it is, if it is a `model`."""

    def part(config: DomainConfig) -> Fields:
        value = getattr(config, attribute)
        return {field: value} if value is not None and _fits(model, value) else {}

    return part


def _limits(limits: IoLimits) -> dict[str, int]:
    return {name: value for name, attribute in _LIMITS.items() if (value := getattr(limits, attribute))}


def _pairs(texts: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """``name=value``, each of them."""
    for text in texts or ():
        name, _, value = text.partition("=")
        yield name, value


def _fits(model: Any, value: Any) -> bool:
    """A manifest can say this."""
    try:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model.model_validate(value)
        else:
            TypeAdapter(model).validate_python(value)
    except ValidationError:
        return False
    return True
