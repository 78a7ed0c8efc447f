# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine at a time has a volume: looked after on the host, whatever the plan believed.

On the host itself the other domains tell who has a volume.  On a pool that several hosts see, a machine that
takes a volume first puts an empty volume beside it, ``claim.<volume's uid>.<machine's uid>``.  Whoever finds
another one's claim after having made its own takes its own back: both may give up, never may both go on.
"""

from __future__ import annotations

import contextlib
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import libvirt

from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OWN = re.compile(rf"volume-[^./]*\.({_UUID})\.[a-z0-9]+")
_CLAIM = re.compile(rf"claim\.({_UUID})\.({_UUID})")
_ONE_AT_A_TIME = threading.Lock()
"""Two machines of one run must not both look before either has taken."""


@contextlib.contextmanager
def taking(session: Session, uid: str, xml: str) -> Iterator[None]:
    """Whatever is done inside gives a machine the disks in `xml`; refused if another domain here has one.

    Args:
        session: The host.
        uid: The machine's uid.
        xml: A domain, or a disk.

    Raises:
        StepError: DiskInUse; nothing was done.
    """
    wanted = _exclusive(ET.fromstring(xml))
    if not wanted:
        yield
        return
    with _ONE_AT_A_TIME:
        for domain in session.conn.listAllDomains(0):
            try:
                if domain.UUIDString() != uid:
                    _refuse(domain, wanted)
            except libvirt.libvirtError as error:
                if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                    raise  # else it went while we looked
        yield


def _refuse(domain: libvirt.virDomain, wanted: frozenset[str]) -> None:
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        both = wanted & _volumes(ET.fromstring(domain.XMLDesc(flags)))
        if both:
            raise StepError(
                "DiskInUse", f"the volume {min(both)} belongs to the domain {domain.name()!r} here"
            )


def _exclusive(tree: ET.Element) -> frozenset[str]:
    """Uids of the volumes that no other domain may have."""
    disks = [tree] if tree.tag == "disk" else tree.findall("devices/disk")
    alone = [disk for disk in disks if disk.find("shareable") is None and disk.find("readonly") is None]
    return frozenset(uid for disk in alone for uid in _uids(disk))


def _volumes(tree: ET.Element) -> frozenset[str]:
    """Uids of all volumes that a domain has, below its snapshots too."""
    return frozenset(uid for disk in tree.findall("devices/disk") for uid in _uids(disk))


def _uids(disk: ET.Element) -> Iterator[str]:
    for source in disk.iter("source"):
        for attribute in ("file", "dev", "name", "volume"):
            found = _OWN.fullmatch(source.get(attribute, "").rpartition("/")[2])
            if found is not None:
                yield found[1]


def claim_volume(session: Session, step: Step) -> str | None:
    """Claim a volume for the step's machine; refused while another machine has it."""
    pool = session.pool(step["pool"])
    mine = _name(step["volume_uid"], step["uid"])
    session.refresh(pool)
    claims = claims_of(pool, step["volume_uid"])
    _refuse_others(claims, step)
    stale = sorted(claims & set(step["stale"]))
    if not stale and claims == {step["uid"]}:
        return None
    session.about_to(f"claim the volume {step['volume_uid']}")
    if step["uid"] not in claims:
        put_empty(session, pool, mine)
    for uid in stale:
        remove(pool, _name(step["volume_uid"], uid))
    session.refresh(pool)
    try:
        _refuse_others(claims_of(pool, step["volume_uid"]), step)
    except StepError:
        if step["uid"] not in claims:
            remove(pool, mine)
        raise
    return "claimed"


def _refuse_others(claims: set[str], step: Step) -> None:
    others = sorted(claims - {step["uid"], *step["stale"]})
    if others:
        raise StepError(
            "VolumeClaimed",
            f"the volume {step['volume_uid']} is claimed by the machine {others[0]}, perhaps on another host",
        )


def release_volume(session: Session, step: Step) -> str | None:
    """Take claims back."""
    pool = session.pool(step["pool"])
    session.refresh(pool)
    mine = sorted(claims_of(pool, step["volume_uid"]) & set(step["machines"]))
    if not mine:
        return None
    session.about_to(f"release the volume {step['volume_uid']}")
    for uid in mine:
        remove(pool, _name(step["volume_uid"], uid))
    return "released"


def _name(volume: str, machine: str) -> str:
    name = f"claim.{volume}.{machine}"
    if _CLAIM.fullmatch(name) is None:
        raise StepError("InternalError", f"{name!r} is no claim", terminal=True)
    return name


def claims_of(pool: libvirt.virStoragePool, volume: str) -> set[str]:
    """Uids of the machines that claim a volume."""
    found = (_CLAIM.fullmatch(name) for name in pool.listVolumes())
    return {claim[2] for claim in found if claim is not None and claim[1] == volume}


def put_empty(session: Session, pool: libvirt.virStoragePool, name: str) -> None:
    """Make an empty volume, which says something by its name alone; one that is there is success."""
    # Ceph refuses an image of no size; libvirt's default format for one is raw.
    xml = (
        f"<volume><name>{name}</name><capacity unit='bytes'>{1 << 20}</capacity>"
        "<allocation>0</allocation></volume>"
    )
    try:
        with session.building(pool):
            pool.createXML(xml, 0)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_STORAGE_VOL_EXIST):
            raise


def remove(pool: libvirt.virStoragePool, name: str) -> None:
    """Remove a volume; one that is gone is success."""
    try:
        pool.storageVolLookupByName(name).delete(0)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
