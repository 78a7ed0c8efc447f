"""What the store offers to pools of machines that are lent.

Exclusive use rests on the store's transactions alone: each step is one that names the state before, so any
number of processes may take, give back and expire at once.  Nothing here needs `Store.hold`.  Times are the
store's own lease time (`lease_time`), which a changed wall clock does not move.

A member is LEASED if and only if there is a lease of its machine.  Only `checkout`, `checkout_vm`, `checkin`
and `expire` lead into that state or out of it.

Those who act for people (API, CLI, daemon) do so through `reconciler.leasing`, which also tells events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.model.pool import Lease, Member, MemberState, Waiter

PATIENCE = 15.0
"""Seconds after which a waiter that was not heard of has lost the place in line."""

DEMAND = 60.0
"""Seconds for which one who asked without waiting is remembered, so that a machine is made for them."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A wish for a machine.

    Attributes:
        pool: Of this pool.
        holder: For whom.
        purpose: Why.
        ttl: Seconds.
        longest: Seconds that the lease may last in all.
        waiter: The place in line that is used up by it, or None for one who has not waited yet.
        by: Who asks.
        wait: If there is none: stand in line.  Otherwise the wish is only remembered for `DEMAND` seconds.
        key: A wish that is repeated with the same key gives the same lease, or the same place in line.
            Empty for a wish that is not repeated.
    """

    pool: str
    holder: str
    purpose: str
    ttl: float
    longest: float
    waiter: int | None = None
    by: str = ""
    wait: bool = True
    key: str = ""


@dataclass(frozen=True, slots=True)
class Spent:
    """The key of a wish was used before, and gives no lease any more.

    Attributes:
        lease: The lease that it gave.
        vm: The machine of that lease.
        other: It was used for another wish; otherwise the lease is over.
    """

    lease: str
    vm: str
    other: bool


Outcome = Lease | Waiter | Spent
"""What a wish comes to: a machine, a place in line, or neither because its key is spent."""


class LeaseStore(Protocol):
    """Members, leases and the line before them."""

    def members(self, pool: str | None = None) -> tuple[Member, ...]:
        """The machines of one pool, or of all, by pool and slot: the same object while unchanged."""

    def add_members(self, members: Collection[Member]) -> tuple[Member, ...]:
        """Put slots into use; those in use already are left alone. Those that were added.

        Raises:
            ValueError: A member is LEASED: add it as AVAILABLE and `checkout_vm` it in the same transaction.
        """

    def step_member(
        self, vm: str, before: Collection[MemberState], after: MemberState, now: float, **changes: object
    ) -> bool:
        """Take a member from a state before to the one after, durably. False: it is in none of them.

        Args:
            vm: The machine.
            before: States that it may be in.
            after: State that it gets.
            now: Epoch seconds: its `since`.
            **changes: ``life`` (raised), ``template``, or ``message`` (empty unless it is given).

        Raises:
            ValueError: A state is LEASED, which only leases lead to and from.
        """

    def delete_members(self, vms: Collection[str]) -> None:
        """Their slots are free: only members that are RETIRING go, others are left alone."""

    def checkout(self, wish: Checkout, now: float) -> Outcome:
        """Lend the member that is available for longest, unless it is needed for those who came before.

        Whoever stands n-th in line gets one as soon as n are available; who comes anew stands behind all.
        So nobody gets a machine for want of which one who came earlier has to wait.

        Returns:
            The lease; or the place in line of `wish.waiter` (or a new one at the end, also where that place
            is lost; with ``waits`` False if the wish does not wait); or that its key is spent.
        """

    def checkout_many(self, wishes: Sequence[Checkout], now: float) -> tuple[Outcome, ...]:
        """Several in one transaction, in order."""

    def checkout_vm(self, vm: str, wish: Checkout, now: float) -> Lease | None:
        """Lend this very member, whoever waits; None if it is not available. `wish.pool` is not looked at."""

    def still_wait(self, waiters: Collection[int], now: float) -> None:
        """They were heard of now. Those that lost their place already have no use of it."""

    def leave_line(self, waiter: int) -> None:
        """They do not wait any more."""

    def waiters(self, pool: str, now: float) -> tuple[Waiter, ...]:
        """Who wants a machine, has none and was heard of lately, first come first.

        Those with ``waits`` False asked without waiting: a machine may be made for them, none is kept back.
        """

    def served(self, now: float) -> frozenset[int]:
        """The waiters who get a machine if they ask now. Cheap while nothing changes."""

    def checkin(self, lease: str, now: float) -> Lease | None:
        """End a lease: its member is CLEANING from now on. None: there is no such lease (any more)."""

    def checkin_many(self, leases: Sequence[str], now: float) -> tuple[Lease | None, ...]:
        """Several in one transaction, in order."""

    def extend(self, lease: str, expires: float, now: float) -> Lease | None:
        """Let a lease end at another time, at most at its `latest`; a warning is told anew.

        None: there is no such lease (any more), or its time is over.
        """

    def leases(self, pool: str | None = None) -> tuple[Lease, ...]:
        """All leases, by expiry: the same object while unchanged."""

    def lease(self, lease: str) -> Lease | None:
        """The lease of this id."""

    def lease_of(self, vm: str) -> Lease | None:
        """The lease of this machine."""

    def first_end(self, pool: str | None = None) -> float | None:
        """When the first lease (of a pool) is over, or None if there is none. Cheap while nothing changes."""

    def tally(self, pool: str) -> Mapping[MemberState, int]:
        """How many machines of a pool are in each state; those in none are left out."""

    def expire(self, now: float) -> tuple[Lease, ...]:
        """End the leases whose time is over, and say which. Their members are CLEANING.

        Costs next to nothing when there is none.  `reconciler.leasing.expire` tells events of them too.
        """

    def warn(self, now: float, grace: Mapping[str, float]) -> tuple[Lease, ...]:
        """Mark leases that end within their pool's grace (seconds by pool) as warned; say which were not."""

    def lease_time(self) -> float:
        """Seconds since the epoch by a clock that neither goes back nor jumps while this machine is up.

        It goes on with CLOCK_BOOTTIME within a boot, and with the wall clock (never back) across boots.
        For people, say ``wall clock now + (a lease's time - lease_time())``.
        """
