"""Taking machines of pools for people and programs, giving them back, and keeping them longer.

The one door of the command line, the API and the older APIs: it knows what the pool's manifest allows, lets
people wait in line, and tells events.  Any number of processes may do so at once; see `store.base_leases`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reconciler.errors import (
    ConflictError,
    DesiredStateError,
    NoneAvailableError,
    NotFoundError,
    Problem,
    ReconcilerError,
    UsageError,
)
from reconciler.leasing.gather import Gather
from reconciler.leasing.line import Line, Ticket
from reconciler.leasing.terms import Pools, Wish, checkout_of, none_available
from reconciler.model.desired import DesiredState
from reconciler.model.pool import Lease, VirtualMachinePool, Waiter
from reconciler.model.status import Event
from reconciler.model.units import format_duration
from reconciler.store.base import Store
from reconciler.store.base_leases import Checkout, Outcome, Spent

__all__ = ["Leasing", "Line", "Ticket", "Wish", "expire"]


@dataclass(frozen=True, slots=True)
class _Return:
    """A wish to give a machine back."""

    lease: str
    by: str


@dataclass(frozen=True, slots=True)
class _Longer:
    """A wish to keep a machine until another time."""

    lease: str
    expires: float
    by: str


class ReusedKeyError(DesiredStateError):
    """A key belongs to another wish."""

    subject = "the request"


EXPIRY = 0.5
"""Seconds between looks for leases that are over, where wishes come in a row."""

NOBODY = "nobody"
"""Who gives back what nobody waits for any more."""

_Step = Checkout | _Return | _Longer
_Done = Outcome | None


class Leasing:
    """Lends machines. One for a process is best: what many threads want at once is committed together.

    Never call it within a transaction of the store: it could wait for one who waits for that transaction.

    Args:
        store: Has members and leases.
        read: Reads the newest desired state, which has the pools.
        clock: Epoch seconds, for events.
    """

    def __init__(
        self, store: Store, read: Callable[[], DesiredState], clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._clock = clock
        self._do: Gather[_Step, _Done] = Gather(self._together, store.transaction)
        self._line = Line(store, self._lend_many, self._give_back, _spent)
        self._expired = float("-inf")
        self.pools = Pools(read)

    def checkout(self, wish: Wish) -> Lease:
        """Take a machine now. It is the caller's, durably, when this returns.

        Raises:
            NotFoundError: There is no such pool.
            ConflictError: The pool never lends this, or the key was used for something else.
            UsageError: The wish does not fit.
            NoneAvailableError: There is none now.
        """
        pool = self.pools.get(wish.pool)
        outcome = self._ask(checkout_of(wish, pool, wait=False))
        if isinstance(outcome, Lease):
            return outcome
        raise self._none(pool)

    def wait(self, wish: Wish, seconds: float) -> Ticket:
        """Take a machine as soon as there is one; first come, first served, in all processes.

        Returns:
            A ticket: its `future` is the lease, or `NoneAvailableError` when the time is over. Who does not
            want it any more says so to `leave`.

        Raises:
            ReconcilerError: As `checkout`, at once.
        """
        pool = self.pools.get(wish.pool)
        asked = checkout_of(wish, pool, wait=True)
        deadline = time.monotonic() + seconds
        outcome = self._ask(asked)
        ticket = Ticket(asked, deadline, lambda: self._none(pool))
        if isinstance(outcome, Lease):
            ticket.future.set_result(outcome)
        else:
            ticket.wish = replace(asked, waiter=outcome.id)
            self._line.join(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Nobody waits for this any more. What it got meanwhile goes back, unless its wish has a key."""
        self._line.leave(ticket)

    def checkin(self, lease: str, by: str) -> Lease:
        """Give a machine back: its next holder gets it once it is clean. The lease that ended.

        Raises:
            NotFoundError: There is no such lease (any more).
        """
        ended = self._do(_Return(lease, by))
        if not isinstance(ended, Lease):
            raise _unknown(lease)
        return ended

    def extend(self, lease: str, ttl: int, by: str) -> Lease:
        """Keep a machine for so many seconds from now on. The lease as it is then.

        Raises:
            NotFoundError: There is no such lease (any more), or its time is over.
            ConflictError: The pool does not lend for so long.
            UsageError: No time at all: that is what `checkin` is for.
        """
        if ttl <= 0:
            raise UsageError("ttl is more than nothing, for example 2h", hint="to give it back: checkin")
        now = self._store.lease_time()
        known = self._store.lease(lease)
        if known is None:
            raise _unknown(lease)
        if ttl > known.latest - now:
            left = max(0, int(known.latest - now))
            raise ConflictError(
                f"{known.vm} cannot be kept for {format_duration(ttl)}: the pool {known.pool} lends it for "
                f"{format_duration(round(known.latest - known.taken))} in all",
                hint=f"{format_duration(left)} are left: ask for that or less, or take another machine",
            )
        longer = self._do(_Longer(lease, now + ttl, by))
        if not isinstance(longer, Lease):
            raise _unknown(lease)
        return longer

    def lease(self, lease: str) -> Lease:
        """The lease of this id.

        Raises:
            NotFoundError: There is none (any more).
        """
        found = self._living(self._store.lease(lease))
        if found is None:
            raise _unknown(lease)
        return found

    def lease_of(self, vm: str) -> Lease:
        """The lease of this machine.

        Raises:
            NotFoundError: It is not leased.
        """
        found = self._living(self._store.lease_of(vm))
        if found is None:
            raise NotFoundError(f"{vm} is not leased", hint="see: reconciler leases")
        return found

    def leases(self, pool: str | None = None) -> tuple[Lease, ...]:
        """All leases, by expiry."""
        expire(self._store, self._clock)
        return self._store.leases(pool)

    def _living(self, lease: Lease | None) -> Lease | None:
        """The lease, unless its time is over: then it ends now."""
        if lease is not None and lease.expires <= self._store.lease_time():
            expire(self._store, self._clock)
            return None
        return lease

    def _ask(self, wish: Checkout) -> Lease | Waiter:
        if time.monotonic() >= self._expired + EXPIRY:
            self._expired = time.monotonic()
            expire(self._store, self._clock)
        outcome = self._do(wish)
        assert outcome is not None  # noqa: S101 (only other steps have no outcome)
        if isinstance(outcome, Spent):
            raise _spent(outcome)
        return outcome

    def _lend_many(self, wishes: Sequence[Checkout]) -> Sequence[Outcome]:
        return [outcome for outcome in self._together(wishes) if outcome is not None]

    def _give_back(self, lease: Lease) -> None:
        self._do(_Return(lease.id, NOBODY))

    def _none(self, pool: VirtualMachinePool) -> NoneAvailableError:
        store, name = self._store, pool.name
        return none_available(pool, store.tally(name), store.first_end(name), store.lease_time())

    def _together(self, steps: Sequence[_Step]) -> Sequence[_Done]:
        """One transaction: what comes back, what is kept, and then who gets what; and the events of it."""
        store = self._store
        done: dict[int, _Done] = {}
        events: list[Event] = []
        returns = [(index, one) for index, one in enumerate(steps) if isinstance(one, _Return)]
        wishes = [(index, one) for index, one in enumerate(steps) if isinstance(one, Checkout)]
        with store.transaction():
            # Only now: it may have taken long until it was our turn to write.
            now, at = store.lease_time(), self._clock()
            if returns:
                ended = store.checkin_many([one.lease for _, one in returns], now)
                for (index, one), lease in zip(returns, ended, strict=True):
                    done[index] = lease
                    events += [_returned(lease, one.by, at)] if lease else []
            for index, step in enumerate(steps):
                if isinstance(step, _Longer):
                    done[index] = kept = store.extend(step.lease, step.expires, now)
                    events += [_kept(kept, step.by, at, now)] if kept else []
            if wishes:
                outcomes = store.checkout_many([one for _, one in wishes], now)
                for (index, _), outcome in zip(wishes, outcomes, strict=True):
                    done[index] = outcome
                # A wish that was repeated gives a lease that was told of before.
                new = {one.id: one for one in outcomes if isinstance(one, Lease) and one.taken == now}
                events += [_taken(lease, at) for lease in new.values()]
            store.add_events(events)
        return [done[index] for index in range(len(steps))]


def expire(store: Store, clock: Callable[[], float] = time.time) -> tuple[Lease, ...]:
    """End the leases whose time is over and tell events of them; whoever comes by does it. Those that ended.

    Costs next to nothing when there is none.
    """
    now = store.lease_time()
    end = store.first_end()
    if end is None or end > now:
        return store.expire(now)
    with store.transaction():
        over = store.expire(now)
        store.add_events([_over(lease, clock()) for lease in over])
    return over


def _taken(lease: Lease, at: float) -> Event:
    for_whom = f" for {lease.holder}," if lease.by != lease.holder else ""
    ttl = format_duration(round(lease.expires - lease.taken))
    why = f": {lease.purpose}" if lease.purpose else ""
    return Event(at, "CheckedOut", f"{lease.by} took {lease.vm}{for_whom} for {ttl}{why}", lease.vm)


def _returned(lease: Lease, by: str, at: float) -> Event:
    of_whom = f", which was {lease.holder}'s" if by != lease.holder else ""
    return Event(at, "CheckedIn", f"{by} gave {lease.vm} back{of_whom}", lease.vm)


def _kept(lease: Lease, by: str, at: float, now: float) -> Event:
    ttl = format_duration(round(lease.expires - now))
    for_whom = f" for {lease.holder}" if by != lease.holder else ""
    return Event(at, "LeaseExtended", f"{by} keeps {lease.vm}{for_whom} for {ttl} from now", lease.vm)


def _over(lease: Lease, at: float) -> Event:
    return Event(
        at, "LeaseExpired", f"{lease.vm} is taken back from {lease.holder}: the time is over", lease.vm
    )


def _unknown(lease: str) -> NotFoundError:
    return NotFoundError(f"there is no lease {lease!r} (any more)", hint="see: reconciler leases")


def _spent(spent: Spent) -> ReconcilerError:
    if spent.other:
        return ReusedKeyError(
            [Problem("headers", 0, 0, "Idempotency-Key", "it was used for another wish")],
            hint="take a new key for each new wish",
        )
    return ConflictError(
        f"the lease that was given for this key ({spent.vm}) is over",
        hint="take a new Idempotency-Key to get another machine",
    )
