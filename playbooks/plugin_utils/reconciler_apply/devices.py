# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on disks and interfaces of a running domain, and how any of its devices is found and pulled out.

What the next start uses, `redefine` writes.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import libvirt

from .claims import taking
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_RELEASE_SECONDS = 30
"""How long a guest may take to let go of a device."""

Finder = Callable[[libvirt.virDomain, str], "ET.Element | None"]
"""Looks a device of a domain up by what names it."""


def attach_disk(session: Session, step: Step) -> str | None:
    """Plug a disk in, unless it is there."""
    domain = session.ours(step)
    if not domain.isActive():
        return None
    present = find_disk(domain, step["target"])
    if present is not None:
        path = path_of(present)
        if path == step["path"]:
            return None
        raise StepError(
            "TargetTaken", f"{step['target']} of {domain.name()!r} is {path or 'another device'} already"
        )
    with taking(session, step["uid"], step["xml"]):
        session.about_to(f"attach {step['target']} to {domain.name()}")
        domain.attachDeviceFlags(step["xml"], _LIVE)
    return f"attached {step['target']}"


def detach_disk(session: Session, step: Step) -> str | None:
    """Pull a disk out, and wait until the guest let go."""
    domain = session.ours(step)
    return detach(session, domain, step["target"], find_disk)


def attach_interface(session: Session, step: Step) -> str | None:
    """Plug an interface in, unless it is there."""
    domain = session.ours(step)
    if not domain.isActive() or _interface(domain, step["mac"]) is not None:
        return None
    session.about_to(f"attach {step['mac']} to {domain.name()}")
    domain.attachDeviceFlags(step["xml"], _LIVE)
    return f"attached {step['mac']}"


def detach_interface(session: Session, step: Step) -> str | None:
    """Pull an interface out, and wait until the guest let go."""
    domain = session.ours(step)
    return detach(session, domain, step["mac"], _interface)


def grow_disk(session: Session, step: Step) -> str | None:
    """Grow a disk, under the running guest or in its pool; never shrink it."""
    domain = session.ours(step)
    size = step["size"]
    if domain.isActive() and find_disk(domain, step["target"]) is not None:
        if domain.blockInfo(step["target"])[0] >= size:
            return None
        session.about_to(f"grow {step['target']} of {domain.name()} to {size} bytes")
        domain.blockResize(step["target"], size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        return f"grown to {size} bytes"
    # libvirt's own path of an rbd image is pool/image.
    volume = session.conn.storageVolLookupByPath(step["path"].removeprefix("rbd:"))
    if volume.info()[1] >= size:
        return None
    session.about_to(f"grow {step['path']} to {size} bytes")
    volume.resize(size, 0)
    return f"grown to {size} bytes"


def detach(session: Session, domain: libvirt.virDomain, key: str, find: Finder) -> str | None:
    """Pull a device out of a running domain, and wait until the guest let go of it."""
    if not domain.isActive():
        return None
    present = find(domain, key)
    if present is None:
        return None
    session.about_to(f"detach {key} from {domain.name()}")
    try:
        domain.detachDeviceFlags(ET.tostring(present, encoding="unicode"), _LIVE)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_DEVICE_MISSING):
            raise
    if not session.wait(lambda: _gone(domain, key, find), _RELEASE_SECONDS):
        raise StepError(
            "GuestHoldsDevice",
            f"the guest of {domain.name()!r} did not let go of {key} within {_RELEASE_SECONDS} s",
        )
    return f"detached {key}"


def _gone(domain: libvirt.virDomain, key: str, find: Finder) -> bool:
    return not domain.isActive() or find(domain, key) is None


def devices_of(domain: libvirt.virDomain, tag: str) -> list[ET.Element]:
    """Its devices of one kind, as it has them now."""
    return ET.fromstring(domain.XMLDesc(0)).findall(f"devices/{tag}")


def find_disk(domain: libvirt.virDomain, target: str) -> ET.Element | None:
    """The disk of this target."""
    for disk in devices_of(domain, "disk"):
        found = disk.find("target")
        if found is not None and found.get("dev") == target:
            return disk
    return None


def path_of(disk: ET.Element) -> str:
    """What is in a disk: a path, `rbd:` with a name, or nothing for an empty tray."""
    source = disk.find("source")
    if source is None:
        return ""
    if disk.get("type") == "network":
        return f"{source.get('protocol', '')}:{source.get('name', '')}"
    return source.get("file") or source.get("dev") or ""


def _interface(domain: libvirt.virDomain, mac: str) -> ET.Element | None:
    for interface in devices_of(domain, "interface"):
        found = interface.find("mac")
        if found is not None and found.get("address", "").lower() == mac.lower():
            return interface
    return None
