# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on disks in storage pools."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import PurePosixPath

import libvirt

from . import own_volumes
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code


def create_volume(session: Session, step: Step) -> str | None:
    """Make a blank disk or an overlay; a volume of that name is kept as it is."""
    pool = session.pool(step["pool"])
    if step.get("source") or own_volumes.is_own(step["volume"], step["uid"]):
        return own_volumes.create(session, pool, step)
    if session.volume(pool, step["volume"]) is not None:
        return None
    xml = step["xml"]
    if step["backing"]:
        backing = session.volume(pool, step["backing"])
        if backing is None:
            raise StepError(
                "ImageMissing",
                f"the pool {step['pool']!r} has no volume {step['backing']!r} to lay a disk over",
            )
        xml = _laid_over(xml, backing, step)
    session.about_to(f"create the volume {step['volume']}")
    with session.building(pool):
        pool.createXML(xml, 0)
    return "created"


def _laid_over(xml: str, backing: libvirt.virStorageVol, step: Step) -> str:
    """The volume's XML with what only the host knows: the backing file's path and virtual size."""
    volume = ET.fromstring(xml)
    image_size = int(backing.info()[1])
    if step["size"] is not None and step["size"] < image_size:
        raise StepError(
            "DiskTooSmall",
            f"the disk would have {step['size']} bytes, but its image {step['backing']} has {image_size}",
            terminal=True,
        )
    if step["size"] is None:
        ET.SubElement(volume, "capacity", unit="bytes").text = str(image_size)
    path = volume.find("backingStore/path")
    if path is not None:
        path.text = backing.path()
    return ET.tostring(volume, encoding="unicode")


def delete_volume(session: Session, step: Step) -> str | None:
    """Delete a disk that we made for this machine, unless a domain needs it: another, or its own that runs.

    Its own domain goes after its disks: if we die in between, it still tells that they are to go.
    """
    path, uid = step["path"], step["uid"]
    if not _carries(path, uid):
        raise StepError(
            "NotOurs", f"{path} is left alone: it is not a disk that was made for this machine", terminal=True
        )
    volume = _by_path(session, path)
    if volume is None:
        return None
    user = _user_of(session, path, step)
    if user is not None:
        raise StepError("DiskInUse", f"{path} is left alone: the domain {user!r} uses it")
    session.about_to(f"delete {path}")
    volume.delete(0)
    return "deleted"


def _is_on_its_way_out(session: Session, domain: libvirt.virDomain, step: Step) -> bool:
    """True of the machine's own domain, with our mark, that does not run."""
    if domain.UUIDString() != step["uid"] or domain.isActive():
        return False
    session.require_ours(domain, step)
    return True


def _carries(path: str, uid: str) -> bool:
    """True for ``<name>.<uid>.<disk>.<format>``, the shape that `volume_name` gives to our disks."""
    parts = PurePosixPath(path).name.rsplit(".", 3)
    return len(parts) == 4 and parts[1] == uid and re.fullmatch(r"[0-9a-f-]{36}", uid) is not None


def _by_path(session: Session, path: str) -> libvirt.virStorageVol | None:
    found = _lookup(session, path)
    if found is not None:
        return found
    # Only a pool that could hold it is looked at anew, and that once a run.
    folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
    for pool in session.conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        if ET.fromstring(pool.XMLDesc(0)).findtext("target/path") == folder:
            return session.volume(pool, name)
    return None


def _lookup(session: Session, path: str) -> libvirt.virStorageVol | None:
    try:
        # libvirt's own path of an image in Ceph is pool/image.
        return session.conn.storageVolLookupByPath(path.removeprefix("rbd:"))
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            return None
        raise


def _user_of(session: Session, path: str, step: Step) -> str | None:
    """Name of a domain that refers to this file, running or not; the step's own only if it runs."""
    for domain in session.conn.listAllDomains(0):
        try:
            if not _is_on_its_way_out(session, domain, step) and _refers_to(domain, path):
                return str(domain.name())
        except libvirt.libvirtError as error:
            if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                raise  # else it went while we looked: it uses nothing any more
    return None


def _refers_to(domain: libvirt.virDomain, path: str) -> bool:
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        # Comparing text would miss an escaped character, and find a path in a description.
        tree = ET.fromstring(domain.XMLDesc(flags))
        if any(path in _places(source) for source in tree.iterfind(".//disk//source")):
            return True
    return False


def _places(source: ET.Element) -> tuple[str | None, ...]:
    """What a source leads to, as a path."""
    network = f"{source.get('protocol')}:{source.get('name')}"
    return source.get("file"), source.get("dev"), network
