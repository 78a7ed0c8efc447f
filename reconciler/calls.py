"""Calls for a tick now: asked of the daemon by any process, through the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from reconciler.model.request import RequestState
from reconciler.store.base import Store

APPLY = "apply"
"""The kind of such an operation."""

EXPIRES = 3600.0
"""Seconds that a call waits for a daemon."""

_LOST = "the daemon ended in the middle of it; its next tick does the same"
_LOST_LEAVE = "the daemon ended in the middle of it; the limits on deletions hold again: ask again"


def leave_to_delete(revision: str) -> str:
    """What a call says that allows more deletions than the limits do.

    Args:
        revision: Of the desired state that this holds for: nobody has looked at what another one deletes.
    """
    return json.dumps({"allowDeletions": revision})


def _leave_of(data: str) -> str:
    """The revision of `leave_to_delete`; empty where nothing is allowed."""
    found = json.loads(data).get("allowDeletions", "")
    return found if isinstance(found, str) else ""


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

    def begin(self) -> frozenset[str]:
        """Take the calls that the tick which begins now answers.

        Returns:
            Revisions of the desired state of which somebody allows to delete more than the limits do.
        """
        now = self._clock()
        allowed: set[str] = set()
        for one in self._store.open_operations():
            if one.kind != APPLY:
                continue
            if one.state is RequestState.RUNNING:
                if one.id not in self._taken:
                    lost = _LOST_LEAVE if _leave_of(one.data) else _LOST
                    self._end(one.id, RequestState.FAILED, lost)
            elif now - one.asked > EXPIRES:
                message = "no daemon took it for an hour, so it was not done; ask again"
                self._store.step_operation(one.id, RequestState.PENDING, RequestState.FAILED, message, now)
            elif self._store.step_operation(one.id, RequestState.PENDING, RequestState.RUNNING, "", now):
                self._taken.append(one.id)
                allowed.add(_leave_of(one.data))
        return frozenset(allowed - {""})

    def end(self, sentence: str, *, ok: bool) -> None:
        """Tell those who called what the tick came to."""
        for number in self._taken:
            self._end(number, RequestState.DONE if ok else RequestState.FAILED, sentence)
        self._taken.clear()

    def _end(self, number: int, state: RequestState, message: str) -> None:
        self._store.step_operation(number, RequestState.RUNNING, state, message, self._clock())
