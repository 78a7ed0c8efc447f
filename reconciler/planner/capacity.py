"""What newcomers ask for and what hosts have to give: the planner's half of the talk with the allocator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Host, ObservedHost
from reconciler.model.placement import Phase, volume_name
from reconciler.planner.blueprint import Blueprint, blueprint
from reconciler.planner.diff import mark_of
from reconciler.planner.hardware import needs_of
from reconciler.planner.index import FleetIndex
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.resolve import find_volume, wanted_disks
from reconciler.planner.same_host import Twins, told
from reconciler.planner.situation import Situation


def demands(situation: Situation, newcomers: Mapping[str, Newcomer]) -> tuple[Demand, ...]:
    """What the newcomers ask for: first those that can go to one host alone, each group by name."""
    asked = [demand_of(situation, newcomers[name]) for name in sorted(newcomers)]
    return tuple(sorted(asked, key=lambda demand: demand.only is None))


def demand_of(situation: Situation, newcomer: Newcomer) -> Demand:
    """What one newcomer asks for. Disks that were kept need no room."""
    vm = situation.desired.machines[newcomer.vm]
    plan = blueprint(situation.desired, vm, situation.owner)
    spec, sizes = vm.spec, plan.sizes
    return Demand(
        vm=newcomer.vm,
        cpus=sizes.max_cpus,
        memory=sizes.max_memory,
        disks=_new_disks(plan, newcomer, situation),
        arch=plan.arch,
        firmware=plan.firmware,
        networks=frozenset(i.network for i in spec.interfaces if i.network),
        bridges=frozenset(i.bridge for i in spec.interfaces if i.bridge),
        labels=vm.metadata.labels,
        placement=spec.placement,
        only=newcomer.only,
        not_on=newcomer.not_on,
        hardware=needs_of(plan),
    )


def _new_disks(plan: Blueprint, newcomer: Newcomer, situation: Situation) -> dict[str, int]:
    home = situation.fleet.get(newcomer.only) if newcomer.only else None
    needed: dict[str, int] = defaultdict(int)
    volumes = {one.disk: one.file for one in plan.volumes}
    for name, disk in wanted_disks(plan).items():
        if disk.path is not None:
            continue
        if name in volumes:
            # Its pool has to be there; room it takes only if it has yet to be made.
            seen = any(h.known and find_volume(h, volumes[name]) for h in situation.fleet.values())
            needed[disk.pool or ""] += 0 if seen else disk.size or 0
            continue
        volume = volume_name(plan.name, newcomer.uid or "", name, str(disk.format))
        if home is None or find_volume(home, volume) is None:
            needed[disk.pool or ""] += disk.size or 0
    return dict(needed)


def capacities(
    situation: Situation,
    index: FleetIndex,
    newcomers: Mapping[str, Newcomer],
    leaving: Mapping[str, ObservedDomain],
    same: Twins,
) -> tuple[HostCapacity, ...]:
    """What every host of the inventory has to give, by name; one that it has twice gives nothing."""
    promised = _promised(situation, index, newcomers)
    return tuple(
        _capacity(situation, host, leaving, promised.get(host.name, ()))
        if host.name not in same
        else _nothing(host, told(same[host.name]), promised.get(host.name, ()))
        for _, host in sorted(situation.hosts.items())
    )


def _capacity(
    situation: Situation, host: Host, leaving: Mapping[str, ObservedDomain], promised: Iterable[Tenant]
) -> HostCapacity:
    observed = situation.fleet.get(host.name)
    if observed is None or not observed.known:
        return _nothing(host, str(observed.status) if observed else "", promised)
    return HostCapacity(
        name=host.name,
        alive=True,
        message=observed.message,
        maintenance=host.maintenance,
        arch=observed.arch,
        labels=host.labels,
        cpus=int(observed.cpus * host.cpu_overcommit),
        memory=int(max(0, observed.memory - host.reserved_memory) * host.memory_overcommit),
        pools={name: pool.available for name, pool in sorted(observed.pools.items()) if pool.active},
        default_pool=host.pool,
        firmwares=observed.firmwares,
        networks=observed.networks,
        bridges=observed.bridges,
        hardware=observed.hardware,
        tenants=(*_tenants(situation, observed, leaving), *promised),
    )


def _nothing(host: Host, why: str, promised: Iterable[Tenant]) -> HostCapacity:
    return HostCapacity(
        name=host.name,
        alive=False,
        message=why,
        maintenance=host.maintenance,
        labels=host.labels,
        default_pool=host.pool,
        tenants=tuple(promised),
    )


def _tenants(
    situation: Situation, observed: ObservedHost, leaving: Mapping[str, ObservedDomain]
) -> Iterable[Tenant]:
    """Every machine of ours, running or not, and whatever else runs."""
    for domain in observed.domains.values():
        mark = mark_of(domain)
        if mark is None:
            if domain.state.active:
                yield Tenant(domain.name, *size_of(domain), ours=False)
            continue
        vm = situation.desired.machines.get(mark.name)
        cpus, memory = size_of(domain)
        if vm is None:
            yield Tenant(mark.name, cpus, memory, leaving=leaving.get(mark.name) is domain)
        else:
            yield Tenant(mark.name, cpus, memory, labels=vm.metadata.labels, placement=vm.spec.placement)


def size_of(domain: ObservedDomain) -> tuple[int, int]:
    """Cpus and bytes that it can grow to, now or after its next start."""
    sides = [side for side in (domain.config, domain.live) if side is not None]
    cpus = max(side.max_cpus or side.cpus or 0 for side in sides)
    return cpus, max(side.max_memory or side.memory or 0 for side in sides)


def _promised(
    situation: Situation, index: FleetIndex, newcomers: Mapping[str, Newcomer]
) -> dict[str, list[Tenant]]:
    """Machines that no host shows but that count where their record says: intents, and hosts out of sight.

    A newcomer is not among them: it asks for its room in a demand.
    """
    promised: dict[str, list[Tenant]] = defaultdict(list)
    for name, record in sorted(situation.records.items()):
        vm = situation.desired.machines.get(name)
        if vm is None or name in index.ours or name in index.twins or name in newcomers:
            continue
        if record.phase not in (Phase.INTENDED, Phase.PLACED):
            continue
        plan = blueprint(situation.desired, vm, situation.owner)
        newcomer = Newcomer(name, uid=record.uid, only=record.host)
        tenant = Tenant(
            name,
            plan.sizes.max_cpus,
            plan.sizes.max_memory,
            labels=vm.metadata.labels,
            placement=vm.spec.placement,
            disks=_new_disks(plan, newcomer, situation),
        )
        promised[record.host].append(tenant)
    return promised
