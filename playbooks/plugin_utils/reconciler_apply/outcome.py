# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

CHANGED, OK, FAILED, SKIPPED = "changed", "ok", "failed", "skipped"

Step = dict[str, Any]
"""One action of the host's document: id, vm, uid, after, kind, and what that kind needs."""


@dataclass(frozen=True)
class Result:
    """What became of one step.

    Attributes:
        id: Of the action.
        vm: Its machine; empty for a shared step.
        outcome: changed, ok, failed or skipped.
        message: In words.
        reason: CamelCase word of a failure.
        terminal: Trying the same again is pointless.
        seconds: How long it took.
        diff: XML before and after, for ``--diff``.
    """

    id: str
    vm: str
    outcome: str
    message: str = ""
    reason: str = ""
    terminal: bool = False
    seconds: float = 0.0
    diff: tuple[str, str] | None = field(default=None, compare=False)

    def as_data(self) -> dict[str, Any]:
        """Without the diff, which is for people at a terminal and may be long."""
        data = asdict(self)
        del data["diff"]
        return data


class StepError(Exception):
    """A step cannot be done. `reason` is a CamelCase word, the message says it to people."""

    def __init__(self, reason: str, message: str, *, terminal: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.terminal = terminal


class WouldChange(Exception):  # noqa: N818 - control flow, not an error
    """Check mode came to the point where something would be changed."""


class Interrupted(Exception):  # noqa: N818 - likewise
    """The run ends early: ``Cancelled``, or ``Abandoned`` because nobody waits for it any more."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
