"""Place machines on hosts: pure, and the same whatever the order of machines and hosts.

Pinned machines come first, then those that fewest hosts could take, then the large ones: a small
machine finds room beside a large one, rarely the other way round. Whatever is placed counts as used
for all that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import repeat
from operator import neg
from typing import Protocol

from reconciler.allocator.algorithms import Algorithm
from reconciler.allocator.company import wishes
from reconciler.allocator.search import Found, Search, kind_key, size_key
from reconciler.allocator.usage import FleetUsage, tenant_of
from reconciler.allocator.weighers import DEFAULT_FACTORS
from reconciler.allocator.words import placed_sentence, refused_sentence
from reconciler.model.capacity import Demand, HostCapacity
from reconciler.model.manifest import Policy
from reconciler.model.placement import Candidate, Decision

RUNNERS_UP = 3
REASONS_REFUSED = 100
REASONS_PLACED = 10
"""Hosts whose refusal is told in words. A placed machine names few, and none in a fleet of more than a
hundred hosts, because there may be twenty thousand such decisions; all refusals are counted always."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen among the hosts that fit.

    Attributes:
        ranking: Places in `Found.hosts`, best first; empty when the chooser wants none of them.
        message: Why none, in words.
    """

    ranking: Sequence[int]
    message: str = ""


class Chooser(Protocol):
    """Chooses among hosts that fit; it cannot choose another."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    def choose(self, demand: Demand, found: Found, fleet: FleetUsage) -> Choice:
        """Rank the hosts that were found, of which there is at least one."""


@dataclass(frozen=True, slots=True)
class ByScore:
    """The highest score wins; before that, hosts for which fewest machines have to leave."""

    name: str

    def choose(self, demand: Demand, found: Found, fleet: FleetUsage) -> Choice:  # noqa: ARG002
        """Rank by score, and by name among equals."""
        waits = map(len, found.after) if found.after else repeat(0)
        keys = zip(waits, map(neg, found.scores), range(len(found.hosts)), strict=False)
        return Choice([place for _, _, place in nsmallest(1 + RUNNERS_UP, keys)])


def place(
    demands: Sequence[Demand],
    capacities: Sequence[HostCapacity],
    algorithm: Algorithm,
    *,
    factors: Mapping[str, float] = DEFAULT_FACTORS,
    chooser: Chooser | None = None,
) -> dict[str, Decision]:
    """Decide for every machine where it goes, or why it cannot go anywhere.

    A machine that is leaving keeps its room until nothing fits beside it; then the decision's `after`
    names just the leaving machines on the chosen host that must be gone first. One that leaves another
    host of the same rack cannot be waited for: hosts are worked on side by side.

    Args:
        demands: The machines, each name once.
        capacities: The hosts, each name once.
        algorithm: Gives the hosts that fit their score.
        factors: Weigher to factor.
        chooser: Chooses among the hosts that fit; by score when not given.

    Raises:
        ValueError: A machine or a host is named twice.
        AllocatorError: A third party's algorithm gave a score that is no finite number.
    """
    _refuse_twins("machine", [demand.vm for demand in demands])
    _refuse_twins("host", [capacity.name for capacity in capacities])
    fleet = FleetUsage(capacities, demands)
    desk = _Desk(Search(fleet, algorithm, factors), chooser or ByScore(algorithm.name))
    return {demand.vm: desk.decide(demand) for demand in in_order(demands, desk.search)}


def in_order(demands: Sequence[Demand], search: Search) -> list[Demand]:
    """The order in which machines are placed; the order they come in does not matter."""
    cpus = sum(host.capacity.cpus for host in search.fleet.hosts) or 1
    memory = sum(host.capacity.memory for host in search.fleet.hosts) or 1

    def key(demand: Demand) -> tuple[bool, int, int, float, str]:
        bound = sum(wish.policy is Policy.REQUIRED for wish in wishes(demand.placement))
        size = demand.cpus / cpus + demand.memory / memory
        return not _pinned(demand), len(search.kind(demand).eligible.hosts), -bound, -size, demand.vm

    return sorted(demands, key=key)


class _Desk:
    """Decides one machine after the other, and counts each as placed."""

    def __init__(self, search: Search, chooser: Chooser) -> None:
        self.search = search
        self._fleet = search.fleet
        self._chooser = chooser
        self._names = frozenset(host.name for host in self._fleet.hosts)
        self._placed = 0
        self._refusals: dict[object, tuple[int, Decision]] = {}

    def decide(self, demand: Demand) -> Decision:
        """Find a host and count the machine as being there."""
        known = self._refused_before(demand)
        if known is not None:
            return known
        found = self.search.find(demand)
        if not found.hosts:
            return self._refuse(demand, found)
        chooser = ByScore("pinned") if _pinned(demand) else self._chooser
        choice = chooser.choose(demand, found, self._fleet)
        if not choice.ranking:
            return Decision(
                demand.vm, None, chooser.name, rejected=dict(found.rejected), message=choice.message
            )
        return self._settle(demand, found, choice, chooser.name)

    def _settle(self, demand: Demand, found: Found, choice: Choice, algorithm: str) -> Decision:
        candidates = [self._candidate(demand, found, place) for place in choice.ranking]
        best = choice.ranking[0]
        after = tuple(sorted(t.vm for t in found.after[best])) if found.after else ()
        name = candidates[0].host
        few = len(self._names) <= REASONS_REFUSED
        reasons = self.search.why_not(demand, REASONS_PLACED) if few and found.rejected else {}
        self._fleet.add(found.hosts[best], tenant_of(demand))
        self._placed += 1
        return Decision(
            vm=demand.vm,
            host=name,
            algorithm=algorithm,
            runners_up=tuple(candidates[1:]),
            rejected=dict(found.rejected),
            reasons=reasons,
            after=after,
            message=placed_sentence(name, len(found.hosts), algorithm, after),
            chosen=candidates[0],
        )

    def _candidate(self, demand: Demand, found: Found, place: int) -> Candidate:
        index = found.hosts[place]
        parts = {} if found.after else self.search.parts(demand, index)
        return Candidate(self._fleet.hosts[index].name, found.scores[place], parts)

    def _refuse(self, demand: Demand, found: Found) -> Decision:
        rejected = dict(found.rejected)
        decision = Decision(
            vm=demand.vm,
            host=None,
            algorithm=self._chooser.name,
            rejected=rejected,
            reasons=self.search.why_not(demand, REASONS_REFUSED),
            message=refused_sentence(demand, rejected, self._names),
        )
        if not self.search.bars(demand):  # it was for want of room alone: true for all of the kind and size
            self._refusals[kind_key(demand), size_key(demand)] = (self._placed, decision)
        return decision

    def _refused_before(self, demand: Demand) -> Decision | None:
        """The same answer for the same question, as long as nothing was placed in between.

        A thousand machines that find no room then cost as much as one, and share their reasons.
        """
        placed, known = self._refusals.get((kind_key(demand), size_key(demand)), (-1, None))
        return replace(known, vm=demand.vm) if known is not None and placed == self._placed else None


def _pinned(demand: Demand) -> bool:
    return demand.only is not None or demand.placement.host is not None


def _refuse_twins(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the {what} {twin!r} is named twice")
