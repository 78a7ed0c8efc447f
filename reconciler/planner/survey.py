"""Who is where, who needs a place, who must wait and why: the world sorted, before anything is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from reconciler.model.capacity import Demand, HostCapacity
from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Fleet
from reconciler.model.manifest import VirtualMachine
from reconciler.model.placement import Phase
from reconciler.model.plan import Blocked
from reconciler.planner import capacity, same_host
from reconciler.planner.addressing import addresses
from reconciler.planner.bound import bound
from reconciler.planner.clone import cloned
from reconciler.planner.diff import mark_of
from reconciler.planner.index import FleetIndex, index_fleet
from reconciler.planner.newcomer import Newcomer, newcomer
from reconciler.planner.pending import project
from reconciler.planner.situation import Memo, Situation


@dataclass(frozen=True)
class Survey:
    """The situation, sorted: every desired machine and every domain of ours is in exactly one mapping.

    Attributes:
        situation: What it was made of.
        index: Every domain of the fleet.
        located: Desired machines that have a domain, to be compared with it.
        newcomers: Desired machines that have none, to be placed and made.
        leaving: Domains of ours that nobody desires any more, by machine.
        blocked: Machines that must be left alone now, and why.
        suspended: Machines that are observed and never changed, with their domain if they have one.
        notes: Facts about the whole, for people.
        same: Hosts that the inventory has under several names; what is there is left alone.
        observed: The hosts as they answered, without what is pending on them.
        addresses: Machine to interface to the address that it shall have; machines without are left out.
    """

    situation: Situation
    index: FleetIndex
    located: Mapping[str, ObservedDomain] = field(default_factory=dict)
    newcomers: Mapping[str, Newcomer] = field(default_factory=dict)
    leaving: Mapping[str, ObservedDomain] = field(default_factory=dict)
    blocked: Mapping[str, Blocked] = field(default_factory=dict)
    suspended: Mapping[str, ObservedDomain | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    same: same_host.Twins = field(default_factory=dict)
    observed: Fleet = field(default_factory=dict)
    addresses: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ours(self) -> int:
        """How many machines are ours: those that carry our mark, and those on record that cannot be seen."""
        visible = self.index.ours.keys() | self.index.twins.keys()
        unseen = {
            name
            for name, record in self.situation.records.items()
            if record.phase in (Phase.PLACED, Phase.DELETING) and not self.situation.known(record.host)
        }
        return len(visible | unseen)

    @cached_property
    def demands(self) -> tuple[Demand, ...]:
        """What the newcomers ask for; those that can only go to one host come first."""
        return capacity.demands(self.situation, self.newcomers)

    @cached_property
    def capacities(self) -> tuple[HostCapacity, ...]:
        """What every host of the inventory has to give; worked out on first use."""
        return capacity.capacities(self.situation, self.index, self.newcomers, self.leaving, self.same)


def survey(situation: Situation, memo: Memo | None = None) -> Survey:
    """Sort the situation.

    Args:
        situation: The world.
        memo: Of the last tick; an unchanged host then costs nothing.
    """
    memo = memo or Memo()
    observed = situation.fleet
    situation = replace(situation, fleet=project(situation))
    index = index_fleet(situation.fleet, memo)
    same = same_host.same_hosts(situation)
    sorting = _Sorting(situation, index, _suspended(situation, memo), same)
    sorting.desired_machines()
    sorting.surplus_machines()
    given = addresses(situation, index, memo)
    sorting.refuse(given.refused)
    return Survey(
        situation=situation,
        index=index,
        located=sorting.located,
        newcomers=sorting.newcomers,
        leaving=sorting.leaving,
        blocked=sorting.blocked,
        suspended=sorting.suspended,
        notes=(*_notes(situation), *same_host.notes(situation, same)),
        same=same,
        observed=observed,
        addresses=given.granted,
    )


def _suspended(situation: Situation, memo: Memo) -> frozenset[str]:
    if memo.desired is not situation.desired:
        machines = situation.desired.machines
        memo.suspended = frozenset(name for name, vm in machines.items() if vm.spec.suspend)
        memo.desired = situation.desired
    return memo.suspended


def _notes(situation: Situation) -> list[str]:
    silent = sorted(name for name in situation.hosts if not situation.known(name))
    notes = [f"{situation.trouble(name)}. What runs there is unknown" for name in silent[:10]]
    if len(silent) > 10:
        more = len(silent) - 10
        notes.append(f"{more} more host does not answer" if more == 1 else f"{more} more hosts do not answer")
    for name in sorted(situation.records.keys() - situation.desired.machines.keys()):
        record = situation.records[name]
        if record.phase in (Phase.PLACED, Phase.DELETING) and not situation.known(record.host):
            notes.append(f"{name} is no longer desired, but {situation.why_unknown(record.host)}: it stays")
    return notes


class _Sorting:
    """Puts every machine into its mapping."""

    def __init__(
        self, situation: Situation, index: FleetIndex, resting: frozenset[str], same: same_host.Twins
    ) -> None:
        self.situation = situation
        self.index = index
        self.resting = resting
        self.same = same
        self.located: dict[str, ObservedDomain] = {}
        self.newcomers: dict[str, Newcomer] = {}
        self.leaving: dict[str, ObservedDomain] = {}
        self.blocked: dict[str, Blocked] = {}
        self.suspended: dict[str, ObservedDomain | None] = {}

    def desired_machines(self) -> None:
        """Every machine of the desired state. The common case, seen and unproblematic, comes first."""
        ours, twins, held = self.index.ours, self.index.twins, self.situation.held
        records, resting, same = self.situation.records, self.resting, self.same
        for name, vm in self.situation.desired.machines.items():
            domain = ours.get(name)
            if domain is None or name in held or name in resting or name in twins or domain.host in same:
                self._uncommon(name, vm)
                continue
            record = records.get(name)
            if record is None and (stray := self.situation.stray(name)) is not None:
                self.blocked[name] = stray
                continue
            if record is not None and record.host != domain.host and self._may_be_elsewhere(name, domain):
                continue
            self.located[name] = domain

    def _uncommon(self, name: str, vm: VirtualMachine) -> None:
        domain = self.index.ours.get(name)
        if name in self.index.twins:
            self.blocked[name] = self._duplicate(name)
        elif name in self.resting:
            self.suspended[name] = domain
        elif domain is not None and domain.host in self.same:
            self.blocked[name] = same_host.blocked(name, domain.host, self.same)
        elif name in self.situation.held:
            self.blocked[name] = self.situation.held[name]
        else:
            answer = newcomer(vm, self.situation, self.index, self.same)
            if isinstance(answer, Newcomer) and self.situation.desired.volumes:
                answer = bound(vm, answer, self.situation, self.index)
            if isinstance(answer, Newcomer) and vm.spec.clone_of:
                answer = cloned(vm, answer, self.situation, self.index)
            if isinstance(answer, Blocked):
                self.blocked[name] = answer
            else:
                self.newcomers[name] = answer

    def _may_be_elsewhere(self, name: str, domain: ObservedDomain) -> bool:
        """Its record names a host that does not answer, and it does not run where we see it.

        Somebody moved it, or it exists twice; started here, it might run twice.
        """
        record = self.situation.records[name]
        if record.phase is Phase.RETAINED or self.situation.known(record.host) or domain.state.active:
            return False
        why = self.situation.why_unknown(record.host)
        remedy = self.situation.remedy(record.host)
        message = f"it is shut off on {domain.host}, but may run on {record.host}: {why}; {remedy}"
        self.blocked[name] = Blocked(name, "HostUnknown", message, host=record.host)
        return True

    def surplus_machines(self) -> None:
        """Every domain of ours that nobody desires."""
        desired = self.situation.desired.machines
        for name in sorted(self.index.twins.keys() - desired.keys()):
            self.blocked[name] = self._duplicate(name)
        for name in sorted(self.index.ours.keys() - desired.keys()):
            domain = self.index.ours[name]
            mark = mark_of(domain)
            if domain.host in self.same:
                self.blocked[name] = same_host.blocked(name, domain.host, self.same)
            elif name in self.situation.held:
                self.blocked[name] = self.situation.held[name]
            elif (stray := self.situation.stray(name)) is not None:
                self.blocked[name] = stray
            elif mark is not None and mark.protect:
                message = (
                    "it is no longer desired, but it is protected: set protect: false first, then remove it"
                )
                self.blocked[name] = Blocked(name, "Protected", message, host=domain.host)
            else:
                self.leaving[name] = domain

    def refuse(self, refused: Mapping[str, Blocked]) -> None:
        """Leave these alone, unless they are left alone anyway."""
        for name, refusal in refused.items():
            if self.located.pop(name, None) is not None or self.newcomers.pop(name, None) is not None:
                self.blocked[name] = refusal

    def _duplicate(self, name: str) -> Blocked:
        """Several domains carry its mark, or one of them is seen under two names of its host."""
        domains = self.index.twins[name]
        for domain in domains:
            if domain.host in self.same:
                return same_host.blocked(name, domain.host, self.same)
        return _duplicate(name, domains)


def _duplicate(name: str, domains: tuple[ObservedDomain, ...]) -> Blocked:
    places = ", ".join(sorted(f"{domain.host}/{domain.name} ({domain.uuid})" for domain in domains))
    message = (
        f"several domains carry its mark: {places}. None of them is touched: "
        "find out which one is right, then `reconciler forget HOST/DOMAIN` or undefine the others"
    )
    return Blocked(name, "DuplicateDomain", message)
