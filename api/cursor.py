"""How far somebody has followed: the store's number and the id of an event."""

from __future__ import annotations

import re
from dataclasses import dataclass

from api.operation import BadQueryError
from reconciler.errors import Problem
from reconciler.store.base_watch import Changes

_FORM = re.compile(r"([0-9a-f]{1,16})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position among the events of one store.

    Attributes:
        store: The store's number: in one that was made anew ids begin anew, and mean something else.
        event: Id of the newest event that was seen.
    """

    store: int
    event: int

    def __str__(self) -> str:
        return f"{self.store:x}.{self.event}"

    @classmethod
    def now(cls, changes: Changes) -> Cursor:
        """Behind everything that happened so far."""
        return cls(changes.store, changes.last_event)

    @classmethod
    def parse(cls, text: str, name: str) -> Cursor:
        """What a client gives back.

        Raises:
            BadQueryError: It is none that we gave.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadQueryError(
                [
                    Problem(
                        "request", 0, 0, name, "it is no id of an event stream: leave it out, and list anew"
                    )
                ]
            )
        return cls(int(found[1], 16), int(found[2]))


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that cannot be told any more.

    Attributes:
        first: Id of the first that may be missing.
        last: Id of the last.
        reason: ``Pruned``, or ``AnotherStore``: ids begin anew, and nothing from before is known.
    """

    first: int
    last: int
    reason: str

    def as_data(self) -> dict[str, object]:
        """For the message of type ``gap``."""
        what = "were pruned" if self.reason == "Pruned" else "are not in this store, which was made anew"
        return {
            "reason": self.reason,
            "from": self.first,
            "to": self.last,
            "message": f"events {self.first} to {self.last} {what}: list anew what you follow",
        }


def gap(cursor: Cursor, changes: Changes) -> Gap | None:
    """What is missing for one who comes back with this cursor, if anything may be."""
    if cursor.store != changes.store or cursor.event > changes.last_event:
        return Gap(1, max(cursor.event, changes.last_event), "AnotherStore")
    if cursor.event < changes.pruned_event:
        return Gap(cursor.event + 1, changes.pruned_event, "Pruned")
    return None
