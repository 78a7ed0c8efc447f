"""Everything that a plan depends on, as values; and what may be remembered from one tick to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reconciler.model.desired import DesiredState
from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Fleet, Host, HostStatus, ObservedHost
from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.network import IPAddress, Network
from reconciler.model.network_config import Lease
from reconciler.model.placement import (
    AddressRecord,
    ClaimRecord,
    ImageKey,
    Record,
    VolumeRecord,
    parse_volume_name,
)
from reconciler.model.plan import Blocked
from reconciler.model.pool import pool_slot
from reconciler.model.status import Condition
from reconciler.model.storage import Image
from reconciler.planner.outcome import Outcome
from reconciler.planner.volumes import Home, homes_in, uid_in_path


@dataclass(frozen=True, slots=True)
class Situation:
    """The world as one tick sees it.

    Attributes:
        desired: What people asked for.
        hosts: The inventory, by name.
        fleet: What the hosts answered, by name.
        records: What the store knows, by machine.
        owner: Whose marks are ours.
        never_seen: Hosts that do not answer and that this store never saw: anything of ours may run there.
        held: Machines that must wait before they are tried again, with what to tell people.
        dead: What was on record of machines whose host an operator declared dead; not in `records`.
        volumes: What the store knows of volumes, by name, but for those on a host declared dead.
        claims: The claims of volumes that we made.
        dead_hosts: Hosts that an operator declared dead, and that still do not answer.
        addresses: What the store knows of machines' addresses.
        stale_images: Volumes of images that we brought, and that nothing needed for long.
        leases: What the DHCP of the hosts that answer gave away; whatever chooses no new address ignores it.
        asked: Machines whose deletion their pool asked for, and machines and volumes (by key) that somebody
            asked to be deleted by their names: no limit counts it.
        members: Machines of pools, by what is on record.
    """

    desired: DesiredState
    hosts: Mapping[str, Host]
    fleet: Fleet
    records: Mapping[str, Record] = field(default_factory=dict)
    owner: str = "default"
    never_seen: frozenset[str] = frozenset()
    held: Mapping[str, Blocked] = field(default_factory=dict)
    dead: Mapping[str, Record] = field(default_factory=dict)
    volumes: Mapping[str, VolumeRecord] = field(default_factory=dict)
    claims: frozenset[ClaimRecord] = frozenset()
    dead_hosts: frozenset[str] = frozenset()
    addresses: frozenset[AddressRecord] = frozenset()
    stale_images: frozenset[ImageKey] = frozenset()
    leases: frozenset[Lease] = frozenset()
    asked: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()

    def stray(self, vm: str) -> Blocked | None:
        """Why a machine with a domain must be left alone: it is of a pool, and this store did not make it.

        The store that knew it was lost, so somebody may work with it; also if its slot was given away since.
        """
        found = pool_slot(vm) if self.desired.machine_pools else None
        if found is None or found[0] not in self.desired.machine_pools:
            return None
        declared = vm in self.desired.machines and vm not in self.members
        if declared or vm in self.records or vm in self.dead:
            return None
        message = f"it is of the pool {found[0]}, and nothing is on record of it: somebody may work with it"
        return Blocked(vm, "NotOnRecord", message)

    def known(self, host: str) -> bool:
        """True if a domain's absence on this host is evidence that it is not there."""
        return host in self.hosts and host in self.fleet and self.fleet[host].known

    def listed(self, host: str) -> bool:
        """True if the inventory has it, so that it was asked."""
        return host in self.hosts and host in self.fleet

    def why_unknown(self, host: str) -> str:
        """In few words, why a host is not known: they are said of each of its machines."""
        if not self.listed(host):
            return f"{host} is no longer in the inventory"
        return f"{host} does not answer ({self.fleet[host].status})"

    def trouble(self, host: str) -> str:
        """The same with all that is known of it: said once."""
        told = self.fleet[host].message if self.listed(host) else ""
        return self.why_unknown(host) + (f": {told}" if told else "")

    def declarable(self, host: str) -> bool:
        """True if it may be off: it is gone from the inventory, or nothing at all answers there."""
        return not self.listed(host) or self.fleet[host].status is HostStatus.UNREACHABLE

    def remedy(self, host: str) -> str:
        """What to do about a host that is not known.

        One that shows a sign of life may well run its machines: nobody may call that dead.
        """
        if not self.declarable(host):
            return f"mend it (`reconciler doctor {host}`)"
        return f"if you know that it is off for good: `reconciler hosts declare-dead {host}`"


@dataclass(frozen=True, slots=True)
class Site:
    """The part of a host that the configuration of a machine on it hangs on.

    Free space and other machines change all the time; as long as this does not, nor does the plan of an
    unchanged machine.
    """

    host: Host
    virt_types: frozenset[str]
    pools: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class HostIndex:
    """One host's domains, sorted into ours by machine name and the others.

    Attributes:
        observed: The host, as it answered.
        ours: By machine name; of twins the first.
        uids: Of those in `ours`.
        twins: Machine name to domains that all claim to be it.
        strangers: Domains without our mark.
    """

    observed: ObservedHost
    ours: Mapping[str, ObservedDomain]
    uids: frozenset[str]
    twins: Mapping[str, tuple[ObservedDomain, ...]]
    strangers: tuple[ObservedDomain, ...]

    @cached_property
    def volumes(self) -> frozenset[tuple[str, str]]:
        """Machine name and uid of every volume that we made; read on first use."""
        return frozenset(
            parsed[:2]
            for pool in self.observed.pools.values()
            if pool.active
            for volume in pool.volumes
            if (parsed := parse_volume_name(volume)) is not None
        )

    @cached_property
    def homes(self) -> tuple[Home, ...]:
        """Volumes with a life of their own that it shows; read on first use."""
        return tuple(homes_in(self.observed.name, self.observed.pools))

    @cached_property
    def volume_users(self) -> tuple[tuple[str, ObservedDomain], ...]:
        """Uid of such a volume and a domain that has it, each pair once."""
        return tuple(
            {
                (uid, domain.uuid): (uid, domain)
                for domain in self.observed.domains.values()
                for config in (domain.config, domain.live)
                for disk in (config.disks if config else None) or ()
                if (uid := uid_in_path(disk.path)) is not None
            }.values()
        )


@dataclass(frozen=True, slots=True)
class Remembered:
    """The inputs of a machine's plan, and what came of them. Inputs are compared by identity."""

    vm: VirtualMachine
    instance_type: InstanceType | None
    image: Image | None
    template: str | None
    template_text: str | None
    networks: Mapping[str, Network]
    domain: ObservedDomain
    site: Site
    outcome: Outcome
    addresses: Mapping[str, str] = field(default_factory=dict)


class Memo:
    """What the last tick worked out, so that the next need not: a cache, never a source of truth.

    A result with a memo equals the one without.  It belongs to one thread.
    """

    def __init__(self) -> None:
        self.indexes: dict[str, HostIndex] = {}
        self.sites: dict[str, tuple[ObservedHost, Site]] = {}
        self.outcomes: dict[str, Remembered] = {}
        self.desired: DesiredState | None = None
        self.suspended: frozenset[str] = frozenset()
        self.wishes: tuple[DesiredState, tuple[tuple[str, str, str, IPAddress | None], ...]] | None = None
        self.conditions: dict[str, tuple[ObservedDomain | None, VirtualMachine, tuple[Condition, ...]]] = {}

    def site(self, host: Host, observed: ObservedHost) -> Site:
        """The host's site: the same object as long as nothing in it changed."""
        last = self.sites.get(observed.name)
        if last is not None and last[0] is observed and last[1].host is host:
            return last[1]
        pools = tuple(
            sorted(
                (pool.name, pool.type, pool.path, pool.source, *pool.hosts, pool.auth or "", str(pool.active))
                for pool in observed.pools.values()
            )
        )
        site = Site(host, observed.virt_types, pools)
        if last is not None and last[1] == site:
            site = last[1]
        self.sites[observed.name] = (observed, site)
        return site
