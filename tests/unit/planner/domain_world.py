"""Domains of the simulated hosts: what the operations on one do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reconciler.model import operations as ops
from reconciler.model.domain import DiskConfig, DomainConfig, DomainState, InterfaceConfig


def resolved(config: DomainConfig) -> DomainConfig:
    """What libvirt makes of a definition: whatever was left open is chosen."""
    machine = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}.get(config.machine or "pc", config.machine)
    return replace(
        config,
        arch=config.arch or "x86_64",
        machine=machine,
        firmware=config.firmware or "bios",
        console=config.console or "none",
        autostart=bool(config.autostart),
    )


def _redefine(domain: Any, operation: ops.Redefine) -> None:
    wanted = resolved(operation.config)
    config = domain.config
    for path in operation.fields:
        head, _, rest = path.partition("[")
        if head == "metadata":
            continue
        if head == "disks":
            config = replace(config, disks=_with_disk(config, wanted, rest.partition("]")[0]))
        elif head == "interfaces":
            config = replace(config, interfaces=_with_interface(config, wanted, rest.partition("]")[0]))
        else:
            config = replace(config, **{head: getattr(wanted, head)})
    domain.config, domain.applied = config, operation.applied


def _with_disk(config: DomainConfig, wanted: DomainConfig, label: str) -> tuple[DiskConfig, ...]:
    disks = {disk.target: disk for disk in config.disks or ()}
    chosen = next((disk for disk in wanted.disks or () if disk.name == label), None)
    if chosen is None:
        del disks[label]
    else:
        disks[chosen.target] = chosen
    return tuple(sorted(disks.values(), key=lambda disk: (len(disk.target), disk.target)))


def _with_interface(config: DomainConfig, wanted: DomainConfig, label: str) -> tuple[InterfaceConfig, ...]:
    nics = {nic.mac: nic for nic in config.interfaces or ()}
    chosen = next((nic for nic in wanted.interfaces or () if nic.name == label), None)
    if chosen is None:
        del nics[label]
    else:
        nics[chosen.mac] = chosen
    return tuple(nics.values())


def _start(domain: Any, _operation: ops.Start) -> None:
    if domain.live is None:
        domain.live, domain.applied_live = replace(domain.config, autostart=None), domain.applied
        domain.state, domain.state_reason = DomainState.RUNNING, "booted"


def _stop(domain: Any, _operation: ops.Stop) -> None:
    domain.live, domain.applied_live = None, None
    domain.state, domain.state_reason = DomainState.SHUT_OFF, "shutdown"


def _live(domain: Any) -> DomainConfig:
    assert domain.live is not None, "a live change of a domain that does not run"
    return domain.live


def _set_live(name: str, value: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    def change(domain: Any, operation: Any) -> None:
        domain.live = replace(_live(domain), **{name: value(operation)})

    return change


def _attach_disk(domain: Any, operation: ops.AttachDisk) -> None:
    disks = _live(domain).disks or ()
    assert operation.disk.target not in {disk.target for disk in disks}
    assert operation.disk.path not in {disk.path for disk in disks}
    both = sorted([*disks, operation.disk], key=lambda disk: (len(disk.target), disk.target))
    domain.live = replace(_live(domain), disks=tuple(both))


def _detach_disk(domain: Any, operation: ops.DetachDisk) -> None:
    left = tuple(disk for disk in _live(domain).disks or () if disk.target != operation.target)
    domain.live = replace(_live(domain), disks=left)


def _attach_interface(domain: Any, operation: ops.AttachInterface) -> None:
    nics = _live(domain).interfaces or ()
    assert operation.interface.mac not in {nic.mac for nic in nics}
    domain.live = replace(_live(domain), interfaces=(*nics, operation.interface))


def _detach_interface(domain: Any, operation: ops.DetachInterface) -> None:
    left = tuple(nic for nic in _live(domain).interfaces or () if nic.mac != operation.mac)
    domain.live = replace(_live(domain), interfaces=left)


def _grow(domain: Any, operation: ops.GrowDisk) -> None:
    def grown(config: DomainConfig) -> DomainConfig:
        disks = [
            replace(d, size=operation.size) if d.target == operation.target else d for d in config.disks or ()
        ]
        return replace(config, disks=tuple(disks))

    domain.config = grown(domain.config)
    domain.live = grown(domain.live) if domain.live else None


def _set_limits(domain: Any, operation: ops.SetLimits) -> None:
    live = _live(domain)
    assert operation.target in {disk.target for disk in live.disks or ()}
    disks = [
        replace(d, limits=operation.limits) if d.target == operation.target else d for d in live.disks or ()
    ]
    domain.live = replace(live, disks=tuple(disks))


def _change_media(domain: Any, operation: ops.ChangeMedia) -> None:
    live = _live(domain)
    assert operation.drive.target in {drive.target for drive in live.cdroms or ()}
    drives = [operation.drive if d.target == operation.drive.target else d for d in live.cdroms or ()]
    domain.live = replace(live, cdroms=tuple(drives))


def _attach_host_device(domain: Any, operation: ops.AttachHostDevice) -> None:
    present = _live(domain).host_devices or ()
    assert operation.device not in present
    domain.live = replace(_live(domain), host_devices=tuple(sorted((*present, operation.device))))


def _detach_host_device(domain: Any, operation: ops.DetachHostDevice) -> None:
    left = tuple(device for device in _live(domain).host_devices or () if device != operation.device)
    domain.live = replace(_live(domain), host_devices=left)


def _set_autostart(domain: Any, operation: ops.SetAutostart) -> None:
    domain.config = replace(domain.config, autostart=operation.autostart)


def _mark(domain: Any, operation: ops.Mark) -> None:
    domain.applied = operation.applied
    domain.applied_live = operation.applied if domain.live else None


def _unmark(domain: Any, _operation: ops.Unmark) -> None:
    domain.applied = domain.applied_live = None


CHANGES: dict[type, Callable[[Any, Any], None]] = {
    ops.Redefine: _redefine,
    ops.Start: _start,
    ops.Stop: _stop,
    ops.SetMemory: _set_live("memory", lambda operation: operation.memory),
    ops.SetCpus: _set_live("cpus", lambda operation: operation.cpus),
    ops.SetDescription: _set_live("description", lambda operation: operation.description),
    ops.SetAutostart: _set_autostart,
    ops.AttachDisk: _attach_disk,
    ops.DetachDisk: _detach_disk,
    ops.AttachInterface: _attach_interface,
    ops.DetachInterface: _detach_interface,
    ops.GrowDisk: _grow,
    ops.SetLimits: _set_limits,
    ops.ChangeMedia: _change_media,
    ops.PinCpus: _set_live("pinning", lambda operation: operation.pins),
    ops.AttachHostDevice: _attach_host_device,
    ops.DetachHostDevice: _detach_host_device,
    ops.Mark: _mark,
    ops.Unmark: _unmark,
}
