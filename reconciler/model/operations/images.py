"""Images in pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Put an image's file into a pool once, checked against its digest.

    The source is `path` (on the controller), `url`, or the volume `from_volume` of the pool `from_pool`.
    Of `sha256` and `sha512` one is given, hexadecimal; the other is empty.
    """

    image: str
    volume: str
    pool: str
    pool_path: str
    sha256: str
    format: str
    path: str | None = None
    url: str | None = None
    sha512: str = ""
    from_pool: str | None = None
    from_volume: str | None = None
    kind: Literal["ensure-image"] = "ensure-image"


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """Delete a version of an image, or what was left of fetching it, unless any disk lies over it."""

    volume: str
    pool: str
    kind: Literal["delete-image"] = "delete-image"
