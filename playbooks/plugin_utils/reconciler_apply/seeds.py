# SPDX-License-Identifier: GPL-3.0-or-later
"""The step that writes a cloud-init seed.

Its bytes hold secrets, so they are in no file of ours: whoever pushes serves them on a socket in the run's
private folder, and from here they go through libvirt's own connection into the pool.
"""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape

import libvirt

from .outcome import Step, StepError
from .session import Session

SOCKET = "seeds.sock"
_CHUNK = 1 << 16
_PATIENCE = 60.0
_LARGEST = 64 << 20


def put_seed(session: Session, step: Step) -> str | None:
    """Write the ISO over the one that is there; over nothing that is not named as this machine's."""
    if re.fullmatch(rf"[^./]+\.{re.escape(step['uid'])}\.cloud-init\.iso", step["volume"]) is None:
        told = f"{step['volume']} is left alone: it is not named as this machine's cloud-init seed"
        raise StepError("NotOurs", told, terminal=True)
    pool = session.pool(step["pool"])
    present = session.volume(pool, step["volume"])
    session.about_to(f"write the cloud-init seed {step['volume']}")
    data = fetch(session.guard.directory, step["id"])
    if present is not None and session.conn.getType() != "TEST":
        room = int(present.info()[1])
        if room >= len(data):
            # In place: a running machine has the file open, and reads the new one at its next boot.
            _upload(session, present, data.ljust(room, b"\0"))
            return "replaced"
    if present is not None:
        present.delete(0)
    with session.building(pool):
        volume = pool.createXML(_volume_xml(step["volume"], len(data)), 0)
    if session.conn.getType() == "TEST":  # libvirt's test driver has volumes, but nothing in them
        return "written"
    try:
        _upload(session, volume, data)
    except (libvirt.libvirtError, OSError):
        volume.delete(0)
        raise
    return "written"


def fetch(directory: Path, step_id: str) -> bytes:
    """The bytes of a seed, from the process that pushes.

    Raises:
        StepError: SeedUnavailable: nobody serves them, as when a plan is carried out by hand.
    """
    try:
        with closing(_connected(directory)) as channel, channel.makefile("rwb") as stream:
            stream.write(json.dumps({"id": step_id}).encode() + b"\n")
            stream.flush()
            header = json.loads(stream.readline(_CHUNK))
            size = int(header.get("size", 0))
            data = stream.read(size) if 0 < size <= _LARGEST else b""
    except (OSError, ValueError) as error:
        raise StepError(
            "SeedUnavailable",
            "nobody serves the bytes of this cloud-init seed: its secrets are read only while "
            "`reconciler apply` or `reconciler run` pushes, so apply this machine with one of those",
        ) from error
    if not size or len(data) != size:
        raise StepError("SeedUnavailable", str(header.get("message") or "the seed did not arrive whole"))
    return data


def _connected(directory: Path) -> socket.socket:
    """A connection to the socket; by way of the folder, since a socket's own path has 107 bytes at most."""
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(_PATIENCE)
        try:
            channel.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        except OSError:
            channel.close()
            raise
        return channel
    finally:
        os.close(folder)


def _volume_xml(name: str, size: int) -> str:
    """Readable for root alone; libvirt hands it to QEMU's user when it starts the domain."""
    return (
        f"<volume><name>{escape(name)}</name><capacity unit='bytes'>{size}</capacity>"
        f"<allocation unit='bytes'>{size}</allocation><target><format type='raw'/>"
        "<permissions><mode>0600</mode></permissions></target></volume>"
    )


def _upload(session: Session, volume: libvirt.virStorageVol, data: bytes) -> None:
    stream = session.conn.newStream(0)
    sent = 0

    def more(_stream: libvirt.virStream, count: int, _opaque: object) -> bytes:
        nonlocal sent
        part = data[sent : sent + min(count, _CHUNK)]
        sent += len(part)
        return part

    try:
        volume.upload(stream, 0, len(data), 0)
        stream.sendAll(more, None)
        stream.finish()
    except libvirt.libvirtError:
        stream.abort()
        raise
