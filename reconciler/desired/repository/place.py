"""Where changes of the desired state are put, all of a group or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from reconciler.errors import ReconcilerError


class MovedError(Exception):
    """Somebody else changed the desired state meanwhile: nothing was put, and what it says now counts."""


class InTheWayError(Exception):
    """Some files cannot be changed; nothing was.

    Attributes:
        files: Path relative to the source's root, and why.
    """

    def __init__(self, files: dict[str, ReconcilerError]) -> None:
        super().__init__(", ".join(files))
        self.files = files


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one file.

    Attributes:
        file: Path relative to the source's root.
        before: Its text until now; None if it was not there.
        after: Its text from now on; None if it goes.
        message: What, and why.
        author: ``Name <mail>``.
    """

    file: str
    before: str | None
    after: str | None
    message: str
    author: str


class Place(Protocol):
    """A desired state that can be changed."""

    def turn(self) -> AbstractContextManager[None]:
        """Hold this while a group is made, so that others wait instead of making theirs in vain."""

    def newest(self) -> None:
        """Have what others put there, as far as that costs something."""

    def glance(self) -> None:
        """Somebody reads: have what others put there before long. Takes no time."""

    def close(self) -> None:
        """Nobody writes any more, for now."""

    def put(self, revision: str | None, steps: Sequence[Step]) -> list[str]:
        """Make each step, one after the other, on exactly that revision, and say which revision it made.

        Raises:
            MovedError: It is another revision by now; nothing was put.
            InTheWayError: Some files cannot be changed; nothing was put.
            ConflictError: The place does not take it; nothing was put.
            UnavailableError: It cannot be put now; nothing was.
        """


def files_of(steps: Sequence[Step]) -> Iterator[tuple[str, str | None, str | None]]:
    """Each file with its first text and its last."""
    first: dict[str, str | None] = {}
    last: dict[str, str | None] = {}
    for step in steps:
        first.setdefault(step.file, step.before)
        last[step.file] = step.after
    return ((file, first[file], text) for file, text in last.items())
