"""The snapshots of a machine, as its host tells them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from reconciler.model.domain import METADATA_NAMESPACE
from reconciler.model.host import Host
from reconciler.model.snapshot import Snapshot
from reconciler.observed.ask import ask

_NONE_HERE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_SUPPORT)


def read_snapshots(host: Host, uid: str) -> tuple[Snapshot, ...]:
    """The snapshots of the domain with this UUID, oldest first; none of a driver that has no snapshots.

    Raises:
        HostError: The host does not answer.
    """
    return ask(host, lambda raw: snapshots_of(raw, uid))


def snapshots_of(raw: libvirt.virConnect, uid: str) -> tuple[Snapshot, ...]:
    """Likewise, over an open connection."""
    try:
        found = raw.lookupByUUIDString(uid).listAllSnapshots(0)
        texts = [(str(one.getXMLDesc(0)), bool(one.isCurrent(0))) for one in found]
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NONE_HERE:
            return ()
        raise
    told = (snapshot(text, uid, current=current) for text, current in texts)
    return tuple(sorted(told, key=lambda one: (one.created, one.name)))


def snapshot(text: str, uid: str, *, current: bool) -> Snapshot:
    """A snapshot from its XML.

    Args:
        text: ``<domainsnapshot>``.
        uid: Of the machine.
        current: The machine's state began with it.
    """
    tree = ET.fromstring(text)  # noqa: S314  # libvirt's own
    mark = tree.find(f"domain/metadata/{{{METADATA_NAMESPACE}}}vm")
    memory = tree.find("memory")
    return Snapshot(
        name=tree.findtext("name", ""),
        created=float(tree.findtext("creationTime", "0")),
        state=tree.findtext("state", ""),
        memory=memory is not None and memory.get("snapshot") not in (None, "no"),
        disks=tuple(
            source.get("file", "")
            for disk in tree.iterfind("domain/devices/disk")
            if disk.get("device", "disk") == "disk" and disk.find("readonly") is None
            for source in disk.iterfind("source[@file]")
        ),
        current=current,
        marked=mark is not None and mark.get("uid") == uid,
    )
