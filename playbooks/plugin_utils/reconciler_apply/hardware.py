# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on the hardware of a running domain: limits, media, pinning, devices of the host."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from .devices import detach, devices_of, find_disk, path_of
from .merge_hardware import device_key
from .outcome import Step, StepError
from .session import Session

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_LIMITS = {
    "total_bytes": "total_bytes_sec",
    "read_bytes": "read_bytes_sec",
    "write_bytes": "write_bytes_sec",
    "total_iops": "total_iops_sec",
    "read_iops": "read_iops_sec",
    "write_iops": "write_iops_sec",
}


def set_limits(session: Session, step: Step) -> str | None:
    """Limit what a disk may do in a second; what else is tuned of it (bursts, its group) stays."""
    domain = session.ours(step)
    target = step["target"]
    if not domain.isActive() or find_disk(domain, target) is None:
        return None
    wanted = {_LIMITS[name]: count for name, count in step["limits"].items()}
    present = domain.blockIoTune(target, _LIVE)
    if all(present.get(name, 0) == count for name, count in wanted.items()):
        return None
    session.about_to(f"limit {target} of {domain.name()}")
    domain.setBlockIoTune(target, wanted, _LIVE)
    told = ", ".join(f"{name} {count}" for name, count in wanted.items() if count)
    return f"limited {target}: {told}" if told else f"lifted the limits of {target}"


def change_media(session: Session, step: Step) -> str | None:
    """Put something else into a CD-ROM drive, or empty its tray, also one that the guest has locked."""
    domain = session.ours(step)
    target, path = step["target"], step["path"]
    if not domain.isActive():
        return None
    drive = find_disk(domain, target)
    if drive is None:
        raise StepError("DriveMissing", f"the running {domain.name()!r} has no drive {target}")
    if path_of(drive) == (path or ""):
        return None
    session.about_to(f"change what is in {target} of {domain.name()}")
    domain.updateDeviceFlags(step["xml"], _LIVE | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)
    return f"{path} is in {target}" if path else f"the tray of {target} is empty"


def pin_cpus(session: Session, step: Step) -> str | None:
    """Tie cpus to the host's; one that is not named runs on all of them."""
    domain = session.ours(step)
    if not domain.isActive():
        return None
    most = session.conn.getCPUMap()[0]
    named = dict(pin.split("=", 1) for pin in step["pins"])
    everywhere = (True,) * most
    wanted = {str(cpu): everywhere for cpu in range(step["cpus"])} | {"emulator": everywhere}
    wanted |= {cpu: _map(where, most) for cpu, where in named.items()}
    present = dict(enumerate(domain.vcpuPinInfo(_LIVE)))
    emulator = tuple(domain.emulatorPinInfo(_LIVE))
    changed = []
    for cpu, cpus in wanted.items():
        now = emulator if cpu == "emulator" else present.get(int(cpu))
        if now is None or tuple(map(bool, now)) == cpus:
            continue
        session.about_to(f"pin cpus of {domain.name()}")
        if cpu == "emulator":
            domain.pinEmulator(cpus, _LIVE)
        else:
            domain.pinVcpuFlags(int(cpu), cpus, _LIVE)
        changed.append(cpu)
    return f"pinned {', '.join(changed)}" if changed else None


def _map(where: str, most: int) -> tuple[bool, ...]:
    """``(False, True, True)`` of ``1-2`` on a host of three."""
    chosen: set[int] = set()
    for part in where.split(","):
        first, _, last = part.partition("-")
        chosen.update(range(int(first), int(last or first) + 1))
    return tuple(cpu in chosen for cpu in range(most))


def attach_host_device(session: Session, step: Step) -> str | None:
    """Hand a device of the host to the guest, unless it has it."""
    domain = session.ours(step)
    if not domain.isActive() or _host_device(domain, step["device"]) is not None:
        return None
    session.about_to(f"attach {step['device']} to {domain.name()}")
    domain.attachDeviceFlags(step["xml"], _LIVE)
    return f"attached {step['device']}"


def detach_host_device(session: Session, step: Step) -> str | None:
    """Take a device of the host back, and wait until the guest let go."""
    return detach(session, session.ours(step), step["device"], _host_device)


def _host_device(domain: libvirt.virDomain, key: str) -> ET.Element | None:
    return next((one for one in devices_of(domain, "hostdev") if device_key(one) == key), None)
