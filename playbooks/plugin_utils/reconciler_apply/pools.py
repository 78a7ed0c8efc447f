# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on storage pools. Only a pool with the UUID that we gave it is ever changed."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_FOLDERS = ("dir", "netfs")


def define_pool(session: Session, step: Step) -> str | None:
    """Define a pool; one of the name is used as it is, whoever made it."""
    found = _find(session, step["pool"])
    if found is not None:
        return None
    session.about_to(f"define the storage pool {step['pool']}")
    session.conn.storagePoolDefineXML(step["xml"], 0)
    return "defined"


def start_pool(session: Session, step: Step) -> str | None:
    """Start a pool, unless it is active; a folder or mount point is made where it is missing."""
    pool = _ours(session, step)
    if pool.isActive():
        return None
    session.about_to(f"start the storage pool {step['pool']}", slow=True)
    if ET.fromstring(pool.XMLDesc(0)).get("type") in _FOLDERS:
        # A folder that is there stays as it is, whatever lies in it; a volume group would be made anew.
        pool.build(0)
    try:
        pool.create(0)
    except libvirt.libvirtError:
        if pool.isActive():  # somebody else was quicker
            return None
        raise
    session.refresh(pool)
    return "started"


def set_pool_autostart(session: Session, step: Step) -> str | None:
    """Start with the host, or not."""
    pool = _ours(session, step)
    if bool(pool.autostart()) == step["autostart"]:
        return None
    word = "on" if step["autostart"] else "off"
    session.about_to(f"turn autostart of the storage pool {step['pool']} {word}")
    pool.setAutostart(int(step["autostart"]))
    return f"autostart {word}"


def undefine_pool(session: Session, step: Step) -> str | None:
    """Stop and undefine a pool that no domain has a disk in; what lies in it stays."""
    if _find(session, step["pool"]) is None:
        return None
    pool = _ours(session, step)
    user = _user_of(session, pool)
    if user is not None:
        raise StepError("PoolInUse", f"the pool {step['pool']!r} is left alone: the domain {user!r} uses it")
    session.about_to(f"undefine the storage pool {step['pool']}")
    if pool.isActive():
        pool.destroy()  # libvirt's word for stopping it
    pool.undefine()
    return "undefined"


def _find(session: Session, name: str) -> libvirt.virStoragePool | None:
    try:
        return session.conn.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
            return None
        raise


def _ours(session: Session, step: Step) -> libvirt.virStoragePool:
    """The step's pool, which has the UUID that we gave it.

    Raises:
        StepError: PoolMissing, or NotOurs; nothing was touched.
    """
    pool = _find(session, step["pool"])
    if pool is None:
        raise StepError("PoolMissing", f"this host has no storage pool {step['pool']!r}")
    if pool.UUIDString() != step["uuid"]:
        raise StepError("NotOurs", f"the storage pool {step['pool']!r} is left alone: we did not make it")
    return pool


def _user_of(session: Session, pool: libvirt.virStoragePool) -> str | None:
    """Name of a domain with a disk in the pool, running or not."""
    tree = ET.fromstring(pool.XMLDesc(0))
    folder = (tree.findtext("target/path") or "").rstrip("/")
    ceph = tree.findtext("source/name") if tree.get("type") == "rbd" else None
    for domain in session.conn.listAllDomains(0):
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            try:
                sources = ET.fromstring(domain.XMLDesc(flags)).iterfind(".//disk//source")
                if any(_lies_in(source, pool.name(), folder, ceph) for source in sources):
                    return str(domain.name())
            except libvirt.libvirtError as error:
                if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                    raise  # else it went while we looked
    return None


def _lies_in(source: ET.Element, pool: str, folder: str, ceph: str | None) -> bool:
    path = source.get("file") or source.get("dev") or ""
    in_folder = bool(folder) and path.startswith(f"{folder}/")
    in_ceph = ceph is not None and source.get("name", "").startswith(f"{ceph}/")
    return in_folder or in_ceph or source.get("pool") == pool
