"""Image files on the controller: their digest, and whether they are what the manifest states."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.image_header import HEADER_BYTES, mistake_in, virtual_size
from reconciler.model.storage import DiskFormat

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What a look at an image's file gave.

    Attributes:
        sha256: Of its content, hexadecimal; empty with a `mistake`.
        size: Bytes that a disk over it has at least.
        mistake: Why it cannot be used, in words, or empty.
        sha512: Likewise of its content; only if it was asked for.
    """

    sha256: str
    size: int
    mistake: str = ""
    sha512: str = ""


class ImageFiles:
    """Looks at image files, and at each only once as long as its size and time stamps stay.

    Args:
        cache: A file that keeps the digests from one process to the next (hashing is the slow part), or
            None.  If it is lost or damaged the files are hashed again.
        folders: Where the files have to lie; None: anywhere.
    """

    def __init__(self, cache: Path | None = None, folders: Sequence[Path] | None = None) -> None:
        self._cache = cache
        self._folders = folders
        self._digests: dict[str, str] = _load(cache) if cache is not None else {}

    def look(self, path: Path, fmt: DiskFormat, *, sha512: bool = False) -> ImageFile:
        """Digest and size of the file at `path`, stated to be `fmt`; `sha512` asks for that digest too."""
        if not self._allowed(path):
            # The same words whether it is there or not.
            return ImageFile("", 0, f"the file {path} is in none of source.imageFolders of reconciler.yaml")
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                return ImageFile("", 0, f"the file {path} is not a regular file")
            with path.open("rb") as file:
                head = file.read(HEADER_BYTES)
            mistake = mistake_in(head, fmt)
            if mistake:
                return ImageFile("", 0, f"the file {path} {mistake}")
            size = virtual_size(head) if fmt is DiskFormat.QCOW2 else about.st_size
            key = f"{about.st_dev}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}:{about.st_ctime_ns}"
            long = self._digest(f"{key}:sha512", path, "sha512") if sha512 else ""
            return ImageFile(self._digest(key, path, "sha256"), size, sha512=long)
        except FileNotFoundError:
            return ImageFile("", 0, f"the file {path} does not exist")
        except OSError as error:
            return ImageFile("", 0, f"the file {path} cannot be read: {error.strerror}")

    def _allowed(self, path: Path) -> bool:
        if self._folders is None:
            return True
        try:
            found = path.resolve()
            return any(found.is_relative_to(folder.resolve()) for folder in self._folders)
        except (OSError, RuntimeError, ValueError):  # links in a circle; a name that no file can have
            return False

    def _digest(self, key: str, path: Path, algorithm: str) -> str:
        known = self._digests.get(key)
        if known is None:
            with path.open("rb") as file:
                known = hashlib.file_digest(file, algorithm).hexdigest()
            self._digests[key] = known
            while len(self._digests) > _REMEMBERED:
                del self._digests[next(iter(self._digests))]
            if self._cache is not None:
                save_json(self._cache, self._digests)
        return known


def _load(cache: Path) -> dict[str, str]:
    try:
        loaded = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {key: value for key, value in loaded.items() if isinstance(value, str) and len(value) in (64, 128)}


def save_json(cache: Path, content: object) -> None:
    """Replace a cache whole; not being able to is no mistake of anyone's images."""
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(content))
        fresh.replace(cache)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
