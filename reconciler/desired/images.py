"""Image files on the controller: their digest, and whether they are what the manifest states.

The format is stated, never probed: a guest that writes a qcow2 header into its raw disk would otherwise
choose what the host opens.  The header of a file stated to be qcow2 is read to refuse one that is not, and
one that names a further file (backing file or external data file), which would have to exist on the hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.manifest import DiskFormat

_MAGIC = b"QFI\xfb"
# Magic, version, backing file's offset and name length, cluster bits, virtual size: QEMU's interop/qcow2.
_HEADER = struct.Struct(">4sIQIIQ")
_INCOMPATIBLE_AT = 72
_EXTERNAL_DATA = 1 << 2
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What a look at an image's file gave.

    Attributes:
        sha256: Of its content, hexadecimal; empty with a `mistake`.
        size: Bytes that a disk over it has at least.
        mistake: Why it cannot be used, in words, or empty.
    """

    sha256: str
    size: int
    mistake: str = ""


class ImageFiles:
    """Looks at image files, and at each only once as long as its size and time stamps stay.

    Args:
        cache: A file that keeps the digests from one process to the next (hashing is the slow part), or
            None.  If it is lost or damaged the files are hashed again.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._digests: dict[str, str] = _load(cache) if cache is not None else {}

    def look(self, path: Path, fmt: DiskFormat) -> ImageFile:
        """Digest and size of the file at `path`, stated to be `fmt`."""
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                return ImageFile("", 0, f"the file {path} is not a regular file")
            size, mistake = _qcow2(path) if fmt is DiskFormat.QCOW2 else (about.st_size, "")
            if mistake:
                return ImageFile("", 0, f"the file {path} {mistake}")
            key = f"{about.st_dev}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}:{about.st_ctime_ns}"
            return ImageFile(self._digest(key, path), size)
        except FileNotFoundError:
            return ImageFile("", 0, f"the file {path} does not exist")
        except OSError as error:
            return ImageFile("", 0, f"the file {path} cannot be read: {error.strerror}")

    def _digest(self, key: str, path: Path) -> str:
        known = self._digests.get(key)
        if known is None:
            with path.open("rb") as file:
                known = hashlib.file_digest(file, "sha256").hexdigest()
            self._digests[key] = known
            while len(self._digests) > _REMEMBERED:
                del self._digests[next(iter(self._digests))]
            if self._cache is not None:
                _save(self._cache, self._digests)
        return known


def _qcow2(path: Path) -> tuple[int, str]:
    """Virtual size of a qcow2 file, or what is wrong with it."""
    with path.open("rb") as file:
        head = file.read(_INCOMPATIBLE_AT + 8)
    if len(head) < _HEADER.size or head[:4] != _MAGIC:
        return 0, "is not qcow2 (its first bytes are not 'QFI\\xfb'): is its format raw?"
    _, version, backing_offset, _, _, size = _HEADER.unpack_from(head)
    if version not in (2, 3):
        return 0, f"is qcow2 of version {version}; 2 and 3 are known"
    if backing_offset:
        return 0, "has a backing file: flatten it with `qemu-img convert -O qcow2`"
    if version == 3 and len(head) >= _INCOMPATIBLE_AT + 8:
        (features,) = struct.unpack_from(">Q", head, _INCOMPATIBLE_AT)
        if features & _EXTERNAL_DATA:
            return 0, "has an external data file: flatten it with `qemu-img convert -O qcow2`"
    return size, ""


def _load(cache: Path) -> dict[str, str]:
    try:
        loaded = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {key: value for key, value in loaded.items() if isinstance(value, str) and len(value) == 64}


def _save(cache: Path, digests: dict[str, str]) -> None:
    """Replace the cache whole; not being able to is no mistake of anyone's images."""
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(digests))
        fresh.replace(cache)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
