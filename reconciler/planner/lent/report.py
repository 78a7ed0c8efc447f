"""What is said of a pool as a whole: how many members are in which state, and its conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reconciler.model.pool import Member, MemberState, VirtualMachinePool
from reconciler.model.status import Condition, ConditionStatus, ConditionType

KIND = "VirtualMachinePool"


def key_of(pool: str) -> str:
    """The key of a pool, as it stands for a machine's name in conditions and events."""
    return f"{KIND}/{pool}"


def counts(members: Iterable[Member]) -> Mapping[MemberState, int]:
    """How many members are in each state; every state is in it."""
    found = dict.fromkeys(MemberState, 0)
    for member in members:
        found[member.state] += 1
    return found


def pool_conditions(
    pool: VirtualMachinePool,
    members: Iterable[Member],
    now: float,
    *,
    may_add: bool = True,
    occupied: Callable[[str], bool] = lambda _: False,
) -> tuple[Condition, ...]:
    """``Ready``: as many machines wait for a holder as shall.

    Args:
        pool: The manifest.
        members: Its members.
        now: Epoch seconds.
        may_add: False while no new machine can be made, because a host was never seen.
        occupied: True for a name that no new machine can have.
    """
    members = tuple(members)
    found, size = counts(members), pool.spec.size
    ready, lent = found[MemberState.AVAILABLE], found[MemberState.LEASED]
    broken = [member for member in members if member.state is MemberState.ERROR]
    status, reason = ConditionStatus.FALSE, "Filling"
    message = f"fewer than {size.warm} machines are ready yet{_on_their_way(found)}"
    if ready >= size.warm:
        status, reason, message = ConditionStatus.TRUE, "Warm", "as many machines are ready as shall be"
    elif lent + ready >= size.max:
        status, reason = ConditionStatus.TRUE, "AllLent"
        message = f"all of its {size.max} machines are lent or ready: size.max allows no more"
    elif broken:
        reason, message = "MembersFailed", f"{broken[0].vm}: {broken[0].message}"
    elif not may_add:
        reason = "HostUnknown"
        message = "a host was never seen, and may have machines of this pool: none is made until it answers"
    elif (taken := _taken(pool, members, occupied)) is not None:
        reason = "SlotsTaken"
        message = f"{taken} cannot be made: a domain or disks of that name are there (`reconciler get disks`)"
    return (Condition(str(ConditionType.READY), status, reason, message, now),)


def _on_their_way(found: Mapping[MemberState, int]) -> str:
    """How many are made or cleaned now, in brackets; empty for none."""
    states = (MemberState.CREATING, MemberState.CLEANING, MemberState.RETIRING)
    told = ", ".join(f"{found[state]} {state}" for state in states if found[state])
    return f" ({told})" if told else ""


def _taken(
    pool: VirtualMachinePool, members: Iterable[Member], occupied: Callable[[str], bool]
) -> str | None:
    """The first machine that could be made but for something of its name."""
    used = {member.slot for member in members}
    names = (f"{pool.name}-{slot}" for slot in range(1, pool.spec.size.max + 1) if slot not in used)
    return next((name for name in names if occupied(name)), None)
