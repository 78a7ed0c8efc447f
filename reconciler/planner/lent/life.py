"""The steps of a pool's members: made, ready, lent, cleaned, retired.

Every step names the state before.  One that does not hold any more is not taken: a machine that was lent
in the meantime is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.model.pool import Member, MemberState, OnCheckin, VirtualMachinePool
from reconciler.model.status import ConditionStatus
from reconciler.planner.lent.seen import Seen, Trace
from reconciler.planner.lent.slots import made_from

CREATION = 900.0
"""Seconds that a machine may take to become ready, besides what its manifest grants its guest."""

STUCK = 60.0
"""Seconds that a machine may be refused a place, or an action, before that counts as an error."""

UNREADY = 10.0
"""Seconds that an available machine may be without being ready: it is lent to nobody after that."""

FAILED = 300.0
"""Seconds for which one in error may become well by itself before it is made anew."""

CLEANUP = 600.0
"""Seconds that cleaning may take before the machine is made anew instead."""

LEFT = 60.0
"""Seconds after which disks without a domain are what somebody kept, and not what is about to go."""

IDLE, OLDER, UNWANTED = "nobody took it for long", "of an older template", "the pool is smaller now"
DELETED = "somebody deleted it"
FOR_GOOD = (IDLE, OLDER, UNWANTED, DELETED)
"""Why members go whose slots become free; those of others are used again at once."""

_HOPELESS = frozenset({"Failed", "ReadinessTimeout"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a pool needs now.

    Attributes:
        pool: The manifest, or None: it is gone, and nobody knows what its machines shall be.
        template: What its machines are made from now, but for their addresses.
        waiting: How many wait for a machine.
        may_add: New machines can be made: nothing of the pool may be out of sight.
        occupied: True for a name that no new machine can have.
        declared: Names of the machines that people declare themselves.
    """

    pool: VirtualMachinePool | None
    template: str = ""
    waiting: int = 0
    may_add: bool = True
    occupied: Callable[[str], bool] = field(default=lambda _: False)
    declared: Container[str] = ()

    @property
    def ready(self) -> int:
        """How many shall be ready to be lent."""
        return self.pool.spec.size.warm + self.waiting if self.pool else 0

    def stale(self, member: Member) -> bool:
        """True if it was made from something else than the pool says now."""
        return self.pool is None or member.template != made_from(self.template, self.pool, member.slot)


@dataclass(frozen=True, slots=True)
class Step:
    """One member's way from one state to another.

    Attributes:
        vm: The machine.
        before: The state that it is in.
        after: The state that it gets.
        message: Why, in words; on record with it.
        life: The new life, or None: the same.
        template: What the new life is made from, or None: the same.
    """

    vm: str
    before: MemberState
    after: MemberState
    message: str = ""
    life: int | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """What shall become of a pool's members.

    Attributes:
        steps: State to state.
        add: New members.
        free: Retiring members of which nothing is left, and whose slots are free.
        revert: Machines that get clean disks now.
        clear: Machines without a domain whose disks go, before the steps.
    """

    steps: tuple[Step, ...] = ()
    add: tuple[Member, ...] = ()
    free: tuple[str, ...] = ()
    revert: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()


def steps(wish: Wish, members: Collection[Member], seen: Mapping[str, Seen], now: float) -> Steps:
    """What shall become of the members of one pool, from what is on record and what was seen after it.

    Args:
        wish: What the pool needs.
        members: All of the pool's that are on record.
        seen: What was seen of each, by machine; one that was not looked at stays as it is.
        now: Lease time.
    """
    turn = _Turn(wish, now)
    for member in members:
        if member.state is not MemberState.LEASED and member.vm in seen:
            turn.member(member, seen[member.vm])
    turn.renew(members, seen)
    turn.reclaim(members)
    turn.fill(members)
    return Steps(
        tuple(turn.steps.values()), tuple(turn.add), tuple(turn.free), tuple(turn.revert), tuple(turn.clear)
    )


class _Turn:
    """Gathers the steps of one pool."""

    def __init__(self, wish: Wish, now: float) -> None:
        self.wish = wish
        self.now = now
        self.steps: dict[str, Step] = {}
        self.add: list[Member] = []
        self.free: list[str] = []
        self.revert: list[str] = []
        self.clear: list[str] = []

    def member(self, member: Member, seen: Seen) -> None:
        """One member by itself."""
        pool = self.wish.pool
        if member.state is MemberState.RETIRING:
            self._retiring(member, seen)
        elif pool is None or member.slot > pool.spec.size.max:
            self._unwanted(member, seen)
        elif member.state is MemberState.CREATING:
            self._creating(member, seen, pool)
        elif member.state is MemberState.ERROR:
            self._in_error(member, seen)
        elif member.state is MemberState.AVAILABLE:
            self._available(member, seen)
        elif member.state is MemberState.CLEANING:
            self._cleaning(member, seen, pool.spec.on_checkin)

    def _to(self, member: Member, after: MemberState, message: str = "") -> None:
        self.steps[member.vm] = Step(member.vm, member.state, after, message)

    def _for(self, member: Member) -> float:
        return self.now - member.since

    def _retiring(self, member: Member, seen: Seen) -> None:
        pool = self.wish.pool
        disks = seen.trace is Trace.DISKS
        if disks and member.template and member.vm not in self.wish.declared:
            self.clear.append(member.vm)
        if member.vm in self.wish.declared or (disks and self._for(member) > self._disks_go_within(member)):
            self.free.append(member.vm)
        if seen.trace is not Trace.NOTHING:
            return
        again = pool is not None and member.slot <= pool.spec.size.max
        if not again or pool is None or member.message in FOR_GOOD:
            self.free.append(member.vm)
            return
        fresh = made_from(self.wish.template, pool, member.slot)
        step = Step(member.vm, member.state, MemberState.CREATING, life=member.life + 1, template=fresh)
        self.steps[member.vm] = step

    def _disks_go_within(self, member: Member) -> float:
        """Seconds after which the slot is given up for the sake of disks that do not go."""
        return CLEANUP if member.template else LEFT

    def _unwanted(self, member: Member, seen: Seen) -> None:
        """Its domain goes as every machine does that nobody desires; then this is its way off the record."""
        kept = seen.trace is Trace.DISKS and self._for(member) > LEFT
        if seen.trace is Trace.NOTHING or kept or member.vm in self.wish.declared:
            self._to(member, MemberState.RETIRING, UNWANTED)

    def _creating(self, member: Member, seen: Seen, pool: VirtualMachinePool) -> None:
        if self.wish.stale(member):
            self._to(member, MemberState.RETIRING)
        elif seen.usable:
            self._to(member, MemberState.AVAILABLE)
        elif seen.reason in _HOPELESS or self._for(member) > _patience(pool, seen):
            self._to(member, MemberState.ERROR, f"{seen.reason}: {seen.message}")

    def _in_error(self, member: Member, seen: Seen) -> None:
        if self.wish.stale(member):
            self._retire(member, seen)
        elif seen.usable:
            self._to(member, MemberState.AVAILABLE)
        elif seen.trace is not Trace.HIDDEN and self._for(member) > FAILED and _can_be_better(seen):
            self._retire(member, seen)

    def _retire(self, member: Member, seen: Seen) -> None:
        if seen.trace is Trace.DISKS:
            self.clear.append(member.vm)
        self._to(member, MemberState.RETIRING, member.message)

    def _available(self, member: Member, seen: Seen) -> None:
        unknown = seen.ready is ConditionStatus.UNKNOWN
        if unknown or seen.unready_for > UNREADY:
            self._to(member, MemberState.ERROR, f"{seen.reason}: {seen.message}")

    def _cleaning(self, member: Member, seen: Seen, way: OnCheckin) -> None:
        if self.wish.stale(member) or way is OnCheckin.RECREATE:
            self._to(member, MemberState.RETIRING)
        elif way is OnCheckin.KEEP and seen.usable:
            self._to(member, MemberState.AVAILABLE)
        elif seen.trace is Trace.HIDDEN:
            return  # it came back, and cannot be reached: nobody gets it until it can be
        elif self._for(member) > CLEANUP:
            self._to(member, MemberState.RETIRING, f"it could not be cleaned: {seen.message}")
        elif way is OnCheckin.REVERT:
            self._reverting(member, seen)

    def _reverting(self, member: Member, seen: Seen) -> None:
        """Its domain and disks are made anew by one push, or out of what one left that was cut short."""
        if seen.trace is Trace.DOMAIN:
            self.revert.append(member.vm)
        elif seen.trace is Trace.DISKS:
            self.clear.append(member.vm)
        else:
            step = Step(member.vm, member.state, MemberState.CREATING, life=member.life + 1)
            self.steps[member.vm] = step

    def renew(self, members: Collection[Member], seen: Mapping[str, Seen]) -> None:
        """Retire available members of an older template, as many as are not needed to stay warm."""
        ready = self._staying(members, MemberState.AVAILABLE)
        old = [member for member in ready if self.wish.stale(member) and member.vm in seen]
        pool = self.wish.pool
        if not old or pool is None:
            return
        spare = len(ready) - self.wish.ready
        coming = any(self._coming(member) for member in members)
        if spare <= 0 and not coming and len(members) >= pool.spec.size.max:
            spare = 1  # there is no room for another one first
        for member in sorted(old, key=lambda one: one.since)[: max(0, spare)]:
            # The last one makes room for the one that was made first.
            self._to(member, MemberState.RETIRING, OLDER if len(old) == 1 and spare > 0 else "")

    def reclaim(self, members: Collection[Member]) -> None:
        """Retire members that nobody took for long, while more than enough are ready; highest slots first."""
        pool = self.wish.pool
        if pool is None or pool.spec.reclaim_after is None:
            return
        ready = self._staying(members, MemberState.AVAILABLE)
        spare = len(ready) - self.wish.ready
        idle = [member for member in ready if self._for(member) >= pool.spec.reclaim_after]
        for member in sorted(idle, key=lambda one: -one.slot)[: max(0, spare)]:
            self._to(member, MemberState.RETIRING, IDLE)

    def fill(self, members: Collection[Member]) -> None:
        """Add members until enough are ready or on their way, as far as the pool's size allows."""
        pool = self.wish.pool
        if pool is None or not self.wish.may_add:
            return
        ready = self._staying(members, MemberState.AVAILABLE)
        coming = [member for member in members if self._coming(member)]
        missing = self.wish.ready - len(ready) - len(coming)
        if not coming and len(ready) <= self.wish.ready and any(self.wish.stale(member) for member in ready):
            missing = max(missing, 1)  # one of the new template, so that one of the older can go
        room = pool.spec.size.max - len(members)
        for slot in self._slots(members, pool, min(missing, room)):
            fresh = made_from(self.wish.template, pool, slot)
            self.add.append(Member(pool.name, slot, MemberState.CREATING, self.now, template=fresh))

    def _slots(self, members: Collection[Member], pool: VirtualMachinePool, count: int) -> Iterator[int]:
        used = {member.slot for member in members}
        for slot in range(1, pool.spec.size.max + 1):
            if count <= 0:
                return
            if slot not in used and not self.wish.occupied(f"{pool.name}-{slot}"):
                count -= 1
                yield slot

    def _staying(self, members: Collection[Member], state: MemberState) -> list[Member]:
        """Those that are in a state, and that nothing takes out of it in this turn; without surplus."""
        pool = self.wish.pool
        most = pool.spec.size.max if pool is not None else 0
        return [m for m in members if m.state is state and m.vm not in self.steps and m.slot <= most]

    def _coming(self, member: Member) -> bool:
        """True if it will be ready by itself."""
        pool, step = self.wish.pool, self.steps.get(member.vm)
        if pool is None or member.slot > pool.spec.size.max or member.vm in self.free:
            return False
        state = step.after if step is not None else member.state
        if state is MemberState.RETIRING:
            return (step.message if step is not None else member.message) not in FOR_GOOD
        made = step is not None and state is MemberState.AVAILABLE
        return made or state in (MemberState.CREATING, MemberState.CLEANING)


def _can_be_better(seen: Seen) -> bool:
    """Where nothing was made there is nothing to make anew: the loop goes on trying, unless it gave up."""
    return seen.trace is not Trace.NOTHING or seen.reason in _HOPELESS


def _patience(pool: VirtualMachinePool, seen: Seen) -> float:
    """Seconds after which a machine in creation counts as failed."""
    if not seen.busy and seen.trace in (Trace.NOTHING, Trace.DISKS) and seen.reason != "NotCreated":
        return STUCK
    readiness = pool.spec.template.spec.readiness
    return CREATION + (readiness.timeout if readiness is not None else 0)
