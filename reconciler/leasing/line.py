"""Those of this process who wait in line, looked after by one thread of it.

The line itself stands in the store, one for all processes.  This thread asks the store, often and cheaply,
whether it is the turn of one of ours, and says now and then that ours still wait.  If this process dies,
nobody says so any more, and the places are lost after `PATIENCE`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from reconciler.errors import ReconcilerError
from reconciler.model.pool import Lease, Waiter
from reconciler.store.base import Store
from reconciler.store.base_leases import PATIENCE, Checkout, Outcome, Spent

_log = logging.getLogger(__name__)

POLL = 0.02
"""Seconds between looks at the store, which cost next to nothing as long as nothing changed."""

BEAT = PATIENCE / 4
"""Seconds after which it is said again that ours still wait."""


@dataclass(eq=False)
class Ticket:
    """One who waits.

    Attributes:
        wish: With the place in line.
        deadline: Seconds of `time.monotonic`.
        future: The lease, or why there is none.
        refuse: Makes the error of one who waited in vain.
        left: Who wanted it went away.
        settled: Nothing more becomes of it.
    """

    wish: Checkout
    deadline: float
    refuse: Callable[[], ReconcilerError]
    future: Future[Lease] = field(default_factory=Future)
    left: bool = False
    settled: bool = False

    @property
    def wanted(self) -> bool:
        """Somebody still waits for it; whoever cancelled the future does not."""
        return not self.left and not self.future.cancelled()


class Line:
    """Waits for machines on behalf of many.

    Args:
        store: Has the line.
        lend: Tries wishes again; whoever came meanwhile stands behind.
        give_back: Ends a lease that nobody wants any more.
        spent: Makes the error of a wish whose key is spent.
    """

    def __init__(
        self,
        store: Store,
        lend: Callable[[Sequence[Checkout]], Sequence[Outcome]],
        give_back: Callable[[Lease], object],
        spent: Callable[[Spent], ReconcilerError],
    ) -> None:
        self._store = store
        self._lend = lend
        self._give_back = give_back
        self._spent = spent
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._works = False
        self._beaten = 0.0

    def join(self, ticket: Ticket) -> None:
        """Wait for this one, too."""
        with self._lock:
            self._tickets.append(ticket)
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name="line", daemon=True).start()

    def leave(self, ticket: Ticket) -> None:
        """Who wanted the machine went away: the place, or the machine, is the next one's.

        With a key they are expected back: the place is kept until it is silent for too long, the lease until
        it ends.
        """
        with self._lock:
            ticket.left = True
            lease = _result(ticket)
        if lease is not None and not ticket.wish.key:
            self._give_back(lease)

    def _work(self) -> None:
        self._beaten = time.monotonic()
        while tickets := self._open():
            try:
                self._look(tickets)
            except ReconcilerError as error:
                # The store is busy or gone for the moment; who waits may wait on, until their time is over.
                _log.warning("waiting in line: %s", error.message)
                for ticket in tickets:
                    if not ticket.settled and time.monotonic() >= ticket.deadline:
                        self._settle(ticket, error)
            except BaseException as error:
                self._break(error)
                raise
            time.sleep(POLL)

    def _open(self) -> list[Ticket]:
        """Those who still wait. When nobody does, this thread ends; who comes next starts another."""
        with self._lock:
            self._tickets = [one for one in self._tickets if not one.settled]
            self._works = bool(self._tickets)
            return list(self._tickets)

    def _break(self, error: BaseException) -> None:
        """A mistake of ours must keep nobody waiting for ever."""
        with self._lock:
            self._works = False
            broken, self._tickets = self._tickets, []
            for ticket in broken:
                if not ticket.settled and ticket.future.set_running_or_notify_cancel():
                    ticket.future.set_exception(error)

    def _look(self, tickets: list[Ticket]) -> None:
        """Once: who is it the turn of, who went away, whose time is over, and that the others wait on."""
        now = self._store.lease_time()
        served = self._store.served(now)
        in_line = {
            w.id for pool in {one.wish.pool for one in tickets} for w in self._store.waiters(pool, now)
        }
        # Whose place is gone asks again, too: it is lost, or used up by the same wish in another process.
        turn = [one for one in tickets if one.wanted and _has_turn(one.wish.waiter, served, in_line)]
        if turn:
            for ticket, outcome in zip(turn, self._lend([one.wish for one in turn]), strict=True):
                self._take(ticket, outcome)
        for ticket in tickets:
            if ticket.settled:
                continue
            if not ticket.wanted:
                self._drop(ticket, None)
            elif time.monotonic() >= ticket.deadline:
                self._drop(ticket, ticket.refuse())
        if time.monotonic() >= self._beaten + BEAT:
            self._beaten = time.monotonic()
            waiting = [one.wish.waiter for one in tickets if not one.settled]
            self._store.still_wait([one for one in waiting if one is not None], self._store.lease_time())

    def _take(self, ticket: Ticket, outcome: Outcome) -> None:
        if isinstance(outcome, Waiter):
            ticket.wish = replace(ticket.wish, waiter=outcome.id)
        elif isinstance(outcome, Spent):
            self._settle(ticket, self._spent(outcome))
        else:
            self._settle(ticket, outcome)

    def _drop(self, ticket: Ticket, error: ReconcilerError | None) -> None:
        """Give the place up; with a key it is kept for a moment, for one who asks again."""
        if ticket.wish.waiter is not None and not ticket.wish.key:
            self._store.leave_line(ticket.wish.waiter)
        self._settle(ticket, error)

    def _settle(self, ticket: Ticket, result: Lease | ReconcilerError | None) -> None:
        with self._lock:
            ticket.settled = True
            if result is None:
                ticket.future.cancel()
                return
            alive = ticket.future.set_running_or_notify_cancel()  # from here on nobody can cancel it
            if alive and isinstance(result, Lease):
                ticket.future.set_result(result)
            elif alive and isinstance(result, ReconcilerError):
                ticket.future.set_exception(result)
            wanted = alive and not ticket.left
        if not wanted and isinstance(result, Lease) and not ticket.wish.key:
            self._give_back(result)


def _has_turn(place: int | None, served: Set[int], in_line: Set[int]) -> bool:
    return place in served or place not in in_line


def _result(ticket: Ticket) -> Lease | None:
    if ticket.future.done() and not ticket.future.cancelled() and ticket.future.exception() is None:
        return ticket.future.result()
    return None
