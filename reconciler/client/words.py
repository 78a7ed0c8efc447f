"""What the API answers with, as far as it is more than an object of YAML. Times are epoch seconds, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.model.request import RequestState

Data = dict[str, Any]
"""An object as it stands in YAML, with its ``status``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the server has it.

    Attributes:
        data: Its manifest, and its status.
        etag: Its version; give it as `match` to change just this one.
        revision: The desired state's revision that a write made; empty for a read.
    """

    data: Data
    etag: str = ""
    revision: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.data["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Page:
    """The newest events.

    Attributes:
        items: Newest first.
        cursor: Give it as `after` to `Client.watch`, and nothing in between is missed.
    """

    items: tuple[Data, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that goes on, or is over.

    Attributes:
        id: For `Client.operation`.
        kind: ``start``, ``wait`` and so on.
        subject: ``Kind/name``, or empty.
        state: How far it is.
        message: The same in words.
        by: Who asked.
        asked: When.
        changed: When its state changed last.
        code: What a command would have exited with; 0 until it is final.
        results: What became of its actions.
    """

    id: str
    kind: str
    subject: str
    state: RequestState
    message: str
    by: str
    asked: float
    changed: float
    code: int = 0
    results: tuple[Data, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Operation:
        """From an answer."""
        return cls(
            str(data["id"]),
            str(data["kind"]),
            str(data.get("subject", "")),
            RequestState(data["state"]),
            str(data.get("message", "")),
            str(data.get("by", "")),
            seconds(data["asked"]),
            seconds(data["changed"]),
            int(data.get("code", 0)),
            tuple(data.get("results", ())),
        )

    def check(self) -> Operation:
        """Itself, if it is done.

        Raises:
            ReconcilerError: It failed or was taken back; with the exit code of the command.
        """
        if self.state is RequestState.DONE or not self.state.final:
            return self
        error = ReconcilerError(self.message or f"{self.kind} {self.state}")
        error.exit_code = self.code or 1  # type: ignore[misc]  # this one error, not its class
        raise error


@dataclass(frozen=True, slots=True)
class Lease:
    """Exclusive use of a machine for a time.

    Attributes:
        id: For `Client.checkin` and `Client.extend`.
        pool: The pool.
        vm: The machine.
        holder: Who has it.
        purpose: Why.
        taken: When it began.
        expires: When it ends by itself.
        latest: Until when it can be extended.
        addresses: The machine's, as far as they are known.
        data: All of the answer.
    """

    id: str
    pool: str
    vm: str
    holder: str
    purpose: str
    taken: float
    expires: float
    latest: float
    addresses: tuple[str, ...]
    data: Data

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Lease:
        """From an answer."""
        return cls(
            str(data["id"]),
            str(data["pool"]),
            str(data["vm"]),
            str(data.get("holder", "")),
            str(data.get("purpose", "")),
            seconds(data["taken"]),
            seconds(data["expires"]),
            seconds(data["latest"]),
            tuple(one if isinstance(one, str) else one["address"] for one in data.get("addresses") or ()),
            dict(data),
        )


def seconds(stamp: object) -> float:
    """Epoch seconds of an RFC 3339 time; a number is that already, and nothing is 0."""
    if isinstance(stamp, (int, float)):
        return float(stamp)
    if not stamp:
        return 0.0
    found = datetime.fromisoformat(str(stamp))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
