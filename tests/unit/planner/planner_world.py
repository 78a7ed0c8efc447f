"""A fleet in memory that carries out plans: what libvirt would do, without libvirt, for tests of plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain_world import CHANGES, resolved
from network_world import ON_NETWORKS, carry_out
from storage_world import ON_POOLS

from reconciler.model import operations as ops
from reconciler.model.capacity import Demand, HostCapacity
from reconciler.model.desired import DesiredState
from reconciler.model.domain import (
    Applied,
    DomainConfig,
    DomainState,
    ObservedDomain,
)
from reconciler.model.host import Host, HostStatus, ObservedHost, ObservedNetwork, Pool
from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.network import Network
from reconciler.model.network_config import Lease
from reconciler.model.placement import (
    AddressRecord,
    Candidate,
    ClaimRecord,
    Decision,
    Phase,
    Record,
    VolumeRecord,
)
from reconciler.model.plan import Action, Blocked, Plan, Verb
from reconciler.model.storage import Image, StoragePool, Volume
from reconciler.planner import Memo, Situation, Survey, make_plan, survey

GI = 1 << 30
POOL_PATH = "/pool"
OWNER = "default"


def desired_state(
    machines: Mapping[str, Mapping[str, Any]],
    *,
    types: Mapping[str, Mapping[str, Any]] | None = None,
    images: Mapping[str, Mapping[str, Any]] | None = None,
    templates: Mapping[str, str] | None = None,
    pools: Mapping[str, Mapping[str, Any]] | None = None,
    volumes: Mapping[str, Mapping[str, Any]] | None = None,
    networks: Mapping[str, Mapping[str, Any]] | None = None,
    revision: str = "rev-1",
) -> DesiredState:
    """A desired state from specs by name; `labels` in a spec are the metadata's."""
    return DesiredState(
        revision=revision,
        machines={name: _machine(name, spec) for name, spec in machines.items()},
        instance_types={
            name: InstanceType.model_validate({"metadata": {"name": name}, "spec": dict(spec)})
            for name, spec in (types or {}).items()
        },
        images={
            name: Image.model_validate({"metadata": {"name": name}, "spec": _image(name, spec)})
            for name, spec in (images or {}).items()
        },
        templates=dict(templates or {}),
        pools={
            name: StoragePool.model_validate({"metadata": {"name": name}, "spec": dict(spec)})
            for name, spec in (pools or {}).items()
        },
        volumes={
            name: Volume.model_validate({"metadata": {"name": name}, "spec": dict(spec)})
            for name, spec in (volumes or {}).items()
        },
        networks={
            name: Network.model_validate({"metadata": {"name": name}, "spec": dict(spec)})
            for name, spec in (networks or {}).items()
        },
    )


def _machine(name: str, spec: Mapping[str, Any]) -> VirtualMachine:
    own = {key: value for key, value in spec.items() if key != "labels"}
    if "instanceType" not in own:
        own = {"cpus": 1, "memory": "128Mi"} | own
    return VirtualMachine.model_validate(
        {"metadata": {"name": name, "labels": dict(spec.get("labels", {}))}, "spec": own}
    )


def _image(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": f"/images/{name}.qcow2", "sha256": "0" * 64} | dict(spec)


def numbered_uids() -> Callable[[str], str]:
    """Uids that a test can read: 00000000-0000-4000-8000-000000000001 and so on."""
    count = 0

    def next_uid(_vm: str) -> str:
        nonlocal count
        count += 1
        return uid(count)

    return next_uid


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@dataclass
class SimDomain:
    """A domain as the simulated libvirt holds it."""

    config: DomainConfig
    live: DomainConfig | None = None
    state: DomainState = DomainState.SHUT_OFF
    state_reason: str = "unknown"
    persistent: bool = True
    applied: Applied | None = None
    applied_live: Applied | None = None
    foreign_owner: str = ""


@dataclass
class SimHost:
    """A host with its domains and one or more pools (name to volumes)."""

    host: Host
    domains: dict[str, SimDomain] = field(default_factory=dict)
    pools: dict[str, set[str]] = field(default_factory=lambda: {"default": set()})
    described: dict[str, Pool] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    networks: dict[str, ObservedNetwork] = field(default_factory=dict)
    down: str | None = None
    status: HostStatus = HostStatus.UNREACHABLE
    uuid: str = ""
    nics: frozenset[str] = frozenset()
    libvirt: str = "9.0.0"
    cpus: int = 8
    memory: int = 8 * GI
    hardware: frozenset[str] | None = None

    def observe(self) -> ObservedHost:
        name = self.host.name
        if self.down is not None:
            return ObservedHost(name, self.status, self.down)
        return ObservedHost(
            name=name,
            status=HostStatus.READY,
            arch="x86_64",
            cpus=self.cpus,
            memory=self.memory,
            virt_types=frozenset({"qemu"}),
            firmwares=frozenset({"bios", "uefi"}),
            networks=frozenset({"default", "lan"} | {n.name for n in self.networks.values() if n.active}),
            network_configs=dict(self.networks),
            libvirt_version=self.libvirt,
            bridges=frozenset({"br0"}),
            pools={pool: self._pool(pool, volumes) for pool, volumes in self.pools.items()},
            domains={
                key: ObservedDomain(
                    name,
                    domain.config,
                    domain.live,
                    domain.state,
                    domain.state_reason,
                    domain.persistent,
                    domain.applied,
                    domain.applied_live,
                    domain.foreign_owner,
                )
                for key, domain in self.domains.items()
            },
            uuid=self.uuid,
            nics=self.nics,
            hardware=self.hardware,
        )

    def _pool(self, name: str, volumes: set[str]) -> Pool:
        known = self.described.get(name) or Pool(name, "dir", f"{POOL_PATH}/{name}", True, 100 * GI, 50 * GI)
        sizes = {volume: self.sizes[volume] for volume in volumes if volume in self.sizes}
        return replace(
            known,
            volumes=frozenset(volumes) if known.active else frozenset(),
            sizes=sizes if known.active else {},
        )


@dataclass
class World:
    """Hosts, the store's records, and a way to carry plans out."""

    hosts: dict[str, SimHost] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    new_uid: Callable[[str], str] = field(default_factory=numbered_uids)
    never_seen: frozenset[str] = frozenset()
    held: dict[str, Blocked] = field(default_factory=dict)
    dead: dict[str, Record] = field(default_factory=dict)
    volumes: dict[str, VolumeRecord] = field(default_factory=dict)
    claims: set[ClaimRecord] = field(default_factory=set)
    dead_hosts: set[str] = field(default_factory=set)
    addresses: set[AddressRecord] = field(default_factory=set)
    leases: set[Lease] = field(default_factory=set)

    def add_host(self, name: str, **settings: Any) -> SimHost:
        ours = ("down", "cpus", "memory", "hardware", "libvirt")
        own = {key: settings.pop(key) for key in ours if key in settings}
        if "hardware" in own:
            own["hardware"] = frozenset(own["hardware"])
        self.hosts[name] = SimHost(Host(name, f"test:///{name}", **settings), **own)
        return self.hosts[name]

    def situation(self, desired: DesiredState) -> Situation:
        return Situation(
            desired=desired,
            hosts={name: host.host for name, host in self.hosts.items()},
            fleet={name: host.observe() for name, host in self.hosts.items()},
            records=dict(self.records),
            owner=OWNER,
            never_seen=self.never_seen,
            held=dict(self.held),
            dead=dict(self.dead),
            volumes=dict(self.volumes),
            claims=frozenset(self.claims),
            dead_hosts=frozenset(self.dead_hosts),
            addresses=frozenset(self.addresses),
            leases=frozenset(self.leases),
        )

    def plan(self, desired: DesiredState, memo: Memo | None = None) -> tuple[Survey, Plan]:
        seen = survey(self.situation(desired), memo)
        return seen, make_plan(seen, place(seen.demands, seen.capacities), self.new_uid, memo)

    def look(self) -> None:
        """Write down what the marks prove, as the engine does after every tick."""
        for name, host in self.hosts.items():
            for key, domain in host.domains.items() if host.down is None else ():
                mark = domain.applied or domain.applied_live
                if mark is not None:
                    self.records[mark.name] = Record(mark.name, key, name, mark.generation, Phase.PLACED)
                    self._note_addresses(mark)

    def _note_addresses(self, mark: Applied) -> None:
        """What its mark says a machine has, and no more."""
        self.addresses = {known for known in self.addresses if known.vm != mark.name}
        self.addresses |= {
            AddressRecord(mark.name, nic.name, nic.network, nic.address)
            for nic in mark.config.interfaces or ()
            if nic.address and nic.network and nic.name
        }

    def settle(self, desired: DesiredState, ticks: int = 3) -> Plan:
        """Plan and apply until nothing is left to do; returns the last plan, which is empty."""
        for _ in range(ticks):
            _, plan = self.plan(desired)
            if plan.empty:
                return plan
            self.apply(plan)
        raise AssertionError(f"not settled after {ticks} ticks: {[a.id for a in plan.actions]}")

    def apply(self, plan: Plan, *, only: int | None = None) -> None:
        """Carry the plan out, or just its first `only` actions, as after a crash."""
        for change in plan.changes:
            if change.verb in (Verb.CREATE, Verb.REPLACE):
                record = Record(change.vm, change.uid, change.host, change.generation, Phase.INTENDED)
                self.records[change.vm] = record
        done: set[str] = set()
        for action in plan.actions[:only]:
            missing = [name for name in action.after if name not in done]
            assert not missing, f"{action.id} runs before {missing}"
            self._do(action)
            done.add(action.id)
        if only is None:
            self._record(plan)

    def _record(self, plan: Plan) -> None:
        for change in plan.changes:
            if change.verb is Verb.DELETE:
                self.records[change.vm] = Record(
                    change.vm, change.uid, change.host, change.generation, Phase.RETAINED
                )
            elif change.verb in (Verb.CREATE, Verb.REPLACE):
                self.records[change.vm] = replace(self.records[change.vm], phase=Phase.PLACED)

    def domain(self, where: str) -> SimDomain:
        """``host/name``."""
        host, name = where.split("/", 1)
        return next(d for d in self.hosts[host].domains.values() if d.config.name == name)

    def _do(self, action: Action) -> None:
        host = self.hosts[action.host]
        assert host.down is None, f"{action.id} on a host that does not answer"
        operation = action.operation
        if type(operation) in ON_NETWORKS:
            carry_out(host, operation)
        elif type(operation) in ON_POOLS:
            ON_POOLS[type(operation)](self, host, action)
        elif isinstance(operation, ops.Define):
            self._define(host, operation)
        elif isinstance(operation, ops.Undefine):
            if action.uid in host.domains:
                assert not host.domains[action.uid].state.active, "undefined while it runs"
                del host.domains[action.uid]
        elif isinstance(operation, ops.Stop) and not host.domains[action.uid].persistent:
            del host.domains[action.uid]
        else:
            domain = host.domains[action.uid]
            if isinstance(operation, (ops.Redefine, ops.Define)):
                self._alone(operation.config)
            assert domain.applied is not None or isinstance(operation, ops.Mark), "a domain that is not ours"
            CHANGES[type(operation)](domain, operation)

    def users(self, volume: str) -> list[str]:
        """Names of the domains that have a volume, on any host."""
        return [
            domain.config.name
            for host in self.hosts.values()
            for domain in host.domains.values()
            for side in (domain.config, domain.live)
            for disk in (side.disks if side else None) or ()
            if disk.path.rpartition("/")[2] == volume
        ]

    def _alone(self, config: DomainConfig) -> None:
        """Nobody else has a volume of this domain, running or not."""
        mine = {disk.path for disk in config.disks or () if disk.volume and not disk.shared}
        for host in self.hosts.values():
            for key, domain in host.domains.items():
                for side in (domain.config, domain.live) if key != config.uuid else ():
                    both = mine & {disk.path for disk in (side.disks if side else None) or ()}
                    assert not both, f"{both} would be in {config.name} and {domain.config.name}"

    def _define(self, host: SimHost, operation: ops.Define) -> None:
        config = resolved(operation.config)
        for other in self.hosts.values():
            for key, domain in other.domains.items():
                assert key != config.uuid or other is host, f"{config.name} would exist twice"
                ours = domain.applied or domain.applied_live
                same_machine = ours is not None and ours.uid == key and ours.name == operation.applied.name
                assert not same_machine or key == config.uuid, f"{config.name} would exist twice"
                same_name = other is host and domain.config.name == config.name
                assert not same_name or key == config.uuid, f"{config.name} is taken on {host.host.name}"
        self._alone(config)
        for disk in config.disks or ():
            if disk.path.startswith(POOL_PATH):
                pool, volume = disk.path.removeprefix(f"{POOL_PATH}/").split("/")
                assert volume in host.pools[pool], f"{disk.path} does not exist"
        known = host.domains.get(config.uuid)
        if known is None:
            host.domains[config.uuid] = SimDomain(config, applied=operation.applied)
        else:
            known.config, known.persistent, known.applied = config, True, operation.applied


def adverse(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The last action that may go first goes first: hosts work in parallel, and only `after` binds them."""
    left, order = list(actions), list[Action]()
    while left:
        done = {action.id for action in order}
        free = next(action for action in reversed(left) if set(action.after) <= done)
        left.remove(free)
        order.append(free)
    return tuple(order)


def place(demands: tuple[Demand, ...], capacities: tuple[HostCapacity, ...]) -> dict[str, Decision]:
    """First fit by memory: as little allocator as the planner's tests need."""
    stay = {host.name: sum(t.memory for t in host.tenants if not t.leaving) for host in capacities}
    leaving = {host.name: sum(t.memory for t in host.tenants if t.leaving) for host in capacities}
    decisions = {}
    for demand in demands:
        fits = [
            host
            for host in sorted(capacities, key=lambda host: host.name)
            if host.alive
            and not host.maintenance
            and demand.placement.host in (None, host.name)
            and demand.only in (None, host.name)
            and host.name not in demand.not_on
            and stay[host.name] + demand.memory <= host.memory
        ]
        if not fits:
            decisions[demand.vm] = Decision(
                demand.vm,
                None,
                "first-fit",
                rejected={"memory": len(capacities)},
                message="no host has the memory",
            )
            continue
        host = fits[0]
        stay[host.name] += demand.memory
        crowded = stay[host.name] + leaving[host.name] > host.memory
        after = tuple(sorted(t.vm for t in host.tenants if t.leaving)) if crowded else ()
        decisions[demand.vm] = Decision(
            demand.vm,
            host.name,
            "first-fit",
            runners_up=tuple(Candidate(other.name, 0.5) for other in fits[1:3]),
            after=after,
        )
    return decisions
