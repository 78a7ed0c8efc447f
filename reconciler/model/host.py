"""A host of the inventory, and what libvirt reports about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.model.domain import ObservedDomain
from reconciler.model.network_config import NetworkConfig


@dataclass(frozen=True, slots=True)
class Host:
    """A host as the Ansible inventory describes it.

    Attributes:
        name: Inventory name.
        uri: libvirt URI; made from Ansible's connection variables unless ``reconciler_uri`` says it.
        labels: ``reconciler_labels``.
        cpu_overcommit: Virtual cpus placed per real one (``reconciler_cpu_overcommit``).
        memory_overcommit: Bytes placed per real byte (``reconciler_memory_overcommit``).
        reserved_memory: Bytes kept for the host itself (``reconciler_reserved_memory``).
        virt_type: ``kvm``, ``qemu``, ``lxc`` or ``test``; None means the best that the host offers.
        pool: Storage pool for disks that name none (``reconciler_pool``).
        maintenance: Nothing new is placed here (``reconciler_maintenance``).
        deadline: Seconds that this host may take to answer (``reconciler_deadline``).
        xml_allow: Further elements that an XML template may use here (``reconciler_xml_allow``).
    """

    name: str
    uri: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_overcommit: float = 4.0
    memory_overcommit: float = 1.0
    reserved_memory: int = 512 << 20
    virt_type: str | None = None
    pool: str = "default"
    maintenance: bool = False
    deadline: float = 15.0
    xml_allow: tuple[str, ...] = ()


def name_and_port(server: str) -> tuple[str, str]:
    """``mon1`` and ``6789`` of ``mon1:6789``; ``::1`` of ``[::1]:6789``; the port is empty without one."""
    if server.startswith("["):
        name, _, rest = server[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = server.partition(":")
    return (server, "") if ":" in port else (name, port)


def server_name(name: str, port: str) -> str:
    """The way back from `name_and_port`."""
    shown = f"[{name}]" if ":" in name and port else name
    return f"{shown}:{port}" if port else shown


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool on a host, as libvirt reports it.

    Attributes:
        name: libvirt's.
        type: libvirt's word: ``dir``, ``logical``, ``netfs``, ``rbd`` …
        path: Where its volumes appear; empty for one without (rbd).
        active: It can be used.
        capacity: Bytes.
        available: Bytes.
        volumes: Names.
        sizes: Virtual size in bytes of each `Volume` in it that we made, by its name there.
        uuid: Tells ours from others'; empty for one that is not there yet.
        autostart: Started with its host.
        source: ``source.name``: volume group, Ceph pool or zpool; for netfs ``host:path``.
        hosts: ``name:port`` of its servers (rbd).
        auth: ``user:uuid`` of a libvirt secret, or None.
        pending: It is not there yet: the plan makes it.
    """

    name: str
    type: str
    path: str
    active: bool
    capacity: int
    available: int
    volumes: frozenset[str] = frozenset()
    uuid: str = ""
    autostart: bool = False
    source: str = ""
    hosts: tuple[str, ...] = ()
    auth: str | None = None
    pending: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """A libvirt network on a host.

    Attributes:
        name: libvirt's.
        uuid: Tells ours from others'.
        active: It can be used.
        autostart: Started with its host.
        config: What its next start uses; None if its XML cannot be read.
        live: What it runs with, or None when it does not run.
        applied: Our mark, what was last pushed; None if it carries none.
        persistent: False for one that is gone once it stops.
    """

    name: str
    uuid: str
    active: bool
    autostart: bool = False
    config: NetworkConfig | None = None
    live: NetworkConfig | None = None
    applied: NetworkConfig | None = None
    persistent: bool = True


class HostStatus(StrEnum):
    """Whether a host's answer can be believed.

    Only ``READY`` hosts are observed.  Anything else is *unknown*: what ran there may still run.
    """

    READY = "Ready"
    UNREACHABLE = "Unreachable"
    SLOW = "DeadlineExceeded"
    KEY_REFUSED = "KeyRefused"
    HOST_KEY = "HostKeyUnknown"
    DENIED = "AccessDenied"
    NO_LIBVIRT = "LibvirtNotAnswering"


@dataclass(frozen=True, slots=True)
class ObservedHost:
    """What libvirt reports about one host, or why it reports nothing.

    An unchanged host is the same object from one read to the next, and so is an unchanged domain.

    Attributes:
        name: Inventory name.
        status: Whether the rest can be believed.
        message: The reason in words when the status is not READY, or a warning (a full disk) when it is.
        arch: libvirt's name, for example ``x86_64``.
        cpus: Real cpus (threads).
        memory: Real memory in bytes (virNodeGetMemoryStats, not virNodeGetInfo).
        virt_types: Domain types that are really usable here.
        libvirt_version: For example ``9.0.0``.
        hypervisor_version: For example ``7.2.0``; empty where there is none.
        machines: Machine types and aliases that the emulator knows.
        firmwares: ``bios`` and ``uefi`` where usable.
        networks: Names of active libvirt networks.
        bridges: Names of bridges, or None where the host cannot tell.
        pools: By name.
        domains: All domains, ours or not, by UUID.
        uuid: The machine's own (SMBIOS's, or ``host_uuid`` of libvirtd.conf); empty where libvirt does not
            tell, or tells one that many boards have.
        network_configs: All libvirt networks by name, also those that are not active.
        hardware: What machines can be given here: ``virtiofs``, ``tpm:emulator``, ``secure-boot``,
            ``graphics:vnc``, ``cpu:host-model`` and so on; None where the host cannot tell.
        nics: Its network devices, each with its MAC, without guests' taps; empty where libvirt does not tell.
    """

    name: str
    status: HostStatus
    message: str = ""
    arch: str = ""
    cpus: int = 0
    memory: int = 0
    virt_types: frozenset[str] = frozenset()
    libvirt_version: str = ""
    hypervisor_version: str = ""
    machines: frozenset[str] = frozenset()
    firmwares: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    bridges: frozenset[str] | None = None
    pools: Mapping[str, Pool] = field(default_factory=dict)
    domains: Mapping[str, ObservedDomain] = field(default_factory=dict)
    uuid: str = ""
    nics: frozenset[str] = frozenset()
    hardware: frozenset[str] | None = None
    network_configs: Mapping[str, ObservedNetwork] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """True if absence of a domain here is evidence that it is not here."""
        return self.status is HostStatus.READY


Fleet = Mapping[str, ObservedHost]
"""All hosts of the inventory by name; a host that does not answer is in it, and not ``known``."""
