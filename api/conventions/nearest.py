"""The known path that somebody may have meant with one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 200
"""Characters of a path that is compared: the time that it takes grows with their square."""


def nearest(path: str, known: Iterable[str]) -> str:
    """The most similar of the known paths, or nothing.

    Args:
        path: What was asked for.
        known: Paths with ``{fields}``, which stand for whatever stands in their place in `path`.
    """
    if len(path) > _LONGEST:
        return ""
    parts = path.rstrip("/").split("/")
    filled = {
        "/".join(mine if wanted.startswith("{") else wanted for mine, wanted in zip(parts, way, strict=True))
        for way in (one.split("/") for one in known)
        if len(way) == len(parts)
    }
    found = difflib.get_close_matches(path, sorted(filled - {path}), n=1, cutoff=0.7)
    return found[0] if found else ""
