"""The files in which distributions publish the digests of their images: ``SHA256SUMS``, ``SHA512SUMS``.

A file is read from the network at most once in `FRESH`, and what it said is kept on disk: the desired state
is the same from one read to the next, and without a network the last known digest goes on to count.  A
digest that changed is a new version of the image, which new machines get and no other notices.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reconciler.desired.images import save_json
from reconciler.model.storage import Image

SHA256_DIGITS = 64
"""Hexadecimal digits that tell a SHA-256 from a SHA-512."""

FRESH = 3600.0
"""Seconds for which a checksum file is believed without asking again."""

_ASK_AGAIN = 300.0
"""Seconds until a server that did not answer is asked again."""
_OPERATION_MAY_TAKE, _WHOLE_MAY_TAKE = 5.0, 15.0
_LARGEST = 4 << 20
_CHUNK = 64 << 10

_GNU = re.compile(r"(?P<digest>[0-9a-fA-F]{64}|[0-9a-fA-F]{128}) [ *](?P<name>.+)")
_BSD = re.compile(r"SHA(?:256|512) \((?P<name>.+)\) ?= ?(?P<digest>[0-9a-fA-F]{64}|[0-9a-fA-F]{128})")


@dataclass(frozen=True, slots=True)
class Told:
    """What a checksum file says of one file.

    Attributes:
        digest: SHA-256 or SHA-512, hexadecimal, told apart by their length; empty if it is not known.
        mistake: Why the manifest cannot be right: the file was read, and lists no such name.
    """

    digest: str = ""
    mistake: str = ""


def fetch_text(url: str) -> str:
    """The text of a small file on the network.

    Raises:
        OSError: It cannot be had within a few seconds, or is no such file.
    """
    end = time.monotonic() + _WHOLE_MAY_TAKE
    content = b""
    # The pattern of the field admits no file: and no data: url.
    with urllib.request.urlopen(url, timeout=_OPERATION_MAY_TAKE) as answer:  # noqa: S310
        while chunk := answer.read1(_CHUNK):
            content += chunk
            if len(content) > _LARGEST:
                raise OSError("it is far too large for a checksum file")
            if time.monotonic() > end:
                raise OSError(f"it takes longer than {_WHOLE_MAY_TAKE:g} s")
    return content.decode("utf-8", "replace")


class ChecksumFiles:
    """Looks into checksum files.

    Args:
        cache: A file that keeps what they said from one process to the next, or None.
        fetch: Gets the text behind a URL, or raises an OSError.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        cache: Path | None = None,
        fetch: Callable[[str], str] = fetch_text,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._clock = clock
        self._known: dict[str, _File] = _load(cache) if cache is not None else {}
        self._not_before: dict[str, float] = {}
        self._troubles: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be had, in words; empty when all could."""
        return tuple(self._troubles[url] for url in sorted(self._troubles))

    def digest_of(self, image: Image) -> Told:
        """The digest of an image with a url and a checksum file."""
        url = image.spec.checksums or ""
        name = file_name(image.spec.url or "")
        self._renew(url)
        known = self._known.get(url)
        if known is None:
            return Told()
        if name in known.sums:
            return Told(known.sums[name])
        return Told(mistake=_not_listed(url, name, known.sums))

    def _renew(self, url: str) -> None:
        now = self._clock()
        known = self._known.get(url)
        if (known is not None and 0 <= now - known.at < FRESH) or now < self._not_before.get(url, 0):
            return
        try:
            sums = parse(self._fetch(url))
            if not sums:
                raise OSError("it lists no SHA-256 and no SHA-512 digest")
        except (OSError, ValueError) as error:
            self._not_before[url] = now + _ASK_AGAIN
            self._troubles[url] = _trouble(url, error, known)
            return
        self._troubles.pop(url, None)
        # A name that is gone from the file keeps its last digest: an old image is no mistake of today.
        merged = {**known.sums, **sums} if known is not None else sums
        self._known[url] = _File(now, merged)
        if self._cache is not None:
            save_json(self._cache, {url: [file.at, file.sums] for url, file in self._known.items()})


@dataclass(frozen=True, slots=True)
class _File:
    at: float
    sums: dict[str, str]


def file_name(url: str) -> str:
    """The last part of a URL's path: what a checksum file calls it."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def parse(text: str) -> dict[str, str]:
    """Digest by file name, of lines as sha256sum prints them, with or without ``--tag``; others are none."""
    sums: dict[str, str] = {}
    for line in text.splitlines():
        match = _GNU.fullmatch(line.rstrip()) or _BSD.fullmatch(line.rstrip())
        if match is not None:
            name = match["name"].removeprefix("./")
            digest = match["digest"].lower()
            # One file may list both kinds: the first one counts, whatever happens to come later.
            sums.setdefault(name, digest)
    return sums


def _not_listed(url: str, name: str, sums: Mapping[str, str]) -> str:
    some = ", ".join(sorted(sums)[:3]) + (", …" if len(sums) > 3 else "")
    return f"{url} lists no file {name!r}, which is how the url ends; it lists {some}"


def _trouble(url: str, error: Exception, known: _File | None) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    kept = (
        "what it said last goes on to count"
        if known is not None
        else "machines that need the image wait until it can be"
    )
    return f"the checksum file {url} cannot be read ({reason}); {kept}"


def _load(cache: Path) -> dict[str, _File]:
    try:
        loaded = json.loads(cache.read_bytes())
        return {
            str(url): _File(float(at), {str(name): str(digest) for name, digest in sums.items()})
            for url, (at, sums) in loaded.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
