# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images, put into a pool once, whatever the number of machines.

An image's file name carries its digest, and the file appears under that name only when it is whole: so
whoever finds it may use it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import libvirt

from .outcome import Step, StepError
from .session import Session

_CHUNK = 4 << 20


class Carrier(Protocol):
    """Puts a file into a folder of the host, whole and checked, or not at all."""

    def copy(self, source: Path, target: str, sha256: str) -> None:
        """Copy a file of the controller.

        Raises:
            StepError: It could not be copied, or arrived damaged.
        """

    def fetch(self, url: str, target: str, sha256: str) -> None:
        """Let the host fetch a file.

        Raises:
            StepError: It could not be fetched, or is not what the digest says.
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
    session.about_to(f"put the image {step['volume']} into the pool {step['pool']}", slow=True)
    if carrier is None:
        _upload(session, pool, step, size)
    else:
        _carry(carrier, step)
    session.refresh(pool)
    if session.volume(pool, step["volume"]) is None:
        raise StepError(
            "PoolMismatch", f"{step['pool_path']} is not where the pool {step['pool']!r} looks for its files"
        )
    return "fetched" if step["url"] else "copied"


def _source_size(step: Step) -> int | None:
    """Bytes of the image's file; None for a URL."""
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


def _carry(carrier: Carrier, step: Step) -> None:
    target = f"{step['pool_path'].rstrip('/')}/{step['volume']}"
    if step["url"]:
        carrier.fetch(step["url"], target, step["sha256"])
    else:
        carrier.copy(Path(step["path"]), target, step["sha256"])


def _upload(session: Session, pool: libvirt.virStoragePool, step: Step, size: int | None) -> None:
    """Send the file through libvirt's own connection.

    The volume is made empty, so that its length tells later whether everything arrived.
    """
    if step["path"] is None or size is None:
        raise StepError(
            "Unsupported", "Ansible does not reach this host's files, so it cannot fetch a url", terminal=True
        )
    _check_digest(Path(step["path"]), step)
    in_memory = session.conn.getType() == "TEST"
    volume = pool.createXML(
        f"<volume><name>{escape(step['volume'])}</name><capacity>{size if in_memory else 0}</capacity>"
        "<target><format type='raw'/></target></volume>",
        0,
    )
    if in_memory:  # libvirt's test driver has volumes, but nothing in them
        return
    try:
        _send(session, volume, Path(step["path"]), size)
    except (libvirt.libvirtError, OSError):
        volume.delete(0)
        raise


def _check_digest(path: Path, step: Step) -> None:
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    if digest != step["sha256"]:
        raise StepError("ChecksumMismatch", f"{path} has the sha256 {digest}, not {step['sha256']}")


def _send(session: Session, volume: libvirt.virStorageVol, path: Path, size: int) -> None:
    stream = session.conn.newStream(0)
    try:
        volume.upload(stream, 0, size, 0)
        with path.open("rb") as source:
            stream.sendAll(lambda _stream, count, _: source.read(min(count, _CHUNK)), None)
        stream.finish()
    except libvirt.libvirtError:
        stream.abort()
        raise
