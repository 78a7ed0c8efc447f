"""Calls for a tick now: asked of the daemon by any process, through the store."""

from __future__ import annotations

import time
from collections.abc import Callable

from reconciler.model.request import RequestState
from reconciler.store.base import Store

APPLY = "apply"
"""The kind of such an operation."""

EXPIRES = 3600.0
"""Seconds that a call waits for a daemon."""

_LOST = "the daemon ended in the middle of it; its next tick does the same"


class Calls:
    """The calls of one daemon. A call is answered by the tick that begins after it was made."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._taken: list[int] = []

    @property
    def waiting(self) -> bool:
        """Somebody waits. Costs next to nothing to ask."""
        return any(
            one.kind == APPLY and one.state is RequestState.PENDING for one in self._store.open_operations()
        )

    def begin(self) -> None:
        """Take the calls that the tick which begins now answers."""
        now = self._clock()
        for one in self._store.open_operations():
            if one.kind != APPLY:
                continue
            if one.state is RequestState.RUNNING:
                if one.id not in self._taken:
                    self._end(one.id, RequestState.FAILED, _LOST)
            elif now - one.asked > EXPIRES:
                message = "no daemon took it for an hour, so it was not done; ask again"
                self._store.step_operation(one.id, RequestState.PENDING, RequestState.FAILED, message, now)
            elif self._store.step_operation(one.id, RequestState.PENDING, RequestState.RUNNING, "", now):
                self._taken.append(one.id)

    def end(self, sentence: str, *, ok: bool) -> None:
        """Tell those who called what the tick came to."""
        for number in self._taken:
            self._end(number, RequestState.DONE if ok else RequestState.FAILED, sentence)
        self._taken.clear()

    def _end(self, number: int, state: RequestState, message: str) -> None:
        self._store.step_operation(number, RequestState.RUNNING, state, message, self._clock())
