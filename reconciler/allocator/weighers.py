"""Weighers: what makes one fitting host better than another. Each gives a number from 0 to 1.

A number says how good the host would be with the machine on it, and depends on that host alone, so it
stays true until the host itself changes. The configuration gives each weigher a factor; the sum is
added to the algorithm's own score, which lies between 0 and 1 too.
"""

# A weigher takes all three arguments, whether it looks at them or not.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite

from reconciler.allocator.company import Company, Eligible, Rule, away, spread_limits
from reconciler.allocator.usage import HostUsage
from reconciler.errors import AllocatorConfigError
from reconciler.model.capacity import Demand
from reconciler.model.manifest import Policy

RoomWeigher = Callable[[Demand, HostUsage, int], float]


def free_cpu(demand: Demand, host: HostUsage, largest_pool: int) -> float:
    """The share of the host's cpus that stays free."""
    return _share(host.free_cpus - demand.cpus, host.capacity.cpus)


def free_memory(demand: Demand, host: HostUsage, largest_pool: int) -> float:
    """The share of the host's memory that stays free."""
    return _share(host.free_memory - demand.memory, host.capacity.memory)


def free_disk(demand: Demand, host: HostUsage, largest_pool: int) -> float:
    """What stays free in the default pool, against the roomiest default pool of the fleet."""
    needed = host.by_pool(demand.disks).get(host.capacity.default_pool, 0)
    return _share(host.free_disk("") - needed, largest_pool)


def few_machines(demand: Demand, host: HostUsage, largest_pool: int) -> float:
    """1 for a host without a machine of ours, less with each."""
    return 1 / (1 + host.machines)


def _share(part: int, whole: int) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


ROOM_WEIGHERS: dict[str, RoomWeigher] = {
    "free-cpu": free_cpu,
    "free-memory": free_memory,
    "free-disk": free_disk,
    "few-machines": few_machines,
}
COMPANY_WEIGHERS = ("anti-affinity", "spread")

DEFAULT_FACTORS: Mapping[str, float] = {"anti-affinity": 10.0, "spread": 10.0}
"""A preference that a user wrote into a manifest outweighs every algorithm."""


def checked_factors(weights: Mapping[str, float]) -> dict[str, float]:
    """The factors in use: the defaults, changed by the configuration, without the zeros.

    Raises:
        AllocatorConfigError: A weigher is unknown or a factor is not a finite number.
    """
    known = sorted([*ROOM_WEIGHERS, *COMPANY_WEIGHERS])
    unknown = sorted(weights.keys() - set(known))
    if unknown:
        raise AllocatorConfigError(
            f"allocator.weights names no weigher of ours: {', '.join(unknown)}",
            hint=f"choose from {', '.join(known)}",
        )
    for name, factor in weights.items():
        if not isfinite(factor):
            raise AllocatorConfigError(f"allocator.weights.{name} is {factor}: a finite number is needed")
    return {name: factor for name, factor in {**DEFAULT_FACTORS, **weights}.items() if factor}


def company_weighers(
    demand: Demand, company: Company, eligible: Eligible, factors: Mapping[str, float]
) -> dict[str, dict[int, float]]:
    """What the machine's preferences about its company say of the hosts; nothing where it has none.

    For each weigher the hosts that are worth less than 1, by index: few in most fleets.
    """
    said: dict[str, dict[int, float]] = {}
    apart = [(rule, 0) for rule in away(demand.placement, Policy.PREFERRED)]
    if apart and "anti-affinity" in factors:
        said["anti-affinity"] = _less_with_each(company, apart)
    if demand.placement.spread and "spread" in factors:
        limits = spread_limits(demand, company, eligible, Policy.PREFERRED)
        if limits:
            said["spread"] = _less_with_each(company, limits)
    return said


def _less_with_each(company: Company, limits: list[tuple[Rule, int]]) -> dict[int, float]:
    """1/2 for a host with one machine above the limit, 1/3 with two …; the mean over the rules."""
    values: dict[int, float] = {}
    for rule, limit in limits:
        for index, excess in company.fuller(rule, limit):
            values[index] = values.get(index, 1.0) - (1 - 1 / (1 + excess)) / len(limits)
    return values
