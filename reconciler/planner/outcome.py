"""What planning one machine gave."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.plan import Action, Blocked, Change


@dataclass(frozen=True, slots=True)
class Outcome:
    """A machine's part of the plan: a change with its actions, or a reason for none, or nothing at all.

    Attributes:
        change: What happens to it or waits; None when it is as it shall be, or blocked.
        actions: In a possible order.
        blocked: Why it cannot be planned.
        notes: Facts for people.
    """

    change: Change | None = None
    actions: tuple[Action, ...] = ()
    blocked: Blocked | None = None
    notes: tuple[str, ...] = ()


UNCHANGED = Outcome()
