"""What the store offers to pools of machines that are lent.

Exclusive use rests on the store's transactions alone: each step is one that names the state before, so any
number of processes may take, give back and expire at once.  Nothing here needs `Store.hold`.  Times are the
store's own lease time (`lease_time`), which a changed wall clock does not move.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.model.pool import Lease, Member, MemberState, Waiter


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
    """

    pool: str
    holder: str
    purpose: str
    ttl: float
    longest: float
    waiter: int | None = None


class LeaseStore(Protocol):
    """Members, leases and the line before them."""

    def members(self, pool: str | None = None) -> tuple[Member, ...]:
        """The machines of one pool, or of all, by pool and slot: the same object while unchanged."""

    def add_members(self, members: Collection[Member]) -> tuple[Member, ...]:
        """Put slots into use; those in use already are left alone. Those that were added."""

    def step_member(
        self, vm: str, before: Collection[MemberState], after: MemberState, now: float, **changes: object
    ) -> bool:
        """Take a member from a state before to the one after, durably. False: it is in none of them.

        Args:
            vm: The machine.
            before: States that it may be in.
            after: State that it gets.
            now: Epoch seconds: its `since`.
            **changes: ``life`` (raised) or ``message``.
        """

    def delete_members(self, vms: Collection[str]) -> None:
        """Their slots are free: only members that are RETIRING go, others are left alone."""

    def checkout(self, wish: Checkout, now: float) -> Lease | Waiter | None:
        """Lend the longest available member, if nobody who came before still waits for one.

        Returns:
            The lease; or the place in line of `wish.waiter` (or a new one); None if the pool has no member
            that could ever become free.
        """

    def checkout_many(self, wishes: Sequence[Checkout], now: float) -> tuple[Lease | Waiter | None, ...]:
        """Several in one transaction, in order."""

    def checkout_vm(self, vm: str, wish: Checkout, now: float) -> Lease | None:
        """Lend this very member; None if it is not available."""

    def leave_line(self, waiter: int) -> None:
        """They do not wait any more."""

    def waiters(self, pool: str) -> tuple[Waiter, ...]:
        """Who waits, first come first."""

    def checkin(self, lease: str, now: float) -> Lease | None:
        """End a lease: its member is CLEANING from now on. None: there is no such lease (any more)."""

    def extend(self, lease: str, expires: float, now: float) -> Lease | None:
        """Let a lease end at another time, at most at its `latest`. None: there is no such lease."""

    def leases(self, pool: str | None = None) -> tuple[Lease, ...]:
        """All leases, by expiry."""

    def lease(self, lease: str) -> Lease | None:
        """The lease of this id."""

    def lease_of(self, vm: str) -> Lease | None:
        """The lease of this machine."""

    def expire(self, now: float) -> tuple[Lease, ...]:
        """End the leases whose time is over, and say which. Their members are CLEANING."""

    def warn(self, now: float, grace: Mapping[str, float]) -> tuple[Lease, ...]:
        """Mark leases that end within their pool's grace (seconds by pool) as warned; say which were not."""

    def lease_time(self) -> float:
        """Seconds since the epoch by a clock that neither goes back nor jumps while this machine is up.

        It goes on with CLOCK_BOOTTIME within a boot, and with the wall clock (never back) across boots.
        """
