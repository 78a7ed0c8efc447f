"""Conditions, events and retry state. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition is about. ``status`` is True or False, or Unknown when the host is."""

    READY = "Ready"
    SYNCED = "Synced"
    PLACED = "Placed"
    RESTART_REQUIRED = "RestartRequired"
    REPLACE_REQUIRED = "ReplaceRequired"
    PROVISIONED = "Provisioned"


class ConditionStatus(StrEnum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of a machine, or of a host, at a time."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: float = 0.0
    observed_generation: int = 0

    def after(self, earlier: Condition | None) -> Condition:
        """This condition, keeping the earlier one's transition time if the status did not change."""
        if earlier is None or earlier.status is not self.status:
            return self
        return replace(self, last_transition_time=earlier.last_transition_time)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, told once.

    ``reason`` is a CamelCase word; ``revision`` the desired state's commit at that time.
    """

    time: float
    reason: str
    message: str
    vm: str = ""
    host: str = ""
    warning: bool = False
    revision: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """When a machine that failed may be tried again.

    Attributes:
        vm: The machine.
        attempts: Failures in a row.
        not_before: Epoch seconds of the next attempt.
        terminal: Not retried until the spec changes.
        spec_hash: The spec that failed; another one clears this.
        message: The last failure.
        action: Id of the action that failed; the machine is held only while its plan has that action.
    """

    vm: str
    attempts: int
    not_before: float
    terminal: bool
    spec_hash: str
    message: str = ""
    action: str = ""

    def blocks(self, spec_hash: str, now: float) -> bool:
        """True while the same spec must not be tried."""
        return self.spec_hash == spec_hash and (self.terminal or now < self.not_before)
