# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on volumes that have a life of their own, apart from any machine's."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET

import libvirt

from . import claims
from .image_disposal import overlays
from .images import Carrier
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code


def is_own(name: str, uid: str) -> bool:
    """True for ``volume-<name>.<uid>.<format>``."""
    return re.fullmatch(rf"volume-[^./]*\.{re.escape(uid)}\.[a-z0-9]+", name) is not None


def create(session: Session, pool: libvirt.virStoragePool, step: Step) -> str | None:
    """Make a volume, blank or as a copy.

    An empty volume ``copying.<uid>`` stands beside it until it is whole: one that was begun and not finished
    is made anew.  No machine can have it by then, since machines wait until this step is done.
    """
    # A machine may have several disks that are copies: each has a marker of its own.
    mine = is_own(step["volume"], step["uid"])
    marker = f"copying.{step['uid'] if mine else uuid.uuid5(uuid.UUID(step['uid']), step['volume'])}"
    present = session.volume(pool, step["volume"])
    begun = session.volume(pool, marker) is not None
    if begun:
        # Another host may have finished it since this one looked: only what is there now may be made anew.
        session.refresh(pool)
        present, begun = session.volume(pool, step["volume"]), session.volume(pool, marker) is not None
    if present is not None and not begun:
        return None
    source = _source(session, step)
    if present is not None:
        _require_unclaimed(pool, step["volume"], step["uid"])
        _require_unused(session, pool, step["volume"])
    session.about_to(f"create the volume {step['volume']}", slow=source is not None)
    if not begun:
        claims.put_empty(session, pool, marker)
    if present is not None:
        present.delete(0)
    with session.building(pool):
        if source is None:
            made = pool.createXML(step["xml"], 0)
        else:
            made = pool.createXMLFrom(step["xml"], source, 0)
    if step["size"] is not None and made.info()[1] < step["size"]:
        made.resize(step["size"], 0)
    claims.remove(pool, marker)
    return "created" if source is None else f"copied from {step['source']}"


def _source(session: Session, step: Step) -> libvirt.virStorageVol | None:
    """What it begins as, which nobody writes to.

    Raises:
        StepError: ImageMissing, SourceInUse or DiskTooSmall.
    """
    if not step.get("source"):
        return None
    pool = session.pool(step["source_pool"])
    source = session.volume(pool, step["source"])
    if source is None:
        raise StepError(
            "ImageMissing", f"the pool {step['source_pool']!r} has no volume {step['source']!r} to copy"
        )
    user = user_of(session, source, running=True)
    if user is not None:
        raise StepError("SourceInUse", f"{step['source']} is open in the running domain {user!r}")
    size = int(source.info()[1])
    if step["size"] is not None and step["size"] < size:
        told = f"the volume would have {step['size']} bytes, but what it begins as has {size}"
        raise StepError("DiskTooSmall", told, terminal=True)
    return source


def _require_unclaimed(pool: libvirt.virStoragePool, name: str, uid: str) -> None:
    claimed = [claim for claim in pool.listVolumes() if claim.startswith(f"claim.{uid}.")]
    if claimed:
        raise StepError("VolumeClaimed", f"{name} is left alone: {claimed[0]} says that a machine has it")


def _require_unused(session: Session, pool: libvirt.virStoragePool, name: str) -> None:
    user = user_of(session, pool.storageVolLookupByName(name))
    if user is not None:
        raise StepError("DiskInUse", f"{name} is left alone: the domain {user!r} uses it")


def resize(session: Session, step: Step) -> str | None:
    """Grow a volume that no domain has; never shrink it."""
    pool = session.pool(step["pool"])
    volume = _required(session, pool, step)
    if volume.info()[1] >= step["size"]:
        return None
    session.refresh(pool)
    _require_unclaimed(pool, step["volume"], step["uid"])
    _require_unused(session, pool, step["volume"])
    session.about_to(f"grow {step['volume']} to {step['size']} bytes")
    volume.resize(step["size"], 0)
    return f"grown to {step['size']} bytes"


def snapshot(session: Session, step: Step, carrier: Carrier | None) -> str | None:
    """Take, restore or delete a snapshot inside of a volume that no running domain has."""
    name, uid, act = step["volume"], step["uid"], step["act"]
    if not is_own(name, uid):
        raise StepError("NotOurs", f"{name} is left alone: it is no volume of ours", terminal=True)
    if carrier is None:
        told = f"{name}: a snapshot needs a way to the host's files besides libvirt (ssh)"
        raise StepError("Unsupported", told, terminal=True)
    pool = session.pool(step["pool"])
    session.refresh(pool)
    volume = _required(session, pool, step)
    strangers = sorted(claims.claims_of(pool, uid) - set(step["users"]))
    if strangers:
        raise StepError("VolumeClaimed", f"{name} is left alone: the machine {strangers[0]} has it")
    user = user_of(session, volume, running=True)
    if user is not None:
        raise StepError("DiskInUse", f"{name} is left alone: it is open in the running domain {user!r}")
    if act == "restore":
        _require_nothing_over(session, volume)
    session.about_to(f"{act} the snapshot {step['name']} of {name}")
    return carrier.snapshot(str(volume.path()), act, step["name"])


def discard(session: Session, step: Step) -> str | None:
    """Delete a volume that carries our naming with the step's uid, and that no domain and no claim has."""
    name, uid = step["volume"], step["uid"]
    if not (is_own(name, uid) or _is_disk(name, uid)):
        raise StepError(
            "NotOurs", f"{name} is left alone: its name does not say that we made it", terminal=True
        )
    pool = session.pool(step["pool"])
    volume = session.volume(pool, name)
    if volume is None:
        return None
    session.refresh(pool)
    _require_unclaimed(pool, name, uid)
    _require_unused(session, pool, name)
    _require_nothing_over(session, volume)
    session.about_to(f"delete {name}")
    volume.delete(0)
    return "deleted"


def _require_nothing_over(session: Session, volume: libvirt.virStorageVol) -> None:
    """A domain that is off does not say what its disk lies over: somebody's external snapshot, a clone."""
    path = str(volume.path())
    over = next((other for other, below in overlays(session) if below == path), None)
    if over is not None:
        raise StepError("DiskInUse", f"{volume.name()} is left alone: {over} lies over it")


def _is_disk(name: str, uid: str) -> bool:
    """True for ``<machine>.<uid>.<disk>.<format>``, a disk that was made for a machine."""
    return re.fullmatch(rf"[^./]+\.{re.escape(uid)}\.[a-z0-9-]+\.[a-z0-9]+", name) is not None


def _required(session: Session, pool: libvirt.virStoragePool, step: Step) -> libvirt.virStorageVol:
    volume = session.volume(pool, step["volume"])
    if volume is None:
        raise StepError("VolumeMissing", f"the pool {step['pool']!r} has no volume {step['volume']!r}")
    return volume


def user_of(session: Session, volume: libvirt.virStorageVol, *, running: bool = False) -> str | None:
    """Name of a domain that refers to a volume, as a disk or below one; with `running` only one that runs."""
    path, name = volume.path(), volume.name()
    for domain in session.conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE if running else 0):
        for flags in (0,) if running else (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            try:
                tree = ET.fromstring(domain.XMLDesc(flags))
            except libvirt.libvirtError as error:
                if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                    raise  # else it went while we looked
                break
            if any(_is(source, path, name) for source in tree.iterfind(".//disk//source")):
                return str(domain.name())
    return None


def _is(source: ET.Element, path: str, name: str) -> bool:
    told = (source.get("file"), source.get("dev"), source.get("name"))
    return path in told or source.get("volume") == name
