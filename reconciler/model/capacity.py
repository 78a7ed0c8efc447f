"""What a machine asks of a host, and what a host has to give: all that an allocator sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.manifest import Placement


@dataclass(frozen=True, slots=True)
class Demand:
    """What one machine needs. Memory and disk sizes in bytes.

    Attributes:
        vm: The machine.
        cpus: Virtual cpus (the maximum it can grow to).
        memory: Bytes (the maximum it can grow to).
        disks: Pool name to bytes; the empty name is the host's default pool.
        arch: Needed architecture, or None.
        firmware: Needed firmware, or None.
        networks: libvirt networks that must be active on the host.
        bridges: Bridges that must exist on the host.
        labels: The machine's own labels, which others' anti-affinity looks at.
        placement: The user's wishes.
        only: The single host where it can be (its kept disks lie there), or None.
        hardware: What the host must be capable of, in the words of `ObservedHost.hardware`.
        not_on: Hosts where it cannot be, because a domain that is not ours has its name there.
    """

    vm: str
    cpus: int
    memory: int
    disks: Mapping[str, int] = field(default_factory=dict)
    arch: str | None = None
    firmware: str | None = None
    networks: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = Placement()
    only: str | None = None
    not_on: frozenset[str] = frozenset()
    hardware: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A machine that holds capacity on a host.

    Attributes:
        vm: Name; for a domain that is not ours its domain name.
        cpus: Virtual cpus.
        memory: Bytes.
        labels: Its labels; empty for a foreign domain.
        placement: Its wishes (its anti-affinity also keeps newcomers away).
        ours: False for a domain without our mark.
        leaving: The plan deletes it: its room is free once that is done.
        disks: Pool name to bytes that are promised but not yet written (an intent); empty for a domain
            that exists, whose disks the pool's own free space already shows.
    """

    vm: str
    cpus: int
    memory: int
    labels: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = Placement()
    ours: bool = True
    leaving: bool = False
    disks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostCapacity:
    """A host as the allocator sees it. Memory and pool sizes in bytes.

    Attributes:
        name: Inventory name.
        alive: Its answer can be believed.
        message: Why not, when it cannot.
        maintenance: Nothing new goes here.
        arch: Architecture.
        labels: Host labels.
        cpus: Virtual cpus it may carry in all: real ones times overcommit.
        memory: Bytes it may carry in all: (real - reserved) times overcommit.
        pools: Pool name to free bytes; a missing name is a missing or inactive pool.
        default_pool: The pool meant by the empty name.
        firmwares: Usable firmwares.
        networks: Active networks.
        bridges: Bridges, or None when the host cannot tell.
        hardware: What machines can be given here, or None when the host cannot tell.
        tenants: Who holds capacity here.
    """

    name: str
    alive: bool
    message: str = ""
    maintenance: bool = False
    arch: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 0
    memory: int = 0
    pools: Mapping[str, int] = field(default_factory=dict)
    default_pool: str = "default"
    firmwares: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    bridges: frozenset[str] | None = None
    tenants: tuple[Tenant, ...] = ()
    hardware: frozenset[str] | None = None
