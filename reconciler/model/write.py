"""A change of one object of the desired state, as a program asks for it, and what became of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Data = Mapping[str, object]
"""A manifest as plain data, as it stands in YAML."""

ANY = "*"
"""As a version to match: whichever there is."""


class Change(StrEnum):
    """What shall become of an object.

    ``CREATE`` it must not be there; ``PUT`` it shall say just this, there or not; ``MERGE`` these fields of
    it (RFC 7396: null removes a field); ``DELETE`` it goes.
    """

    CREATE = "create"
    PUT = "put"
    MERGE = "merge"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """A wish to change one object.

    Attributes:
        key: ``Kind/name``.
        change: What shall become of it.
        body: The manifest, or the fields that are merged into it; None to delete.
        match: Only if the object has this version (`version_of`); `ANY`: if it is there; None: regardless.
        absent: Only if the object is not there (``If-None-Match: *``).
        author: ``Name <mail>`` of the commit.
        message: The commit's message: what, and why.
    """

    key: str
    change: Change
    body: Data | None
    author: str
    message: str
    match: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write.

    Attributes:
        key: ``Kind/name``.
        revision: The desired state's revision that has it.
        before: The object as it was, or None.
        after: The object as it is now, or None.
        file: Where it stands (stood), relative to the source's root.
    """

    key: str
    revision: str
    before: Data | None
    after: Data | None
    file: str

    @property
    def changed(self) -> bool:
        """Something is different now."""
        return self.before != self.after


def version_of(data: Data) -> str:
    """What changes whenever the object says something else: 16 hexadecimal digits."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
