"""A domain's configuration: the common tongue of desired, applied and observed.

Desired state is resolved into a `DomainConfig`, libvirt's XML is parsed into one, and the one last
pushed travels in the domain's metadata.  A field that is None is not set: the host may choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)

METADATA_NAMESPACE = "urn:reconciler:vm:v1"
"""XML namespace of our mark in a domain's ``<metadata>``."""


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """A disk (``device='disk'``), identified by its target.

    Attributes:
        target: Device name, ``vda``.
        bus: libvirt's bus word.
        path: Absolute path on the host; for ``network`` it is ``<protocol>:<name>``: ``rbd:pool/image``.
        format: ``qcow2`` or ``raw``.
        size: Virtual size in bytes; None when unknown or left to the image.
        name: The user's name of it (``root``, ``data``); None when the domain is not ours.
        type: libvirt's word for where it lies: ``file``, ``block`` or ``network``.
        volume: The `Volume` that it is, or None: it lives and dies with the machine.
        hosts: ``name:port`` of the servers of a ``network`` disk.
        auth: ``user:uuid``, Ceph's user and the host's libvirt secret, or None.
        shared: Several machines may have it open at once.
        cache: libvirt's word for how the host caches it, or None: the host chose.
        io: libvirt's word for how it is read and written (``threads``, ``native``, ``io_uring``), or None.
        discard: ``unmap`` or ``ignore``, or None.
        read_only: The guest cannot write; None is no.
        limits: What it may do in a second; None is no limit.
    """

    target: str
    bus: str
    path: str
    format: str
    size: int | None = None
    name: str | None = None
    type: str = "file"
    volume: str | None = None
    hosts: tuple[str, ...] = ()
    auth: str | None = None
    shared: bool = False
    cache: str | None = None
    io: str | None = None
    discard: str | None = None
    read_only: bool | None = None
    limits: IoLimits | None = None


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """A network interface, identified by its MAC.

    Attributes:
        mac: Lower case.
        network: libvirt network, or None.
        bridge: Host bridge, or None.
        model: libvirt's model word; None when the host chose.
        name: The user's name of it (``net0``); None when the domain is not ours.
        address: The address that the network reserves for it, or None.
    """

    mac: str
    network: str | None
    bridge: str | None
    model: str | None = None
    name: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class SeedConfig:
    """The CD-ROM with a machine's cloud-init files, which we make; not among the disks.

    Attributes:
        target: Device name, ``sda``.
        bus: ``scsi``, ``sata`` or ``ide``.
        path: Absolute path of the ISO on the host.
        digest: Of the files that it was made of, with references in the place of secrets; None when unknown.
    """

    target: str
    bus: str
    path: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """What we model of a domain. None means not set.

    Attributes:
        name: The domain's name.
        uuid: The domain's UUID, which is the machine's uid.
        virt_type: ``kvm``, ``qemu``, ``lxc``, ``test``.
        arch: For example ``x86_64``.
        machine: As written (``q35``) or as libvirt resolved it (``pc-q35-7.2``).
        firmware: ``bios`` or ``uefi``.
        cpus: Cpus the domain has now.
        max_cpus: Cpus it can have without a restart.
        memory: Balloon target, bytes.
        max_memory: Memory that it was started with, bytes.
        disks: Ordered by target; None means not managed.
        interfaces: In the user's order; None means not managed.
        console: ``serial`` or ``none``.
        description: Free text.
        autostart: Started with its host.
        template: Digest of the XML template's text, or None without one.
        seed: The CD-ROM for cloud-init, or None without one.
        cpu_model: ``host-passthrough``, ``host-model``, ``maximum`` or a model of libvirt's.
        cpu_features: ``vmx=require`` and so on, sorted.
        topology: What the guest takes its cpus for.
        pinning: ``0=2-3``: the virtual cpu, and the host's that it runs on; ``emulator=0`` for the rest.
        numa: The nodes that the guest sees, in their order.
        numatune: ``strict:0-1``: how its memory is bound to nodes of the host, and to which.
        hugepages: ``default``, or the size of a page (``2Mi``), or ``none``.
        secure_boot: UEFI refuses what is not signed.
        tpm: ``emulator:2.0``, ``passthrough:/dev/tpm0`` or ``none``.
        watchdog: Model and action, ``i6300esb:reset``, or ``none``.
        agent: It has the QEMU guest agent's channel.
        rng: It has a source of random numbers.
        video: libvirt's word for the (first) graphics card.
        graphics: Its screens.
        consoles: ``serial`` and ``virtio``, one for each, sorted.
        cdroms: Its CD-ROM drives but `seed`, ordered by target.
        filesystems: Folders of the host, ordered by tag.
        host_devices: ``pci:0000:65:00.0``, ``usb:046d:c52b`` or ``usb:1.4`` (bus and device), sorted.
        boot: Targets, MACs and host devices in the order in which they are tried; libvirt's words (``hd``)
            where the domain has only those.
    """

    name: str
    uuid: str
    virt_type: str | None = None
    arch: str | None = None
    machine: str | None = None
    firmware: str | None = None
    cpus: int | None = None
    max_cpus: int | None = None
    memory: int | None = None
    max_memory: int | None = None
    disks: tuple[DiskConfig, ...] | None = None
    interfaces: tuple[InterfaceConfig, ...] | None = None
    console: str | None = None
    description: str | None = None
    autostart: bool | None = None
    template: str | None = None
    seed: SeedConfig | None = None
    cpu_model: str | None = None
    cpu_features: tuple[str, ...] | None = None
    topology: Topology | None = None
    pinning: tuple[str, ...] | None = None
    numa: tuple[NumaCell, ...] | None = None
    numatune: str | None = None
    hugepages: str | None = None
    secure_boot: bool | None = None
    tpm: str | None = None
    watchdog: str | None = None
    agent: bool | None = None
    rng: bool | None = None
    video: str | None = None
    graphics: tuple[GraphicsConfig, ...] | None = None
    consoles: tuple[str, ...] | None = None
    cdroms: tuple[CdromConfig, ...] | None = None
    filesystems: tuple[FilesystemConfig, ...] | None = None
    host_devices: tuple[str, ...] | None = None
    boot: tuple[str, ...] | None = None

    @property
    def targets(self) -> frozenset[str]:
        """Device names of its disks and drives."""
        seed = {self.seed.target} if self.seed is not None else set[str]()
        drives = {drive.target for drive in self.cdroms or ()}
        return frozenset({disk.target for disk in self.disks or ()} | drives | seed)


@dataclass(frozen=True, slots=True)
class Applied:
    """Our mark in a domain's metadata: what was last pushed.

    Attributes:
        owner: The installation that owns the domain (``owner`` in the configuration).
        uid: The machine's uid, equal to the domain's UUID.
        name: The machine's name in the desired state.
        generation: Counts changes of the spec, from 1.
        spec_hash: Digest of everything that `config` and the rendered XML were made of.
        image: Name and digest of the image under the root disk, ``debian@1f2e…``; empty without one.
        deletion_policy: ``Retain`` or ``Delete``: valid even when the manifest is gone.
        protect: The machine may not be deleted, also when the manifest is gone.
        stop_timeout: Seconds that the guest gets to power off, also when the manifest is gone.
        config: What was pushed.
    """

    owner: str
    uid: str
    name: str
    generation: int
    spec_hash: str
    config: DomainConfig
    image: str = ""
    deletion_policy: str = "Retain"
    protect: bool = False
    stop_timeout: int = 60


class DomainState(StrEnum):
    """virDomainState, as far as it matters to us."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "in shutdown"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "pmsuspended"

    @property
    def active(self) -> bool:
        """The domain holds its memory and disks."""
        return self in (self.RUNNING, self.PAUSED, self.SHUTTING_DOWN, self.SUSPENDED)


class AddressSource(StrEnum):
    """Where an address was learnt, the most trustworthy first."""

    AGENT = "agent"
    LEASE = "lease"
    ARP = "arp"
    RESERVATION = "reservation"


@dataclass(frozen=True, slots=True)
class GuestAddress:
    """An address of a guest.

    Attributes:
        address: IPv4 or IPv6, without a prefix length.
        source: Who says so.
        mac: Of the interface that has it, lower case.
        interface: The guest's name of it (``eth0``), where the source knows it; else empty.
    """

    address: str
    source: AddressSource
    mac: str
    interface: str = ""


@dataclass(frozen=True, slots=True)
class ObservedDomain:
    """A domain as libvirt reports it.

    Attributes:
        host: Inventory name of its host.
        config: The configuration that its next start uses.
        live: The configuration that it runs with, or None when it does not run.
        state: Its state.
        state_reason: libvirt's reason in words (``crashed``, ``destroyed``, ``shutdown`` …).
        persistent: False for a transient domain.
        applied: The mark in its persistent configuration; None means it is not ours (whoever owns it).
        applied_live: The mark that the running instance was started with or last changed live.
        foreign_owner: Owner in its mark when that is another installation; else empty.
        run: libvirt's id of the running instance; another one: it was started anew. None: not running.
    """

    host: str
    config: DomainConfig
    live: DomainConfig | None
    state: DomainState
    state_reason: str = ""
    persistent: bool = True
    applied: Applied | None = None
    applied_live: Applied | None = None
    foreign_owner: str = ""
    run: int | None = None

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.config.name

    @property
    def uuid(self) -> str:
        """The domain's UUID."""
        return self.config.uuid


CONFIG_JSON: TypeAdapter[DomainConfig] = TypeAdapter(DomainConfig)
"""Turns a `DomainConfig` into JSON for the mark, and back."""
