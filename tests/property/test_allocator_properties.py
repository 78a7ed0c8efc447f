"""What holds for every fleet and every set of machines, whatever the algorithm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.allocator.algorithms import BUILT_IN, Algorithm
from reconciler.allocator.company import place_of
from reconciler.allocator.filters import STANDING, refusal
from reconciler.allocator.place import place
from reconciler.allocator.usage import FleetUsage, HostUsage, tenant_of
from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.config import AllocatorConfig
from reconciler.model.manifest import AntiAffinity, Placement, Policy, Spread
from reconciler.model.placement import Decision

ALGORITHMS = [factory(AllocatorConfig(seed=3)) for factory in BUILT_IN.values()]
algorithms = st.sampled_from(ALGORITHMS)

labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), max_size=2)
selectors = st.dictionaries(
    st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), min_size=1, max_size=2
)
overs = st.sampled_from(["host", "rack"])
firmness = st.sampled_from(Policy)
disks = st.dictionaries(st.sampled_from(["", "default", "fast"]), st.integers(0, 6), max_size=2)

placements = st.builds(
    Placement,
    host=st.none() | st.none() | st.sampled_from(["h1", "h2"]),
    host_selector=st.just({}) | st.just({}) | st.just({"rack": "r1"}),
    anti_affinity=st.lists(
        st.builds(AntiAffinity, selector=selectors, over=overs, policy=firmness), max_size=1
    ).map(tuple),
    spread=st.lists(
        st.builds(Spread, selector=selectors, over=overs, policy=firmness, max_skew=st.integers(1, 2)),
        max_size=1,
    ).map(tuple),
)
tenants = st.builds(
    Tenant,
    vm=st.sampled_from(["t1", "t2", "t3", "t4"]),
    cpus=st.integers(0, 4),
    memory=st.integers(0, 4),
    labels=labels,
    placement=placements,
    ours=st.booleans(),
    leaving=st.booleans(),
    disks=disks,
)


@st.composite
def fleets(draw: st.DrawFn) -> list[HostCapacity]:
    hosts = []
    for number in range(draw(st.integers(1, 4))):
        rack = draw(st.sampled_from(["", "r1", "r2"]))
        pools = {"default": draw(st.integers(0, 12))}
        if draw(st.booleans()):
            pools["fast"] = draw(st.integers(0, 12))
        hosts.append(
            HostCapacity(
                name=f"h{number + 1}",
                alive=draw(st.integers(0, 9)) > 0,
                maintenance=draw(st.integers(0, 9)) == 0,
                labels={"rack": rack} if rack else {},
                cpus=draw(st.integers(0, 10)),
                memory=draw(st.integers(0, 10)),
                pools=pools,
                tenants=tuple(draw(st.lists(tenants, max_size=3))),
            )
        )
    return hosts


@st.composite
def machines(draw: st.DrawFn) -> list[Demand]:
    return [
        Demand(
            vm=f"m{number}",
            cpus=draw(st.integers(1, 4)),
            memory=draw(st.integers(1, 4)),
            disks=draw(disks),
            labels=draw(labels),
            placement=draw(placements),
        )
        for number in range(draw(st.integers(1, 5)))
    ]


def decided(
    demands: Sequence[Demand], hosts: Sequence[HostCapacity], algorithm: Algorithm
) -> Mapping[str, Decision]:
    decisions = place(demands, hosts, algorithm)
    assert decisions.keys() == {demand.vm for demand in demands}
    return decisions


def after_all(
    demands: Sequence[Demand], hosts: Sequence[HostCapacity], decisions: Mapping[str, Decision]
) -> list[HostUsage]:
    """The hosts once every machine has come, and those that were waited for have gone."""
    world = []
    for host in hosts:
        coming = [demand for demand in demands if decisions[demand.vm].host == host.name]
        gone = {vm for demand in coming for vm in decisions[demand.vm].after}
        staying = [t for t in host.tenants if not (t.leaving and t.vm in gone)]
        world.append(HostUsage(replace(host, tenants=(*staying, *map(tenant_of, coming)))))
    return world


def overfull(host: HostUsage) -> set[str]:
    pools = {pool for pool in host.disks if host.free_disk(pool) < 0}
    return pools | {
        name for name, free in {"#cpus": host.free_cpus, "#memory": host.free_memory}.items() if free < 0
    }


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_never_over_capacity(demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm) -> None:
    decisions = decided(demands, hosts, algorithm)
    for host in after_all(demands, hosts, decisions):
        newcomers = [demand for demand in demands if decisions[demand.vm].host == host.name]
        asked = {pool for demand in newcomers for pool, size in host.by_pool(demand.disks).items() if size}
        asked |= {"#cpus", "#memory"} if newcomers else set()
        assert not overfull(host) & asked


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_the_order_of_hosts_and_machines_changes_nothing(
    demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm
) -> None:
    straight = decided(demands, hosts, algorithm)
    assert decided(demands[::-1], hosts[::-1], algorithm) == straight
    assert decided(demands[1:] + demands[:1], hosts, algorithm) == straight


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_required_anti_affinity_is_never_broken_in_either_direction(
    demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm
) -> None:
    decisions = decided(demands, hosts, algorithm)
    world = after_all(demands, hosts, decisions)
    new = {demand.vm for demand in demands}
    everybody = [(host, tenant) for host in world for tenant in host.tenants]
    for one_host, one in everybody:
        for wish in one.placement.anti_affinity:
            if wish.policy is not Policy.REQUIRED:
                continue
            here = place_of(one_host.capacity, wish.over)
            for other_host, other in everybody:
                if other is one or not {one.vm, other.vm} & new:
                    continue
                together = place_of(other_host.capacity, wish.over) == here
                assert not (together and wish.selector.items() <= other.labels.items())


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_the_skew_is_kept_for_a_machine_that_comes_alone(
    demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm
) -> None:
    demand = demands[0]
    decision = decided([demand], hosts, algorithm)[demand.vm]
    if decision.host is None:
        return
    world = {host.name: host for host in after_all([demand], hosts, {demand.vm: decision})}
    for wish in demand.placement.spread:
        if wish.policy is not Policy.REQUIRED:
            continue
        counts: Counter[tuple[str, str]] = Counter()
        for host in world.values():
            meant = sum(wish.selector.items() <= tenant.labels.items() for tenant in host.tenants)
            counts[place_of(host.capacity, wish.over)] += meant
        eligible = [h for h in world.values() if refusal(STANDING, demand, h) is None]
        emptiest = min(counts[place_of(host.capacity, wish.over)] for host in eligible)
        mine = counts[place_of(world[decision.host].capacity, wish.over)]
        assert mine - emptiest <= wish.max_skew


def fits(demand: Demand, hosts: Sequence[HostCapacity], name: str) -> bool:
    """By brute force: whether the machine may stand on that host, told from the words of the rules alone."""
    host = HostUsage(next(host for host in hosts if host.name == name))
    if refusal(STANDING, demand, host) is not None:
        return False
    if host.free_cpus < demand.cpus or host.free_memory < demand.memory:
        return False
    if any(host.free_disk(pool) < size for pool, size in host.by_pool(demand.disks).items()):
        return False
    for other_host in hosts:
        for other in other_host.tenants:
            for wish, labels_meant in [(w, other.labels) for w in demand.placement.anti_affinity] + [
                (w, demand.labels) for w in other.placement.anti_affinity
            ]:
                together = place_of(other_host, wish.over) == place_of(host.capacity, wish.over)
                meant = wish.selector.items() <= labels_meant.items()
                if wish.policy is Policy.REQUIRED and together and meant:
                    return False
    return all(even_enough(demand, hosts, host, wish) for wish in demand.placement.spread)


def even_enough(demand: Demand, hosts: Sequence[HostCapacity], target: HostUsage, wish: Spread) -> bool:
    if wish.policy is not Policy.REQUIRED:
        return True

    def count(place: tuple[str, str]) -> int:
        return sum(
            wish.selector.items() <= tenant.labels.items()
            for host in hosts
            if place_of(host, wish.over) == place
            for tenant in host.tenants
        )

    eligible = [host for host in hosts if refusal(STANDING, demand, HostUsage(host)) is None]
    emptiest = min(count(place_of(host, wish.over)) for host in eligible)
    self_counts = wish.selector.items() <= demand.labels.items()
    return count(place_of(target.capacity, wish.over)) + self_counts - emptiest <= wish.max_skew


def without(hosts: Sequence[HostCapacity], name: str, gone: Sequence[Tenant]) -> list[HostCapacity]:
    return [
        replace(host, tenants=tuple(t for t in host.tenants if not any(t is g for g in gone)))
        if host.name == name
        else host
        for host in hosts
    ]


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_a_decision_is_what_brute_force_says(
    demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm
) -> None:
    """One machine: refused means that it fits nowhere, not even after all that leave one host are gone."""
    demand = demands[0]
    decision = decided([demand], hosts, algorithm)[demand.vm]
    free = [host.name for host in hosts if fits(demand, hosts, host.name)]
    if free:
        assert decision.host in free
        assert decision.after == ()
        assert {c.host for c in decision.runners_up} <= set(free)
        return
    cleared = [
        host.name
        for host in hosts
        if fits(demand, without(hosts, host.name, [t for t in host.tenants if t.leaving]), host.name)
    ]
    if decision.host is None:
        assert not cleared
        assert sum(decision.rejected.values()) == len(hosts) == len(decision.reasons)
    else:
        assert decision.host in cleared
        assert decision.after


@given(machines(), fleets(), algorithms)
@settings(max_examples=50, deadline=None)
def test_nobody_is_waited_for_without_need(
    demands: list[Demand], hosts: list[HostCapacity], algorithm: Algorithm
) -> None:
    """Dropping any single one from `after` makes the machine not fit."""
    distinct = [
        replace(host, tenants=tuple(replace(t, vm=f"{host.name}-{n}") for n, t in enumerate(host.tenants)))
        for host in hosts
    ]
    demand = demands[0]
    decision = decided([demand], distinct, algorithm)[demand.vm]
    if decision.host is None or not decision.after:
        return
    resident = {t.vm: t for host in distinct for t in host.tenants if host.name == decision.host}
    needed = [resident[vm] for vm in decision.after]
    assert all(tenant.leaving for tenant in needed)
    assert fits(demand, without(distinct, decision.host, needed), decision.host)
    for fewer in combinations(needed, len(needed) - 1):
        assert not fits(demand, without(distinct, decision.host, fewer), decision.host)


@given(fleets(), st.lists(st.tuples(st.integers(0, 3), tenants), max_size=6), st.randoms())
@settings(max_examples=50, deadline=None)
def test_add_then_remove_is_identity(
    hosts: list[HostCapacity], coming: list[tuple[int, Tenant]], order: object
) -> None:
    rules = [Demand("rules", 1, 1, placement=tenant.placement) for _, tenant in coming]
    usage = FleetUsage(hosts, rules)
    before = snapshot(usage)
    added = [(index % len(hosts), replace(tenant)) for index, tenant in coming]
    for index, tenant in added:
        usage.add(index, tenant)
    order.shuffle(added)  # type: ignore[attr-defined]
    for index, tenant in added:
        usage.remove(index, tenant)
    assert snapshot(usage) == before


def snapshot(usage: FleetUsage) -> object:
    counts = [(h.cpus, h.memory, dict(h.disks), h.machines, h.tenants) for h in usage.hosts]
    company = usage.company
    rules = list(company._matching)
    crowds = {rule: (sorted(company.fuller(rule, 0)), sorted(company.kept_free(rule))) for rule in rules}
    return counts, crowds


@given(st.integers(), fleets(), machines())
@settings(max_examples=50, deadline=None)
def test_a_seed_fixes_the_dice(seed: int, hosts: list[HostCapacity], demands: list[Demand]) -> None:
    first, second = (BUILT_IN["random"](AllocatorConfig(seed=seed)) for _ in range(2))
    assert decided(demands, hosts, first) == decided(demands, hosts, second)
