"""What a user declares of a machine: VirtualMachine, as it stands in YAML.

Field names are camelCase in YAML and snake_case here.  An optional field left out (None) means "the
host may choose", or the instance type says it.  Nothing here knows where a machine runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from reconciler.model.envelope import (
    API_VERSION,
    ApiVersion,
    Architecture,
    Identifier,
    Mac,
    Manifest,
    Metadata,
    Name,
    Text,
    refuse,
)
from reconciler.model.guest import CloudInit, Provision, Readiness
from reconciler.model.hardware import (
    Cdrom,
    ConsoleKind,
    Cpu,
    DiskCache,
    DiskDiscard,
    DiskIo,
    DiskLimits,
    Filesystem,
    Graphics,
    HostDevice,
    Numa,
    PageSize,
    Tpm,
    Watchdog,
    Word,
)
from reconciler.model.storage import DeletionPolicy, DiskBus, DiskFormat
from reconciler.model.units import Duration, Size


class RunStrategy(StrEnum):
    """When a machine shall run; KubeVirt's words."""

    ALWAYS = "Always"
    HALTED = "Halted"
    MANUAL = "Manual"
    RERUN_ON_FAILURE = "RerunOnFailure"


class Firmware(StrEnum):
    """What the machine boots with."""

    BIOS = "bios"
    UEFI = "uefi"


class Console(StrEnum):
    """The text console."""

    SERIAL = "serial"
    NONE = "none"


class UpdatePolicy(StrEnum):
    """The strongest impact that a change may have without asking again."""

    LIVE = "Live"
    RESTART = "Restart"
    REPLACE = "Replace"


class RootDisk(Manifest):
    """The disk the machine boots from: an overlay on its image, or blank without one.

    ``path`` names a file that exists already (an adopted machine): it is used, never created, never
    deleted, and neither size, pool nor image go with it.  ``size`` is bytes; without it the image's.
    """

    size: Size | None = None
    pool: Name | None = None
    bus: DiskBus = DiskBus.VIRTIO
    path: str | None = None
    format: DiskFormat = DiskFormat.QCOW2
    cache: DiskCache | None = None
    io: DiskIo | None = None
    discard: DiskDiscard | None = None
    read_only: StrictBool | None = None
    limits: DiskLimits | None = None

    @model_validator(mode="after")
    def _existing_or_made(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.path is not None and (self.size is not None or self.pool is not None):
            yield "a disk has a path (it exists already) or size and pool (we make it)"
        if self.path is not None and not self.path.startswith("/"):
            yield "the path of a disk is absolute"


class ExtraDisk(RootDisk):
    """A further disk: blank with ``size`` (bytes), an existing file with ``path``, or a `Volume` by name."""

    name: Identifier
    volume: Name | None = None

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        if self.name == "root":
            yield "the name 'root' belongs to the root disk"
        if self.volume is not None and (self.size, self.path, self.pool) != (None, None, None):
            yield "a disk that is a volume takes its size, pool and path from there"
        if self.size is None and self.path is None and self.volume is None:
            yield "a disk needs a size, the path of an existing file, or the name of a volume"


class Interface(Manifest):
    """A network interface on a libvirt network or on a host's bridge.

    ``name`` is ours and stable (default ``net0``, ``net1`` … by place in the list): the derived MAC
    hangs on it.  ``model`` is libvirt's word (virtio, e1000e …).  ``address`` is a fixed one of the
    network's, or ``auto`` for its next free one.
    """

    name: Identifier | None = None
    network: Name | None = None
    bridge: Name | None = None
    model: Identifier = "virtio"
    mac: Mac | None = None
    address: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.network is None) == (self.bridge is None):
            raise ValueError("an interface has either a network or a bridge")
        return self


class Policy(StrEnum):
    """How firm a placement wish is."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"


class AntiAffinity(Manifest):
    """Keep away from machines whose labels match.

    ``over`` is the host label that makes two hosts "the same place" (``rack``), or ``host`` itself.
    The selector is an equality selector: every listed label must match.
    """

    selector: dict[str, str] = Field(min_length=1)
    over: str = "host"
    policy: Policy = Policy.REQUIRED


class Spread(Manifest):
    """Spread the machines whose labels match evenly over the values of a host label.

    The difference between the fullest and the emptiest value stays at most ``max_skew``.
    """

    selector: dict[str, str] = Field(min_length=1)
    over: str = "host"
    max_skew: int = Field(default=1, ge=1, strict=True)
    policy: Policy = Policy.PREFERRED


class Placement(Manifest):
    """Where a machine may run. ``host`` is an inventory name; the selector matches host labels."""

    host: Name | None = None
    host_selector: dict[str, str] = {}
    anti_affinity: tuple[AntiAffinity, ...] = ()
    spread: tuple[Spread, ...] = ()


class VirtualMachineSpec(Manifest):
    """What a machine is made of.

    Units: ``memory`` and ``max_memory`` are bytes (libvirt rounds up to KiB), ``stop_timeout`` is
    seconds.  ``cpus`` and ``memory`` are what the machine has now; ``max_cpus`` and ``max_memory``
    what it can grow to without a restart (default: the same).  ``xml_template`` is the path, inside
    the state repository, of a Jinja template for XML that we don't model.  ``ignore`` lists fields
    (``memory``, ``disks``, …) that are set on creation and never changed after.  ``boot`` lists names of
    disks (``root``), CD-ROM drives and interfaces.  ``consoles`` says more than ``console`` and wins over it.
    """

    instance_type: Name | None = None
    cpus: int | None = Field(default=None, ge=1, le=4096, strict=True)
    max_cpus: int | None = Field(default=None, ge=1, le=4096, strict=True)
    memory: Size | None = None
    max_memory: Size | None = None
    architecture: Architecture | None = None
    image: Name | None = None
    root_disk: RootDisk | None = None
    disks: tuple[ExtraDisk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    firmware: Firmware | None = None
    machine: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9._-]+$")
    console: Console | None = Console.SERIAL
    description: Text | None = Field(default=None, max_length=4096)
    autostart: StrictBool | None = None
    run_strategy: RunStrategy = RunStrategy.ALWAYS
    placement: Placement = Placement()
    update_policy: UpdatePolicy = UpdatePolicy.LIVE
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    stop_timeout: Duration = 60
    protect: StrictBool = False
    suspend: StrictBool = False
    ignore: tuple[str, ...] = ()
    xml_template: str | None = None
    cloud_init: CloudInit | None = None
    readiness: Readiness | None = None
    provision: Provision | None = None
    clone_of: Name | None = None
    cpu: Cpu | None = None
    numa: Numa | None = None
    hugepages: PageSize | None = None
    secure_boot: StrictBool | None = None
    tpm: Tpm | None = None
    watchdog: Watchdog | None = None
    agent: StrictBool | None = None
    rng: StrictBool | None = None
    video: Word | None = None
    graphics: tuple[Graphics, ...] | None = None
    consoles: tuple[ConsoleKind, ...] | None = None
    cdroms: tuple[Cdrom, ...] | None = None
    filesystems: tuple[Filesystem, ...] | None = None
    host_devices: tuple[HostDevice, ...] | None = None
    boot: tuple[Identifier, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse((*self._contradictions(), *self._twins()))
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.max_cpus is not None and self.cpus is not None and self.max_cpus < self.cpus:
            yield "maxCpus is less than cpus"
        if self.memory is not None and self.memory < 1 << 20:
            yield "memory is less than 1Mi: is a unit missing, as in 512Mi?"
        elif self.max_memory is not None and self.memory is not None and self.max_memory < self.memory:
            yield "maxMemory is less than memory"
        if self.instance_type is None and (self.cpus is None or self.memory is None):
            yield "give an instanceType, or both cpus and memory"
        if self.root_disk is not None and self.root_disk.path is not None and self.image is not None:
            yield "a root disk with a path exists already: it takes no image"
        if self.secure_boot and self.firmware not in (None, Firmware.UEFI):
            yield "secureBoot needs firmware: uefi"
        if self.host_devices and self.placement.host is None:
            yield "hostDevices needs placement.host: an address means one host's device"
        if self.consoles is not None and "console" in self.model_fields_set:
            serial = ConsoleKind.SERIAL in self.consoles
            if self.console is not None and serial != (self.console is Console.SERIAL):
                yield "console and consoles say different things: leave console out"
        yield from self._boot_contradictions()

    def _boot_contradictions(self) -> Iterator[str]:
        names = {"root", *(disk.name for disk in self.disks), *(drive.name for drive in self.cdroms or ())}
        names |= {interface.name or f"net{at}" for at, interface in enumerate(self.interfaces)}
        for name in self.boot or ():
            if name not in names:
                yield f"boot lists {name!r}, which is no disk, CD-ROM or interface of this machine"

    def _twins(self) -> Iterator[str]:
        yield from _twins("disks", [disk.name for disk in self.disks])
        # A name that is left out is one too: net0, net1 … by place.
        yield from _twins("interfaces", [i.name or f"net{at}" for at, i in enumerate(self.interfaces)])
        yield from _twins("interfaces", [i.mac for i in self.interfaces if i.mac])
        drives, disks = [drive.name for drive in self.cdroms or ()], {disk.name for disk in self.disks}
        yield from _twins("cdroms", drives)
        for name in sorted({"root", *disks} & set(drives)):
            yield f"the name {name!r} of a CD-ROM belongs to a disk"
        yield from _twins("filesystems", [folder.tag for folder in self.filesystems or ()])
        yield from _twins("hostDevices", [device.key for device in self.host_devices or ()])
        yield from _twins("boot", list(self.boot or ()))


def _twins(field: str, values: list[str]) -> Iterator[str]:
    twins = sorted({value for value in values if values.count(value) > 1})
    if twins:
        yield f"{field} lists {', '.join(map(repr, twins))} more than once"


class VirtualMachine(Manifest):
    """A machine that shall exist."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["VirtualMachine"] = "VirtualMachine"
    metadata: Metadata
    spec: VirtualMachineSpec

    @property
    def name(self) -> str:
        """The machine's name, unique in the desired state, and its domain's name."""
        return self.metadata.name
