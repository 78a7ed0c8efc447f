"""An act that somebody asks of the daemon, and what became of it. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from reconciler.model.plan import ActionResult


class Act(StrEnum):
    """What can be done once to a machine, without a change of the desired state.

    ``ADOPT`` marks a domain (``HOST/DOMAIN``) that a manifest was written for, ``FORGET`` takes the mark away
    (of a machine, or ``HOST/DOMAIN``), ``DISCARD`` deletes a kept disk or volume (``HOST/POOL/NAME``).
    """

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    DELETE_SNAPSHOT = "delete-snapshot"
    ADOPT = "adopt"
    FORGET = "forget"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Request:
    """An act on one machine, as a person or a program asked for it.

    Attributes:
        act: What to do.
        vm: The machine; for the last three acts what their words in `Act` say.
        snapshot: Name of the snapshot that is taken, restored or deleted; empty for other acts.
        force: Of a stop or restart: pull the plug, and do not ask the guest.
        uid: Of the machine that was agreed on; another one of the same name is left alone. Empty: whichever
            has the name.
        taken: When the snapshot was taken that was agreed on; another one of the same name is left alone.
            0: whichever has the name.
    """

    act: Act
    vm: str
    snapshot: str = ""
    force: bool = False
    uid: str = ""
    taken: float = 0.0

    @property
    def words(self) -> str:
        """The command as a person would type it."""
        parts = ["reconciler", str(self.act), self.vm]
        if self.act is Act.SNAPSHOT:
            parts.append("--name")
        if self.snapshot:
            parts.append(self.snapshot)
        if self.force:
            parts.append("--force")
        return " ".join(parts)


class RequestState(StrEnum):
    """How far a request is. The last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing more becomes of it."""
        return self not in (RequestState.PENDING, RequestState.RUNNING)


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What became of a request.

    Attributes:
        state: `DONE` or `FAILED`.
        message: In one sentence, for people.
        code: What a command that did it itself would have exited with.
        results: Of its actions; none if it was refused.
    """

    state: RequestState
    message: str = ""
    code: int = 0
    results: tuple[ActionResult, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request on record.

    Attributes:
        id: Greater than that of every earlier one, and never used again.
        request: What is asked.
        by: Who asked, as the operating system (or the API) knows them.
        asked: When it was asked.
        changed: When its state changed last.
        state: How far it is.
        message: What became of it, in one sentence.
        code: What a command that did it itself would have exited with; 0 until it is final.
        results: Of its actions.
    """

    id: int
    request: Request
    by: str
    asked: float
    changed: float
    state: RequestState = RequestState.PENDING
    message: str = ""
    code: int = 0
    results: tuple[ActionResult, ...] = ()


REQUEST_JSON: TypeAdapter[Request] = TypeAdapter(Request)
"""Turns a request into JSON and back, and refuses what is none."""

RESULTS_JSON: TypeAdapter[tuple[ActionResult, ...]] = TypeAdapter(tuple[ActionResult, ...])
"""Likewise for the results of actions."""
