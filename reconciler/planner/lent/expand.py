"""Members of pools into machines of the desired state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.model.desired import DesiredState
from reconciler.model.machine import VirtualMachine
from reconciler.model.plan import Blocked
from reconciler.model.pool import Member, MemberState, OnCheckin, VirtualMachinePool
from reconciler.planner.lent.slots import machine_of, made_from, template_of

LEASED, CLEANING, OLDER = "Leased", "Cleaning", "OlderTemplate"
"""Why a member is left alone."""

HELD = frozenset({LEASED, CLEANING, OLDER})
WITH_HOLDER = frozenset({LEASED, OLDER})
"""Those whose holder may act on them all the same."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What the members of all pools mean for a tick.

    Attributes:
        desired: The desired state, with the members' machines in it.
        held: Machines that must be left alone, and why.
        asked: Machines whose deletion is the pool's own: no limit counts them.
        members: Names of all members on record.
        made_from: What a machine of each pool would be made from now, but for its address.
        declared: Members whose name is that of a machine that people declare themselves.
    """

    desired: DesiredState
    held: Mapping[str, Blocked] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    made_from: Mapping[str, str] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()

    def stale(self, member: Member) -> bool:
        """True if it was made from something else than its pool says now; of no pool it is nothing at all."""
        pool = self.desired.machine_pools.get(member.pool)
        return pool is None or member.template != made_from(self.made_from[pool.name], pool, member.slot)


class Expansion:
    """Expands, and keeps what it made: while nothing changes, everything is the identical object."""

    def __init__(self) -> None:
        self._last: tuple[DesiredState, tuple[Member, ...], Lent] | None = None
        self._machines: dict[str, tuple[VirtualMachinePool, int, VirtualMachine]] = {}
        self._plain: tuple[DesiredState, Mapping[str, VirtualMachine], DesiredState] | None = None
        self._templates: tuple[DesiredState, Mapping[str, str]] | None = None

    def expand(self, desired: DesiredState, members: tuple[Member, ...]) -> Lent:
        """The desired state with a machine for each member that shall be.

        Args:
            desired: As people wrote it.
            members: All that are on record.
        """
        last = self._last
        if last is not None and last[0] is desired and last[1] is members:
            return last[2]
        known = self._templates
        if known is None or known[0] is not desired:
            known = (
                desired,
                {name: template_of(desired, one) for name, one in desired.machine_pools.items()},
            )
            self._templates = known
        names = frozenset(member.vm for member in members)
        declared = names & desired.machines.keys()
        lent = Lent(desired, made_from=known[1], members=names, declared=declared)
        held: dict[str, Blocked] = {}
        for member in members:
            refusal = _left_alone(member, lent)
            if refusal is not None:
                held[member.vm] = refusal
        lent = replace(
            lent,
            desired=self._with_machines(desired, self._wanted(desired, members), members),
            held=held,
            asked=frozenset(member.vm for member in members if is_asked(member, desired.machine_pools)),
        )
        self._last = (desired, members, lent)
        return lent

    def _wanted(self, desired: DesiredState, members: Collection[Member]) -> dict[str, VirtualMachine]:
        machines, kept = {}, {}
        for member in members:
            pool = desired.machine_pools.get(member.pool)
            if pool is None or not _shall_be(member, pool) or member.vm in desired.machines:
                continue
            known = self._machines.get(member.vm)
            if known is None or known[0] is not pool or known[1] != member.life:
                known = (pool, member.life, machine_of(pool, member.slot, member.life))
            kept[member.vm] = known
            machines[member.vm] = known[2]
        self._machines = kept
        return machines

    def _with_machines(
        self, desired: DesiredState, machines: Mapping[str, VirtualMachine], members: Iterable[Member]
    ) -> DesiredState:
        if not machines:
            return desired
        last = self._plain
        if (
            last is not None
            and last[0] is desired
            and last[1].keys() == machines.keys()
            and all(last[1][name] is machine for name, machine in machines.items())
        ):
            return last[2]
        origins = {
            f"VirtualMachine/{member.vm}": desired.origins[key]
            for member in members
            if member.vm in machines and (key := f"VirtualMachinePool/{member.pool}") in desired.origins
        }
        made = replace(
            desired, machines={**desired.machines, **machines}, origins={**desired.origins, **origins}
        )
        self._plain = (desired, machines, made)
        return made


def expand(desired: DesiredState, members: Collection[Member]) -> DesiredState:
    """The desired state with a machine for each member that shall be; see `Expansion`."""
    return Expansion().expand(desired, tuple(members)).desired


def _shall_be(member: Member, pool: VirtualMachinePool) -> bool:
    """A member that is lent stays, whatever became of the pool; one that retires goes, as does surplus."""
    if member.state is MemberState.LEASED:
        return True
    return member.state is not MemberState.RETIRING and member.slot <= pool.spec.size.max


def is_asked(member: Member, pools: Mapping[str, VirtualMachinePool]) -> bool:
    """True if it goes because its pool works so, and not because people made the pool smaller."""
    pool = pools.get(member.pool)
    return pool is not None and member.state is MemberState.RETIRING and member.slot <= pool.spec.size.max


def _left_alone(member: Member, lent: Lent) -> Blocked | None:
    """Why the loop must not touch it now, if so."""
    vm, state, desired = member.vm, member.state, lent.desired
    pool = desired.machine_pools.get(member.pool)
    if state is MemberState.LEASED and pool is None:
        return Blocked(
            vm, LEASED, f"its pool {member.pool} is gone, but it is lent: it stays until it comes back"
        )
    if state is MemberState.LEASED and vm in desired.machines:
        return Blocked(
            vm,
            LEASED,
            f"it is a machine of the pool {member.pool} that is lent: it stays until it comes back",
        )
    if pool is None or not _shall_be(member, pool):
        return None
    if lent.stale(member):
        return Blocked(vm, OLDER, "it was made from an older template: it is made anew once nobody has it")
    if state is MemberState.CLEANING and pool.spec.on_checkin is not OnCheckin.KEEP:
        return Blocked(vm, CLEANING, "it came back, and is made clean for the next holder")
    return None
