"""What the store offers to clients that know objects by number: one for an object's life, never reused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

IDS_KEPT = 100_000
"""So many numbers of objects that are gone are remembered; what was ever the greatest of a kind always is."""


class IdStore(Protocol):
    """Positive integers, each kind's by itself."""

    def ids(self, kind: str) -> Mapping[str, int]:
        """The numbers of living objects of a kind by name: the same object while unchanged."""

    def allot_ids(
        self, kind: str, wanted: Mapping[str, int], *, first: int = 1, seen: bool = False
    ) -> Mapping[str, int]:
        """Give a number to each of these that has none, durably.

        Args:
            kind: Manifest kind, ``Host``, or ``Member`` for a pool's machine.
            wanted: The number that an object would like to have, by its name; 0 for any. It is heeded if no
                object of the kind ever had it.
            first: The least number that is given where none is wished for.
            seen: A tick knows them already, so the next one that does not ends their life.

        Returns:
            As `ids`, afterwards.
        """

    def end_ids(self, kind: str, names: Collection[str]) -> None:
        """These objects are gone, durably: whoever gets such a name next gets another number."""

    def note_living(self, living: Mapping[str, Collection[str]]) -> None:
        """What a tick knows of, by kind: numbers of what it knew once, and does not know any more, end.

        An object that no tick has known yet is left alone: it may be younger than what the tick has read.
        """
