"""How much of every host is used, kept up to date by adding and removing machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.allocator.company import Company
from reconciler.model.capacity import Demand, HostCapacity, Tenant


class HostUsage:
    """One host and what is used of it: what filters, weighers and algorithms look at.

    Attributes:
        capacity: The host as it was reported, with the tenants of that time.
        cpus: Virtual cpus in use.
        memory: Bytes in use.
        disks: Pool name to bytes that are promised but not yet written.
        machines: How many of the machines here are ours.
    """

    __slots__ = ("_tenants", "capacity", "cpus", "disks", "machines", "memory")

    def __init__(self, capacity: HostCapacity) -> None:
        self.capacity = capacity
        self.cpus = 0
        self.memory = 0
        self.disks: dict[str, int] = {}
        self.machines = 0
        # By identity: a cloned domain carries a copied mark, and a machine that is replaced on its own
        # host is there twice for a while, so names are not unique.
        self._tenants: dict[int, Tenant] = {}
        for tenant in capacity.tenants:
            self.add(tenant)

    @property
    def name(self) -> str:
        """Inventory name."""
        return self.capacity.name

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """Who is here now."""
        return tuple(self._tenants.values())

    @property
    def free_cpus(self) -> int:
        """Virtual cpus left; negative when the host carries more than it should."""
        return self.capacity.cpus - self.cpus

    @property
    def free_memory(self) -> int:
        """Bytes left; negative when the host carries more than it should."""
        return self.capacity.memory - self.memory

    def free_disk(self, pool: str) -> int:
        """Bytes left in a pool (the empty name is the default one); 0 for a missing pool."""
        name = pool or self.capacity.default_pool
        return self.capacity.pools.get(name, 0) - self.disks.get(name, 0)

    def by_pool(self, disks: Mapping[str, int]) -> dict[str, int]:
        """Bytes by pool with the empty name resolved, so that two names of one pool add up."""
        named: dict[str, int] = {}
        for pool, size in disks.items():
            name = pool or self.capacity.default_pool
            named[name] = named.get(name, 0) + size
        return named

    def add(self, tenant: Tenant) -> None:
        """Count a machine as being here.

        Raises:
            ValueError: That very object is here already.
        """
        if id(tenant) in self._tenants:
            raise ValueError(f"{tenant.vm} is counted twice on {self.name}")
        self._tenants[id(tenant)] = tenant
        self._count(tenant, 1)

    def remove(self, tenant: Tenant) -> None:
        """Undo `add`.

        Raises:
            KeyError: It is not here.
        """
        del self._tenants[id(tenant)]
        self._count(tenant, -1)

    def _count(self, tenant: Tenant, sign: int) -> None:
        self.cpus += sign * tenant.cpus
        self.memory += sign * tenant.memory
        self.machines += sign * tenant.ours
        for pool, size in self.by_pool(tenant.disks).items():
            promised = self.disks.get(pool, 0) + sign * size
            if promised:
                self.disks[pool] = promised
            else:
                self.disks.pop(pool, None)


class FleetUsage:
    """All hosts by name, with who stands beside whom. Changes go through `add` and `remove` alone.

    Attributes:
        hosts: Sorted by name, so that the order in which they were reported never matters.
        versions: For each host a number that grows with every change of its usage.
        company: Counts of machines by label rule and place.
        largest_pool: The free bytes of the roomiest default pool at the start, at least 1.
    """

    def __init__(self, capacities: Iterable[HostCapacity], demands: Sequence[Demand] = ()) -> None:
        ordered = sorted(capacities, key=lambda capacity: capacity.name)
        own = without_reservations(ordered, {demand.vm for demand in demands})
        self.hosts = tuple(HostUsage(capacity) for capacity in own)
        self.versions = [0] * len(self.hosts)
        self.company = Company(own, demands)
        self.largest_pool = max((host.free_disk("") for host in self.hosts), default=1) or 1

    def add(self, index: int, tenant: Tenant) -> None:
        """Count a machine as being on the host with that index."""
        self.hosts[index].add(tenant)
        self.company.join(tenant, index)
        self.versions[index] += 1

    def remove(self, index: int, tenant: Tenant) -> None:
        """Undo `add`."""
        self.hosts[index].remove(tenant)
        self.company.leave(tenant, index)
        self.versions[index] += 1


def tenant_of(demand: Demand) -> Tenant:
    """The machine once it has a place; its disks are promised, not yet written."""
    return Tenant(
        vm=demand.vm,
        cpus=demand.cpus,
        memory=demand.memory,
        labels=demand.labels,
        placement=demand.placement,
        disks=demand.disks,
    )


def without_reservations(capacities: Sequence[HostCapacity], names: set[str]) -> list[HostCapacity]:
    """The hosts without what is reserved for machines that are being placed right now.

    A machine that asks for a place must not be kept from it by its own earlier reservation. One that
    is leaving stays: its room is free only after it has gone.
    """

    def mine(tenant: Tenant) -> bool:
        return tenant.ours and not tenant.leaving and tenant.vm in names

    return [
        replace(capacity, tenants=tuple(t for t in capacity.tenants if not mine(t)))
        if any(mine(tenant) for tenant in capacity.tenants)
        else capacity
        for capacity in capacities
    ]
