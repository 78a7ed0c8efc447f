"""What a pool's manifest says of lending, and what is told when it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.errors import ConflictError, NoneAvailableError, NotFoundError, ReconcilerError, UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.pool import MemberState, VirtualMachinePool
from reconciler.model.units import format_duration
from reconciler.store.base_leases import Checkout

FRESH = 1.0
"""Seconds for which pools are taken as they were read: thousands of leases an hour need no git each."""

LONGEST_TEXT = 256
"""Characters of a holder or a purpose."""

_SOON = 5.0
"""Seconds after which to ask again while machines are being made or cleaned."""

_PATIENT = 60.0
"""Seconds after which to ask again at the latest: somebody may give a machine back any time."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants which machine, as a person or a program asks for it.

    Attributes:
        pool: Of this pool.
        by: Who asks.
        holder: For whom; empty: for who asks.
        purpose: Why, for people.
        ttl: Seconds; None: as long as the pool lends by itself.
        key: As `Checkout.key`, only this caller's.
    """

    pool: str
    by: str
    holder: str = ""
    purpose: str = ""
    ttl: int | None = None
    key: str = ""


class Pools:
    """The pools of the desired state, read not more often than needed.

    Args:
        read: Reads the newest desired state.
        clock: Seconds that never go back.
    """

    def __init__(self, read: Callable[[], DesiredState], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Mapping[str, VirtualMachinePool] | None = None
        self._at = 0.0

    def all(self, *, fresh: bool = False) -> Mapping[str, VirtualMachinePool]:
        """By name. A desired state that is refused stops no lending: the last one that was not goes on.

        Raises:
            ReconcilerError: It is refused or cannot be read, and this process knows none before it.
        """
        with self._lock:
            if fresh or self._known is None or self._clock() >= self._at + FRESH:
                try:
                    self._known = self._read().machine_pools
                except ReconcilerError:
                    if self._known is None:
                        raise
                self._at = self._clock()
            return self._known

    def get(self, name: str) -> VirtualMachinePool:
        """The pool of this name.

        Raises:
            NotFoundError: There is none.
        """
        found = self.all().get(name) or self.all(fresh=True).get(name)
        if found is None:
            raise NotFoundError(f"there is no pool {name!r}", hint="write a VirtualMachinePool of this name")
        return found


def checkout_of(wish: Wish, pool: VirtualMachinePool, *, wait: bool) -> Checkout:
    """The wish as the pool's manifest allows it.

    Raises:
        ConflictError: The pool never has a machine, or never lends for so long.
        UsageError: The wish itself does not fit.
    """
    terms = pool.spec.lease
    ttl = terms.timeout if wish.ttl is None else wish.ttl
    holder = wish.holder or wish.by
    if not pool.spec.size.max:
        raise ConflictError(f"the pool {pool.name} has no machines: its size.max is 0")
    if ttl <= 0:
        raise UsageError("ttl is more than nothing, for example 2h")
    for what, text in (("holder", holder), ("purpose", wish.purpose)):
        if len(text) > LONGEST_TEXT or any(ord(letter) < 32 for letter in text):
            raise UsageError(f"{what} is one line of at most {LONGEST_TEXT} characters")
    if ttl > terms.max:
        raise ConflictError(
            f"the pool {pool.name} lends for {format_duration(terms.max)} at most",
            hint=f"ask for --ttl {format_duration(terms.max)} or less, or raise lease.max in its manifest",
        )
    return Checkout(
        pool=pool.name,
        holder=holder,
        purpose=wish.purpose,
        ttl=ttl,
        longest=terms.max,
        by=wish.by,
        wait=wait,
        key=f"{wish.by}\n{wish.key}" if wish.key else "",
    )


def none_available(
    pool: VirtualMachinePool, count: Mapping[MemberState, int], end: float | None, now: float
) -> NoneAvailableError:
    """What is told to one who gets none: how many are lent and being made, and when to ask again.

    Args:
        pool: The pool.
        count: Its machines by state.
        end: When its first lease is over, if there is one.
        now: Lease time.
    """
    most = pool.spec.size.max
    made = count.get(MemberState.CREATING, 0) + count.get(MemberState.CLEANING, 0)
    broken = count.get(MemberState.ERROR, 0)
    words = [f"{count.get(MemberState.LEASED, 0)} of at most {most} are leased"]
    words += [f"{made} are being made or cleaned"] if made else []
    words += [f"{broken} are in error"] if broken else []
    left = _PATIENT if end is None else max(0.0, end - now)
    if end is not None:
        words.append(f"the next lease ends in {format_duration(round(left))}")
    after = _SOON if made or sum(count.values()) < most else min(left, _PATIENT)
    return NoneAvailableError(
        f"no machine of the pool {pool.name} is available: {', '.join(words)}",
        hint="ask again later, or wait in line (?wait=5m, --wait 5m)",
        retry_after=max(1.0, after),
    )
