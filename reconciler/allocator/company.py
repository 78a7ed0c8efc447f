"""Who stands where: machines counted by label rule and place, for anti-affinity and spread.

A rule is a label selector together with the host label that says when two hosts are the same place.
All rules are known before the first machine is placed, so a count is one dictionary look-up, and
adding a machine touches just the rules that its own labels can match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.manifest import AntiAffinity, Placement, Policy, Spread

Place = tuple[str, str]
"""``("label", value)``, or ``("host", name)`` where the host itself is the place."""


class Rule(NamedTuple):
    """A selector (sorted pairs, all of which must match) and the label that names the place."""

    selector: tuple[tuple[str, str], ...]
    over: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a machine with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.selector)

    def __str__(self) -> str:
        chosen = ",".join(f"{key}={value}" for key, value in self.selector)
        return f"{chosen} over {self.over}"


def wishes(placement: Placement) -> tuple[AntiAffinity | Spread, ...]:
    """What a machine wants of the company it keeps."""
    return (*placement.anti_affinity, *placement.spread)


def rule_of(wish: AntiAffinity | Spread) -> Rule:
    """The rule behind a wish."""
    return Rule(tuple(sorted(wish.selector.items())), wish.over)


def away(placement: Placement, policy: Policy) -> tuple[Rule, ...]:
    """The rules of a machine's anti-affinity of that firmness."""
    return tuple(rule_of(wish) for wish in placement.anti_affinity if wish.policy is policy)


def even(placement: Placement, policy: Policy) -> tuple[tuple[Rule, int], ...]:
    """The rules of a machine's spread of that firmness, each with its maximum skew."""
    return tuple((rule_of(wish), wish.max_skew) for wish in placement.spread if wish.policy is policy)


class Company:
    """Counts of machines by rule and place."""

    def __init__(self, capacities: Sequence[HostCapacity], demands: Iterable[Demand]) -> None:
        self._capacities = capacities
        self._places: dict[str, list[Place]] = {}
        self._hosts_at: dict[str, dict[Place, list[int]]] = {}
        self._matching: dict[Rule, Counter[Place]] = {}
        self._holding: dict[Rule, Counter[Place]] = {}
        self._by_pair: dict[tuple[str, str], list[Rule]] = {}
        for capacity in capacities:
            for tenant in capacity.tenants:
                self._learn(tenant.placement)
        for demand in demands:
            self._learn(demand.placement)
        for index, capacity in enumerate(capacities):
            for tenant in capacity.tenants:
                self.join(tenant, index)

    def places(self, over: str) -> list[Place]:
        """For each host its place. A host without the label is a place of its own."""
        known = self._places.get(over)
        if known is None:
            known = self._places[over] = [place_of(capacity, over) for capacity in self._capacities]
        return known

    def hosts_at(self, over: str, place: Place) -> Sequence[int]:
        """The indices of the hosts at a place."""
        known = self._hosts_at.get(over)
        if known is None:
            known = self._hosts_at[over] = {}
            for index, each in enumerate(self.places(over)):
                known.setdefault(each, []).append(index)
        return known[place]

    def fuller(self, rule: Rule, limit: int) -> Iterator[tuple[int, int]]:
        """Hosts at places with more than that many machines which the rule means, and how many more.

        Few places are crowded in most fleets, so this is far less than asking every host.
        """
        return self._above(self._matching[rule], rule.over, limit)

    def kept_free(self, rule: Rule) -> Iterator[tuple[int, int]]:
        """Hosts at places where somebody requires that no machine which the rule means comes near."""
        return self._above(self._holding[rule], rule.over, 0)

    def _above(self, counts: Counter[Place], over: str, limit: int) -> Iterator[tuple[int, int]]:
        for place, count in counts.items():
            if count > limit:
                for index in self.hosts_at(over, place):
                    yield index, count - limit

    def fewest(self, rule: Rule, places: Collection[Place]) -> int:
        """How many machines which the rule means are at the emptiest of the places."""
        counts = self._matching[rule]
        if len(counts) < len(places):
            return 0
        return min((counts.get(place, 0) for place in places), default=0)

    def rules_for(self, labels: Mapping[str, str]) -> list[Rule]:
        """The rules that mean a machine with these labels, sorted: who came first must not matter."""
        if not self._by_pair:
            return []
        candidates = (rule for pair in labels.items() for rule in self._by_pair.get(pair, ()))
        return sorted(rule for rule in candidates if rule.matches(labels))

    def join(self, tenant: Tenant, index: int) -> None:
        """A machine came to the host with that index."""
        self._count(tenant, index, 1)

    def leave(self, tenant: Tenant, index: int) -> None:
        """It went."""
        self._count(tenant, index, -1)

    def _learn(self, placement: Placement) -> None:
        for wish in wishes(placement):
            rule = rule_of(wish)
            if rule not in self._matching:
                self._matching[rule] = Counter()
                self._holding[rule] = Counter()
                self._by_pair.setdefault(rule.selector[0], []).append(rule)

    def _count(self, tenant: Tenant, index: int, by: int) -> None:
        for rule in self.rules_for(tenant.labels):
            _bump(self._matching[rule], self.places(rule.over)[index], by)
        if tenant.placement.anti_affinity:
            for rule in away(tenant.placement, Policy.REQUIRED):
                _bump(self._holding[rule], self.places(rule.over)[index], by)


def _bump(counts: Counter[Place], place: Place, by: int) -> None:
    counts[place] += by
    if not counts[place]:
        del counts[place]


def place_of(capacity: HostCapacity, over: str) -> Place:
    """The place of a host: the value of its label, or the host itself."""
    value = capacity.labels.get(over) if over != "host" else None
    return ("host", capacity.name) if value is None else ("label", value)


ANTI_AFFINITY = "anti-affinity"
RESIDENT = "anti-affinity of a resident"
SPREAD = "spread"


class Eligible:
    """The hosts that could ever take a machine; only their places count for an even spread."""

    def __init__(self, company: Company, hosts: Sequence[int]) -> None:
        self.hosts = hosts
        self._company = company
        self._places: dict[str, frozenset[Place]] = {}

    def places(self, over: str) -> frozenset[Place]:
        """Where these hosts are."""
        if over not in self._places:
            everywhere = self._company.places(over)
            self._places[over] = frozenset(everywhere[index] for index in self.hosts)
        return self._places[over]


class Bar(NamedTuple):
    """Why a machine cannot stand on a host because of the machines at that place."""

    reason: str
    rule: Rule


def bars_for(demand: Demand, company: Company, eligible: Eligible) -> dict[int, Bar]:
    """The hosts that a machine is kept from because of the machines there, as things stand now."""
    bars: dict[int, Bar] = {}
    meant = company.rules_for(demand.labels)
    for rule in away(demand.placement, Policy.REQUIRED):
        for index, _ in company.fuller(rule, 0):
            bars.setdefault(index, Bar(ANTI_AFFINITY, rule))
    for rule in meant:
        for index, _ in company.kept_free(rule):
            bars.setdefault(index, Bar(RESIDENT, rule))
    for rule, limit in spread_limits(demand, company, eligible, Policy.REQUIRED):
        for index, _ in company.fuller(rule, limit):
            bars.setdefault(index, Bar(SPREAD, rule))
    return bars


def spread_limits(
    demand: Demand, company: Company, eligible: Eligible, policy: Policy
) -> list[tuple[Rule, int]]:
    """For each spread of the machine the most machines that a place may hold before it comes."""
    rules = even(demand.placement, policy)
    return [
        (rule, skew + company.fewest(rule, eligible.places(rule.over)) - rule.matches(demand.labels))
        for rule, skew in rules
    ]
