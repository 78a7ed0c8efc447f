# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of images that nothing needs any more: deleted, if right before it still nothing does."""

from __future__ import annotations

import os.path
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import PurePosixPath

import libvirt

from .images import Carrier
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_IMAGE = r"[A-Za-z0-9_%-]+\.[0-9a-f]{16}\.(?:qcow2|raw)"
_OUR_NAMING = re.compile(rf"{_IMAGE}|\.{_IMAGE}\.part")


def delete_image(session: Session, step: Step, carrier: Carrier | None) -> str | None:
    """Delete an image's volume, or what is left of an unfinished transfer, unless any disk lies over it.

    A disk of anybody counts: every volume of the pools that libvirt knows, every disk of every domain, and
    what those lie over.  Where that cannot be told, the image is kept, and that is said.
    """
    name = step["volume"]
    if not _OUR_NAMING.fullmatch(name):
        raise StepError(
            "NotOurs", f"{name!r} is left alone: it is not named as an image of ours", terminal=True
        )
    pool = session.pool(step["pool"])
    session.refresh(pool)  # libvirt's memory may be old, and this is for good
    volume = session.volume(pool, name)
    if volume is None:
        return None
    needed = _needed(session, str(volume.path()), carrier)
    if needed:
        session.say(f"the image {name} is kept: {needed}")
        return None
    session.about_to(f"delete the image {name}, over which no disk lies")
    volume.delete(0)
    return "deleted"


def _needed(session: Session, path: str, carrier: Carrier | None) -> str:
    """Why the file has to stay, in words; empty if nothing needs it."""
    for volume, below in overlays(session):
        if below == path:
            return f"{volume} lies over it"
    disks = _disks(session)
    if path in disks:
        return f"the domain {disks[path]!r} has it as a disk"
    files = sorted(disks)
    known = carrier.chains(files) if carrier is not None and files else {}
    for disk in files:
        if carrier is None and _is_in_a_pool(session, disk):
            continue  # seen among the volumes already
        chain = known.get(disk)
        if chain is None:
            return f"it cannot be told what {disk} of the domain {disks[disk]!r} lies over"
        if path in chain:
            return f"{disk} of the domain {disks[disk]!r} lies over it"
    return ""


def overlays(session: Session) -> Iterator[tuple[str, str]]:
    """Paths of all volumes with the path of what they lie over."""
    for pool in session.conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        for volume in pool.listAllVolumes(0):
            try:
                below = ET.fromstring(volume.XMLDesc(0)).findtext("backingStore/path")
            except libvirt.libvirtError as error:
                if not is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
                    raise
                continue  # it went while we looked: it lies over nothing any more
            if below:
                path = str(volume.path())
                yield path, os.path.normpath(PurePosixPath(path).parent / below)


def _disks(session: Session) -> dict[str, str]:
    """Files of all domains' disks, and of what running ones lie over, with the domain's name."""
    found: dict[str, str] = {}
    for domain in session.conn.listAllDomains(0):
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            try:
                tree = ET.fromstring(domain.XMLDesc(flags))
            except libvirt.libvirtError as error:
                if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                    raise
                continue
            for source in tree.iterfind(".//disk//source[@file]"):
                found[source.get("file", "")] = str(domain.name())
    return found


def _is_in_a_pool(session: Session, path: str) -> bool:
    try:
        session.conn.storageVolLookupByPath(path)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            return False
        raise
    return True
