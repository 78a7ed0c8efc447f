"""The search for hosts that fit one machine, fast enough for twenty thousand of them.

Three things keep it fast, none of which changes an answer. Machines of one kind share the list of
hosts that could ever take them. Machines of one size share a table of which hosts have room and how
good they are, and a host is looked at again only after its usage changed. And the company that a
machine keeps is asked about only where somebody made a rule for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from reconciler.allocator.algorithms import Algorithm
from reconciler.allocator.company import Bar, Eligible, bars_for
from reconciler.allocator.filters import ROOM, STANDING, refusal
from reconciler.allocator.usage import FleetUsage
from reconciler.allocator.weighers import ROOM_WEIGHERS, company_weighers
from reconciler.errors import AllocatorError
from reconciler.model.capacity import Demand, Tenant

TABLES_KEPT = 64
"""Sizes whose tables are remembered. Machines are placed largest first, so equal sizes come together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What every machine of one kind meets.

    Attributes:
        eligible: The hosts that pass the standing filters, ascending.
        rejected: Reason to number of the others.
    """

    eligible: Eligible
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """The hosts that fit one machine.

    Attributes:
        hosts: Indices, ascending.
        scores: One for each of them, higher is better.
        after: For each of them who has to leave first; empty when nobody has to, anywhere.
        rejected: Reason to number of the hosts that do not fit as things stand.
    """

    hosts: Sequence[int]
    scores: Sequence[float]
    after: Sequence[tuple[Tenant, ...]]
    rejected: Mapping[str, int]


class Search:
    """Finds fitting hosts in a fleet whose usage changes between the searches."""

    def __init__(self, fleet: FleetUsage, algorithm: Algorithm, factors: Mapping[str, float]) -> None:
        self.fleet = fleet
        self.algorithm = algorithm
        self.factors = factors
        self._kinds: dict[object, Kind] = {}
        self._tables: dict[object, _Table] = {}
        self._with_leavers = [
            index
            for index, host in enumerate(fleet.hosts)
            if any(tenant.leaving for tenant in host.capacity.tenants)
        ]

    def kind(self, demand: Demand) -> Kind:
        """Which hosts could ever take a machine like this one."""
        key = kind_key(demand)
        kind = self._kinds.get(key)
        if kind is None:
            refusals = [refusal(STANDING, demand, host) for host in self.fleet.hosts]
            kind = self._kinds[key] = Kind(
                eligible=Eligible(
                    self.fleet.company, [index for index, refused in enumerate(refusals) if refused is None]
                ),
                rejected=Counter(refused.reason for refused in refusals if refused is not None),
            )
        return kind

    def find(self, demand: Demand) -> Found:
        """The hosts that fit as things stand; where there are none, those that fit once others have left."""
        kind, table = self.kind(demand), self._table(demand)
        bars = self.bars(demand)
        hosts: list[int] = []
        rejected = Counter(kind.rejected)
        seen, versions, blocked = table.seen, self.fleet.versions, table.blocked
        for index in kind.eligible.hosts:
            if seen[index] != versions[index]:
                table.refresh(index)
            reason = blocked[index]
            if reason is None and index in bars:
                reason = bars[index].reason
            if reason is None:
                hosts.append(index)
            else:
                rejected[reason] += 1
        if not hosts and self._with_leavers:
            return self._find_after_leaving(demand, rejected)
        return Found(hosts, self._scores(demand, table, hosts), (), rejected)

    def bars(self, demand: Demand) -> dict[int, Bar]:
        """The hosts that the machine is kept from because of the machines there."""
        return bars_for(demand, self.fleet.company, self.kind(demand).eligible)

    def parts(self, demand: Demand, index: int) -> dict[str, float]:
        """What the score of a host is made of: the algorithm's own, and each weigher times its factor."""
        host = self.fleet.hosts[index]
        parts = {self.algorithm.name: self._algorithm_score(demand, index)}
        for name, weigh in ROOM_WEIGHERS.items():
            if name in self.factors:
                parts[name] = self.factors[name] * weigh(demand, host, self.fleet.largest_pool)
        for name, values in self._company(demand).items():
            parts[name] = self.factors[name] * values.get(index, 1.0)
        return parts

    def why_not(self, demand: Demand, limit: int) -> dict[str, str]:
        """Host to the reason in words, for at most that many hosts that do not fit."""
        reasons: dict[str, str] = {}
        bars = self.bars(demand)
        for index, host in enumerate(self.fleet.hosts):
            if len(reasons) >= limit:
                break
            refused = refusal(STANDING + ROOM, demand, host)
            if refused is not None:
                reasons[host.name] = refused.words(demand, host)
                continue
            if index in bars:
                reasons[host.name] = f"{bars[index].reason} ({bars[index].rule})"
        return reasons

    def room_score(self, demand: Demand, index: int) -> float:
        """The part of the score that is the same for all machines of a size."""
        host = self.fleet.hosts[index]
        score = self._algorithm_score(demand, index) if self.algorithm.by_size else 0.0
        for name, weigh in ROOM_WEIGHERS.items():
            if name in self.factors:
                score += self.factors[name] * weigh(demand, host, self.fleet.largest_pool)
        return score

    def _table(self, demand: Demand) -> _Table:
        key = size_key(demand)
        table = self._tables.pop(key, None) or _Table(self, demand)
        self._tables[key] = table
        if len(self._tables) > TABLES_KEPT:
            del self._tables[next(iter(self._tables))]
        return table

    def _algorithm_score(self, demand: Demand, index: int) -> float:
        score = self.algorithm.score(demand, self.fleet.hosts[index])
        if not isfinite(score):
            name = self.fleet.hosts[index].name
            raise AllocatorError(
                f"the algorithm {self.algorithm.name!r} gave {demand.vm} on {name} the score {score}"
            )
        return score

    def _scores(self, demand: Demand, table: _Table, hosts: Sequence[int]) -> list[float]:
        scores = [table.scores[index] for index in hosts]
        if not self.algorithm.by_size:
            scores = [
                score + self._algorithm_score(demand, index)
                for score, index in zip(scores, hosts, strict=True)
            ]
        for name, values in self._company(demand).items():
            factor = self.factors[name]
            scores = [
                score + factor * values.get(index, 1.0) for score, index in zip(scores, hosts, strict=True)
            ]
        return scores

    def _company(self, demand: Demand) -> dict[str, dict[int, float]]:
        return company_weighers(demand, self.fleet.company, self.kind(demand).eligible, self.factors)

    def _find_after_leaving(self, demand: Demand, rejected: Mapping[str, int]) -> Found:
        eligible = set(self.kind(demand).eligible.hosts)
        hosts: list[int] = []
        scores: list[float] = []
        after: list[tuple[Tenant, ...]] = []
        for index in self._with_leavers:
            if index not in eligible:
                continue
            needed = self._leavers_needed(demand, index)
            if needed:
                hosts.append(index)
                scores.append(self._score_without(demand, index, needed))
                after.append(needed)
        return Found(hosts, scores, after, rejected)

    def _leavers_needed(self, demand: Demand, index: int) -> tuple[Tenant, ...]:
        """The fewest of a host's leaving machines without which it fits; empty if it never does.

        No single one of them could stay: each was tried, small ones first, so that few large ones go
        before the newcomer rather than many small ones.
        """
        leavers = [tenant for tenant in self.fleet.hosts[index].tenants if tenant.leaving]
        leavers.sort(key=lambda tenant: (tenant.memory, tenant.cpus, tenant.vm, tenant.ours))
        for tenant in leavers:
            self.fleet.remove(index, tenant)
        gone = list(leavers)
        if self._fits(demand, index):
            for tenant in leavers:
                self.fleet.add(index, tenant)
                gone.remove(tenant)
                if not self._fits(demand, index):
                    self.fleet.remove(index, tenant)
                    gone.append(tenant)
            needed = tuple(gone)
        else:
            needed = ()
        for tenant in gone:
            self.fleet.add(index, tenant)
        return needed

    def _score_without(self, demand: Demand, index: int, gone: Sequence[Tenant]) -> float:
        for tenant in gone:
            self.fleet.remove(index, tenant)
        score = sum(self.parts(demand, index).values())
        for tenant in gone:
            self.fleet.add(index, tenant)
        return score

    def _fits(self, demand: Demand, index: int) -> bool:
        if refusal(ROOM, demand, self.fleet.hosts[index]) is not None:
            return False
        return index not in self.bars(demand)


class _Table:
    """For one size of machine: which hosts lack room, and the scores of the others.

    A line is true while ``seen`` equals the fleet's version of that host.
    """

    __slots__ = ("_demand", "_search", "blocked", "scores", "seen")

    def __init__(self, search: Search, demand: Demand) -> None:
        count = len(search.fleet.hosts)
        self._search = search
        self._demand = demand
        self.seen = [-1] * count
        self.blocked: list[str | None] = [None] * count
        self.scores = [0.0] * count

    def refresh(self, index: int) -> None:
        """Look at a host again."""
        fleet = self._search.fleet
        refused = refusal(ROOM, self._demand, fleet.hosts[index])
        self.blocked[index] = None if refused is None else refused.reason
        if refused is None:
            self.scores[index] = self._search.room_score(self._demand, index)
        self.seen[index] = fleet.versions[index]


def kind_key(demand: Demand) -> object:
    """Equal for machines that meet the same answer from every standing filter."""
    selector = demand.placement.host_selector
    return (
        demand.arch,
        demand.firmware,
        demand.networks,
        demand.bridges,
        frozenset(demand.disks),
        demand.placement.host,
        frozenset(selector.items()) if selector else None,
        demand.only,
        demand.not_on,
    )


def size_key(demand: Demand) -> object:
    """Equal for machines that need the same room."""
    return demand.cpus, demand.memory, frozenset(demand.disks.items())
