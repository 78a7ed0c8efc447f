"""Placing 2,000 new machines on 1,250 hosts that hold 18,000: seconds and placements a second.

.venv/bin/python -m benchmarks.allocation [ALGORITHM ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

from reconciler.allocator import make_allocator
from reconciler.allocator.algorithms import BUILT_IN
from reconciler.allocator.simulate import GIB, fleet
from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.config import AllocatorConfig
from reconciler.model.manifest import AntiAffinity, Placement, Policy, Spread

HOSTS, HELD, NEW = 1250, 18_000, 2000
SIZES = ((1, 2), (2, 4), (2, 8), (4, 8), (4, 16), (8, 16), (8, 32))


def main() -> None:
    algorithms = sys.argv[1:] or list(BUILT_IN)
    capacities = list(held_fleet())
    kinds = {"plain": list(demands()), "company": list(demands(company=True)), "own size": list(unequal())}
    print(f"{NEW} new machines on {HOSTS} hosts that hold {HELD}")
    for kind, wanted in kinds.items():
        for algorithm in algorithms:
            allocator = make_allocator(AllocatorConfig(algorithm=algorithm))
            start = perf_counter()
            decisions = allocator.place(wanted, capacities)
            seconds = perf_counter() - start
            placed = sum(decision.host is not None for decision in decisions.values())
            rate = f"{placed / seconds:8.0f} placements/s ({placed} placed)"
            print(f"{kind:9} {algorithm:12} {seconds:6.2f} s {rate}")


def held_fleet() -> Iterator[HostCapacity]:
    """Racks of 25 hosts with 64 cpus and 256 GiB, each holding its share of the machines."""
    racks = "; ".join(f"25x128c256g4000d rack=r{rack}" for rack in range(HOSTS // 25))
    for number, host in enumerate(fleet(racks)):
        held = range(number, HELD, HOSTS)
        yield replace(host, tenants=tuple(tenant(index) for index in held))


def tenant(index: int) -> Tenant:
    cpus, memory = SIZES[index % len(SIZES)]
    return Tenant(f"old-{index}", cpus, memory * GIB, labels={"app": f"app-{index % 900}"})


def demands(*, company: bool = False) -> Iterator[Demand]:
    """Machines of seven sizes; with company, three of each application apart, and spread over racks."""
    for index in range(NEW):
        cpus, memory = SIZES[index % len(SIZES)]
        app = {"app": f"app-{index // 3}"}
        placement = Placement(
            anti_affinity=(AntiAffinity(selector=app),) if company else (),
            spread=(Spread(selector=app, over="rack", policy=Policy.PREFERRED),) if company else (),
        )
        yield Demand(f"new-{index}", cpus, memory * GIB, {"": 20 * GIB}, labels=app, placement=placement)


def unequal() -> Iterator[Demand]:
    """No two machines of one size: the worst case for whatever is remembered."""
    for index, demand in enumerate(demands()):
        yield replace(demand, memory=demand.memory + index)


if __name__ == "__main__":
    main()
