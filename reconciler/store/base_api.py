"""What the store offers to the REST API: status of objects, answers that are remembered, and operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reconciler.model.request import RequestState

REMEMBERED_FOR = 24 * 3600.0
"""Seconds for which an answer is remembered under its ``Idempotency-Key``."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a request that was made with an ``Idempotency-Key``.

    Attributes:
        request: Digest of the request: another one under the same key is refused.
        worker: Who works on it, or has; empty if nobody does any more.
        answer: JSON of the answer; empty while there is none.
    """

    request: str
    worker: str
    answer: str


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """Something that takes a while, and that is no act on a machine (those are `RequestRecord`).

    Attributes:
        id: Greater than that of every earlier one, and never used again.
        kind: ``apply`` or ``wait``.
        subject: What it is about: ``Kind/name``, or empty.
        by: Who asked.
        asked: When it was asked.
        changed: When its state changed last.
        state: How far it is.
        message: What became of it, in one sentence.
        data: JSON of what its kind needs besides.
    """

    id: int
    kind: str
    subject: str
    by: str
    asked: float
    changed: float
    state: RequestState = RequestState.PENDING
    message: str = ""
    data: str = "{}"


class ApiStore(Protocol):
    """Answers that are remembered, and operations."""

    def begin_once(self, key: str, request: str, worker: str, now: float) -> Remembered | None:
        """Begin a request of this key, durably, before anything is done for it.

        Returns:
            None: it is the caller's to do.  Else what is known of it already.
        """

    def take_over_once(self, key: str, before: str, worker: str) -> bool:
        """Go on with a request whose worker is gone. False: somebody else does, or it is finished."""

    def finish_once(self, key: str, worker: str, answer: str) -> bool:
        """Remember the answer (JSON). False: the worker does not work on it (any more)."""

    def leave_once(self, key: str, worker: str, *, undone: bool) -> None:
        """Stop working on a request without an answer; if surely nothing was done for it, it is forgotten."""

    def add_operation(self, kind: str, subject: str, by: str, data: str, now: float) -> int:
        """Begin an operation, durably; its id."""

    def operation(self, number: int) -> OperationRecord | None:
        """The operation of this id, or None if there is none any more."""

    def operations(self, *, limit: int = 100) -> tuple[OperationRecord, ...]:
        """The newest operations, newest first."""

    def open_operations(self) -> tuple[OperationRecord, ...]:
        """Those that are not final, in the order in which they were asked."""

    def step_operation(
        self, number: int, before: RequestState, after: RequestState, message: str, now: float
    ) -> bool:
        """Take an operation from one state to another, durably. False: it is not in the state before."""
