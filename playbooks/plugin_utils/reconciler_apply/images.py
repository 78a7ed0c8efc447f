# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images, put into a pool once, whatever the number of machines; and deleted when nothing needs them.

An image's file name carries its digest, and the file appears under that name only when it is whole: so
whoever finds it may use it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import libvirt

from .outcome import Step, StepError
from .session import Session

_CHUNK = 4 << 20
_SAY_EVERY = 2.0
"""Seconds between two words on how far a transfer is."""

Report = Callable[[int, "int | None"], None]
"""Takes the bytes that are there and all of them (None: not known); raises Interrupted if nobody waits."""


@dataclass(frozen=True)
class Wanted:
    """A file that a host shall have.

    Attributes:
        target: Its absolute path.
        algorithm: ``sha256`` or ``sha512``.
        digest: Of its content, hexadecimal.
        format: What its header has to agree with: ``qcow2`` or ``raw``.
    """

    target: str
    algorithm: str
    digest: str
    format: str


class Carrier(Protocol):
    """Puts a file into a folder of the host, whole and checked, or not at all.

    What ends early leaves a part beside the target, and the next attempt goes on from there.
    """

    def copy(self, source: Path, want: Wanted, report: Report) -> None:
        """Copy a file of the controller.

        Raises:
            StepError: It could not be copied, or arrived damaged.
        """

    def fetch(self, url: str, want: Wanted, report: Report) -> None:
        """Let the host fetch a file.

        Raises:
            StepError: It could not be fetched, or is not what the digest says.
        """

    def clone(self, source: str, want: Wanted, report: Report) -> None:
        """Let the host copy a file of its own.

        Raises:
            StepError: It could not be copied, or is not what the digest says.
        """

    def chains(self, paths: list[str]) -> dict[str, list[str] | None]:
        """The files that each of these files of the host lies over; None where that cannot be told.

        Raises:
            StepError: The host cannot be asked.
        """

    def snapshot(self, path: str, act: str, name: str) -> str | None:
        """Take, restore or delete a snapshot inside of a qcow2 file. What was done; None: it was so already.

        Raises:
            StepError: The file is in use, has no such snapshot, or cannot hold one.
        """


def reaches_files(uri: str) -> bool:
    """True if Ansible's connection and this libvirt URI lead to the same machine's files."""
    driver, _, transport = urlsplit(uri).scheme.partition("+")
    return driver != "test" and transport not in ("tls", "tcp")


def ensure_image(session: Session, step: Step, carrier: Carrier | None) -> str | None:
    """Have the image's volume in the pool.

    Args:
        session: The host.
        step: What to have.
        carrier: Brings the file; without one it travels through libvirt.
    """
    pool = session.pool(step["pool"])
    size = _source_size(step)
    present = session.volume(pool, step["volume"])
    if present is not None:
        if size is None or _physical_size(present) in (size, None):
            return None
        # Only a transfer through libvirt, which has no rename, leaves a part under the final name.
        session.about_to(f"replace the incomplete image {step['volume']}")
        present.delete(0)
    free = pool.info()[3]
    if size is not None and size > free:
        raise StepError(
            "PoolFull", f"the pool {step['pool']!r} has {free} bytes free, the image needs {size}"
        )
    if not step["pool_path"]:
        raise StepError(
            "Unsupported", f"the pool {step['pool']!r} has no folder for an image's file", terminal=True
        )
    session.about_to(f"put the image {step['volume']} into the pool {step['pool']}", slow=True)
    if carrier is None:
        _upload(session, pool, step, size)
    else:
        _carry(session, carrier, step)
    session.refresh(pool)
    if session.volume(pool, step["volume"]) is None:
        raise StepError(
            "PoolMismatch", f"{step['pool_path']} is not where the pool {step['pool']!r} looks for its files"
        )
    return "fetched" if step["url"] else "copied"


def _source_size(step: Step) -> int | None:
    """Bytes of the image's file on the controller; None for one that lies elsewhere."""
    if step["path"] is None:
        return None
    try:
        return Path(step["path"]).stat().st_size
    except OSError as error:
        raise StepError("ImageMissing", f"the image {step['image']!r} cannot be read: {error}") from error


def _physical_size(volume: libvirt.virStorageVol) -> int | None:
    """Bytes of the volume's file; None where the driver has no files."""
    try:
        return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])
    except libvirt.libvirtError:
        return None


def _carry(session: Session, carrier: Carrier, step: Step) -> None:
    want = Wanted(
        f"{step['pool_path'].rstrip('/')}/{step['volume']}",
        "sha256" if step["sha256"] else "sha512",
        step["sha256"] or step["sha512"],
        step["format"],
    )
    report = _reporter(session, step)
    if step["url"]:
        carrier.fetch(step["url"], want, report)
    elif step["from_volume"]:
        carrier.clone(_volume_path(session, step), want, report)
    else:
        carrier.copy(Path(step["path"]), want, report)


def _volume_path(session: Session, step: Step) -> str:
    pool = session.pool(step["from_pool"])
    volume = session.volume(pool, step["from_volume"])
    if volume is None:
        where = f"the pool {step['from_pool']!r}"
        raise StepError("ImageMissing", f"{where} has no volume {step['from_volume']!r}, which is the image")
    path = str(volume.path())
    if not path.startswith("/"):
        raise StepError("Unsupported", f"the volume {path!r} is no file of this host", terminal=True)
    return path


def _reporter(session: Session, step: Step) -> Report:
    """Says now and then how far it is; the first word comes after a while, so a quick transfer has none."""
    last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        session.guard.check()
        if time.monotonic() - last < _SAY_EVERY:
            return
        last = time.monotonic()
        session.say(f"the image {step['volume']}: {_how_far(done, total)}")

    return report


def _how_far(done: int, total: int | None) -> str:
    if not total:
        return f"{done >> 20} MiB"
    return f"{100 * done // total} % of {total >> 20} MiB"


def _upload(session: Session, pool: libvirt.virStoragePool, step: Step, size: int | None) -> None:
    """Send the file through libvirt's own connection.

    The volume is made empty, so that its length tells later whether everything arrived.
    """
    if step["path"] is None or size is None:
        raise StepError(
            "Unsupported",
            "Ansible does not reach this host's files: the image has to be a path on the controller",
            terminal=True,
        )
    _check_digest(Path(step["path"]), step)
    in_memory = session.conn.getType() == "TEST"
    xml = (
        f"<volume><name>{escape(step['volume'])}</name><capacity>{size if in_memory else 0}</capacity>"
        "<target><format type='raw'/></target></volume>"
    )
    with session.building(pool):
        volume = pool.createXML(xml, 0)
    if in_memory:  # libvirt's test driver has volumes, but nothing in them
        return
    try:
        _send(session, volume, step, size)
    except BaseException:  # also when nobody waits any more: no part may stay under this name
        volume.delete(0)
        raise


def _check_digest(path: Path, step: Step) -> None:
    algorithm = "sha256" if step["sha256"] else "sha512"
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, algorithm).hexdigest()
    if digest != step[algorithm]:
        raise StepError("ChecksumMismatch", f"{path} has the {algorithm} {digest}, not {step[algorithm]}")


def _send(session: Session, volume: libvirt.virStorageVol, step: Step, size: int) -> None:
    stream = session.conn.newStream(0)
    report = _reporter(session, step)
    try:
        volume.upload(stream, 0, size, 0)
        with Path(step["path"]).open("rb") as source:

            def more(_stream: libvirt.virStream, count: int, _: None) -> bytes:
                report(source.tell(), size)
                return source.read(min(count, _CHUNK))

            stream.sendAll(more, None)
        stream.finish()
    except BaseException:
        stream.abort()
        raise
