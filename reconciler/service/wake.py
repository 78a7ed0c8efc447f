"""Sleeping until the period is over or something happened."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue

# A flood of events during a long tick says no more than its first thousands.
_MOST_WAITING = 10_000


class Waker:
    """One loop waits; any thread, and any signal handler, may wake it.

    Reasons that come while the loop is at work are kept for its next wait.  `SimpleQueue` is the one
    primitive of the standard library that may be used from a signal handler: an Event or a Condition can
    deadlock there.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[str, bool]] = SimpleQueue()

    def wake(self, reason: str, *, urgent: bool = False) -> None:
        """End the wait.

        Args:
            reason: Why, in a few words.
            urgent: At once, without gathering what else happens.
        """
        if urgent or self._waiting.qsize() < _MOST_WAITING:
            self._waiting.put((reason, urgent))

    def wait(self, period: float, settle: float = 0.0) -> tuple[str, ...]:
        """Sleep until woken, or for `period` seconds.

        Args:
            period: Seconds at most.
            settle: Seconds after the first reason during which more are gathered, so that fifty events
                are one tick.  It is not prolonged by them: a stream of events cannot keep the loop asleep.

        Returns:
            The reasons in the order they came, each once; empty when the period is over.
        """
        reasons: dict[str, None] = {}
        deadline = time.monotonic() + period
        while (item := self._next(deadline)) is not None:
            reason, urgent = item
            if not reasons:
                deadline = time.monotonic() + settle
            reasons[reason] = None
            if urgent:
                deadline = 0.0
        return tuple(reasons)

    def _next(self, deadline: float) -> tuple[str, bool] | None:
        """The next item; after the deadline only one that waits already."""
        remaining = deadline - time.monotonic()
        try:
            return self._waiting.get(timeout=remaining) if remaining > 0 else self._waiting.get_nowait()
        except Empty:
            return None
