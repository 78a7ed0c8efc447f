# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on snapshots, which libvirt keeps inside of a machine's own qcow2 files.

A snapshot holds all disks that the guest can write to, or is not taken: half of a machine's state is none.
None lies in a volume with a life of its own: inside of it there is only the snapshot's name to tell it from
that of another machine, which may have the volume next.
"""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import libvirt

from . import mark
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_VOLUME = re.compile(r"volume-([^./]*)\.[0-9a-f-]{36}\.[a-z0-9]+")


def take_snapshot(session: Session, step: Step) -> str | None:
    """Keep the state of all disks in one moment, with the memory if it runs; one of the name is kept."""
    domain = session.ours(step)
    if _lookup(domain, step["name"]) is not None:
        return None
    volumes = _volumes(_files(_config(domain)))
    if volumes:
        told = f"{domain.name()!r} has the {volumes}, which may go to another machine and holds no snapshot"
        raise StepError("VolumeInSnapshot", f"{told}: detach it first, or copy it", terminal=True)
    _require_whole(domain, step["targets"])
    snapshot = ET.Element("domainsnapshot")
    ET.SubElement(snapshot, "name").text = step["name"]
    ET.SubElement(snapshot, "memory", snapshot="internal" if domain.isActive() else "no")
    disks = ET.SubElement(snapshot, "disks")
    for target in step["targets"]:
        ET.SubElement(disks, "disk", name=target, snapshot="internal")
    session.about_to(f"take the snapshot {step['name']!r} of {domain.name()}", slow=True)
    domain.snapshotCreateXML(ET.tostring(snapshot, encoding="unicode"), 0)
    return "taken"


def restore_snapshot(session: Session, step: Step) -> str | None:
    """Go back to a snapshot, and write the mark of today: the domain of then brings along that of then.

    The mark of a running instance stays that of then, for that is what it was started with.
    """
    domain = session.ours(step)
    snapshot = _lookup(domain, step["name"])
    if snapshot is None:
        raise StepError(
            "SnapshotMissing", f"{domain.name()!r} has no snapshot {step['name']!r}", terminal=True
        )
    then = ET.fromstring(snapshot.getXMLDesc(0)).find("domain")
    if then is None:
        raise StepError("Unsupported", "the snapshot does not tell the domain of then", terminal=True)
    _require_ours_then(session, then, step)
    _require_its_own(domain, then, step["name"])
    session.about_to(f"go back to the snapshot {step['name']!r} of {domain.name()}", slow=True)
    # Forced: where the hardware of then differs, the emulator is started anew.
    domain.revertToSnapshot(snapshot, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE)
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        mark.unprefixed(step["mark"]),
        mark.PREFIX,
        mark.NAMESPACE,
        libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )
    return "restored"


def delete_snapshot(session: Session, step: Step) -> str | None:
    """Delete a snapshot; those that came after it stay."""
    domain = session.ours(step)
    snapshot = _lookup(domain, step["name"])
    if snapshot is None:
        return None
    then = ET.fromstring(snapshot.getXMLDesc(0)).find("domain")
    if then is not None:
        _require_its_own(domain, then, step["name"])
        _require_targets(domain, then, step["name"])
    session.about_to(f"delete the snapshot {step['name']!r} of {domain.name()}", slow=True)
    snapshot.delete(0)
    return "deleted"


def _lookup(domain: libvirt.virDomain, name: str) -> libvirt.virDomainSnapshot | None:
    try:
        return domain.snapshotLookupByName(name, 0)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT):
            return None
        raise


def _config(domain: libvirt.virDomain) -> ET.Element:
    """What it runs with, or would."""
    return ET.fromstring(domain.XMLDesc(0 if domain.isActive() else libvirt.VIR_DOMAIN_XML_INACTIVE))


def _require_whole(domain: libvirt.virDomain, targets: list[str]) -> None:
    """Refuse if the disks are no longer those that were planned for: the snapshot would not be whole."""
    found = [
        target.get("dev", "")
        for disk in _config(domain).iterfind("devices/disk")
        if disk.get("device", "disk") == "disk" and disk.find("readonly") is None
        for target in disk.iterfind("target")
    ]
    if sorted(found) != sorted(targets):
        told = (
            f"the disks of {domain.name()!r} are {', '.join(sorted(found))}, not {', '.join(sorted(targets))}"
        )
        raise StepError("DisksChanged", f"{told}: plan again")


def _require_its_own(domain: libvirt.virDomain, then: ET.Element, name: str) -> None:
    """Refuse if the snapshot lies in files that are, or may be, another machine's by now."""
    volumes = _volumes(_files(then))
    if volumes:
        told = f"the snapshot {name!r} of {domain.name()!r} would change the {volumes}"
        told = f"{told}, which may hold another machine's of that name"
        raise StepError("VolumeInSnapshot", f"{told}: {_forget(domain, name)}", terminal=True)
    gone = sorted(_files(then) - _files(_config(domain)))
    if gone:
        raise _detached(domain, ", ".join(gone), name)


def _require_targets(domain: libvirt.virDomain, then: ET.Element, name: str) -> None:
    """Refuse if a drive of then is gone: libvirt 9 looks each one up, and crashes over it."""
    gone = sorted(_targets(then) - _targets(_config(domain)))
    if gone:
        raise _detached(domain, f"the disk {', '.join(gone)}", name)


def _detached(domain: libvirt.virDomain, what: str, name: str) -> StepError:
    told = f"{domain.name()!r} no longer has {what}, which the snapshot {name!r} would change"
    return StepError(
        "DiskDetached", f"{told}: attach it again first, or {_forget(domain, name)}", terminal=True
    )


def _forget(domain: libvirt.virDomain, name: str) -> str:
    command = f"virsh snapshot-delete {shlex.quote(domain.name())} {shlex.quote(name)} --metadata"
    return f"forget the snapshot on the host, which leaves its data in the files: {command}"


def _require_ours_then(session: Session, then: ET.Element, step: Step) -> None:
    """Going back must not take the domain out of our hands, not even for a moment."""
    element = then.find(f"metadata/{mark.TAG}")
    found = mark.ownership(element) if element is not None else None
    if found != mark.Ownership(session.owner, step["uid"]):
        raise StepError("NotOurs", "the domain was not ours when the snapshot was taken", terminal=True)


def _files(config: ET.Element) -> set[str]:
    return {
        source.get("file", "")
        for disk in config.iterfind("devices/disk")
        if disk.get("device", "disk") == "disk" and disk.find("readonly") is None
        for source in disk.iterfind("source[@file]")
    }


def _targets(config: ET.Element) -> set[str]:
    """Those of all drives, with what cannot be written and what is empty."""
    return {target.get("dev", "") for target in config.iterfind("devices/disk/target")}


def _volumes(files: set[str]) -> str:
    """In words, the volumes with a life of their own among files; empty if there is none."""
    found = (_VOLUME.fullmatch(file.rpartition("/")[2]) for file in files)
    names = sorted(repr(unquote(match[1])) for match in found if match)
    return f"volume {', '.join(names)}" if names else ""
