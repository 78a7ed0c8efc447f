"""What a user declares: VirtualMachine, InstanceType and Image, as they stand in YAML.

Field names are camelCase in YAML and snake_case here.  An optional field left out (None) means "the
host may choose", or the instance type says it.  Nothing here knows where a machine runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel

from reconciler.model.units import Duration, Size

ApiVersion = Literal["reconciler/v1"]
API_VERSION: ApiVersion = "reconciler/v1"

_NAME_REFUSED = re.compile(r"[^ -~]|/")
_IDENTIFIER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def check_name(name: str) -> str:
    """A name that libvirt, file systems and URLs can all carry.

    Any printable ASCII is allowed (machines that people adopt are called all sorts of things) but a
    slash, which libvirt refuses, and a dot or dash in front.

    Raises:
        ValueError: The name does not fit; the message says why.
    """
    if not name or len(name) > 63:
        raise ValueError("a name has 1 to 63 characters")
    if _NAME_REFUSED.search(name):
        raise ValueError("a name is printable ASCII without '/'")
    if name[0] in ".-" or name != name.strip():
        raise ValueError("a name begins with neither '.' nor '-', and has no space at its ends")
    return name


def check_identifier(name: str) -> str:
    """A short lower-case word (RFC 1123 label) for the parts of a machine.

    Raises:
        ValueError: Not such a word.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("write lower-case letters, digits and dashes, at most 63 of them")
    return name


def check_architecture(name: str) -> str:
    """Check libvirt's name of an architecture, such as ``x86_64``.

    Raises:
        ValueError: Not such a word.
    """
    if not _ARCHITECTURE.fullmatch(name):
        raise ValueError(f"{name!r} is not an architecture such as x86_64 or aarch64")
    return name


def check_mac(mac: str) -> str:
    """A unicast MAC address in lower case.

    Raises:
        ValueError: Not a MAC address, or a multicast one.
    """
    lowered = mac.lower()
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"{mac!r} is not a MAC address such as 52:54:00:12:34:56")
    if int(lowered[:2], 16) & 1:
        raise ValueError(f"{mac} is a multicast address; the first byte must be even")
    return lowered


def check_text(text: str) -> str:
    """Free text that XML 1.0 can carry (no control characters but tab and newline).

    Raises:
        ValueError: It cannot.
    """
    refused = sorted(
        {
            c
            for c in text
            if (ord(c) < 32 and c not in "\t\n") or 0xD800 <= ord(c) <= 0xDFFF or ord(c) in (0xFFFE, 0xFFFF)
        }
    )
    if refused:
        raise ValueError(
            "text has characters that XML cannot carry: " + ", ".join(f"U+{ord(c):04X}" for c in refused)
        )
    return text


Text = Annotated[str, AfterValidator(check_text)]
# The patterns are what editors can check while one types; the functions decide.
Name = Annotated[
    str, AfterValidator(check_name), Field(json_schema_extra={"pattern": r"^(?![ .-])[ -.0-~]{1,63}(?<! )$"})
]
Identifier = Annotated[
    str,
    AfterValidator(check_identifier),
    Field(json_schema_extra={"pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
]
Architecture = Annotated[
    str,
    AfterValidator(check_architecture),
    Field(json_schema_extra={"pattern": r"^[a-z0-9][a-z0-9_]{0,31}$"}),
]
Mac = Annotated[
    str,
    AfterValidator(check_mac),
    Field(json_schema_extra={"pattern": r"^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$"}),
]


class ContradictionError(ValueError):
    """Fields that do not go together; pydantic stops at a ValueError, so one carries them all.

    Attributes:
        messages: A sentence each.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


def _refuse(messages: Iterable[str]) -> None:
    found = list(messages)
    if found:
        raise ContradictionError(found)


class Manifest(BaseModel):
    """Base of everything that stands in YAML: frozen, camelCase, unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=False,
        use_enum_values=False,
        hide_input_in_errors=True,
    )


class Metadata(Manifest):
    """Name and labels of an object."""

    name: Name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


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


class DeletionPolicy(StrEnum):
    """What becomes of the disks when the machine is removed."""

    RETAIN = "Retain"
    DELETE = "Delete"


class DiskBus(StrEnum):
    """How a disk is attached."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"


class DiskFormat(StrEnum):
    """Format of a disk or image; stated, never probed."""

    QCOW2 = "qcow2"
    RAW = "raw"


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

    @model_validator(mode="after")
    def _existing_or_made(self) -> Self:
        _refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.path is not None and (self.size is not None or self.pool is not None):
            yield "a disk has a path (it exists already) or size and pool (we make it)"
        if self.path is not None and not self.path.startswith("/"):
            yield "the path of a disk is absolute"


class ExtraDisk(RootDisk):
    """A further disk: blank with ``size`` (bytes), or an existing file with ``path``."""

    name: Identifier

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        if self.name == "root":
            yield "the name 'root' belongs to the root disk"
        if self.size is None and self.path is None:
            yield "a disk needs a size, or the path of an existing file"


class Interface(Manifest):
    """A network interface on a libvirt network or on a host's bridge.

    ``name`` is ours and stable (default ``net0``, ``net1`` … by place in the list): the derived MAC
    hangs on it.  ``model`` is libvirt's word (virtio, e1000e …).
    """

    name: Identifier | None = None
    network: Name | None = None
    bridge: Name | None = None
    model: Identifier = "virtio"
    mac: Mac | None = None

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
    (``memory``, ``disks``, …) that are set on creation and never changed after.
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse((*self._contradictions(), *self._twins()))
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

    def _twins(self) -> Iterator[str]:
        yield from _twins("disks", [disk.name for disk in self.disks])
        # A name that is left out is one too: net0, net1 … by place.
        yield from _twins("interfaces", [i.name or f"net{at}" for at, i in enumerate(self.interfaces)])
        yield from _twins("interfaces", [i.mac for i in self.interfaces if i.mac])


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


class InstanceTypeSpec(Manifest):
    """A size preset; a machine's own fields win over it. Sizes in bytes."""

    cpus: int = Field(ge=1, le=4096, strict=True)
    max_cpus: int | None = Field(default=None, ge=1, le=4096, strict=True)
    memory: Size
    max_memory: Size | None = None
    root_disk_size: Size | None = None
    firmware: Firmware | None = None
    machine: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9._-]+$")
    xml_template: str | None = None


class InstanceType(Manifest):
    """A size preset that machines name."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["InstanceType"] = "InstanceType"
    metadata: Metadata
    spec: InstanceTypeSpec

    @property
    def name(self) -> str:
        """Unique among instance types."""
        return self.metadata.name


class ImageSpec(Manifest):
    """A base disk: a file on the controller (``path``) or one that hosts fetch (``url``).

    A relative path starts at the folder of the state repository.  ``sha256`` is required for a URL.
    """

    path: str | None = None
    url: str | None = Field(default=None, pattern=r"^(https?|ftp)://[^\s]+$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    format: DiskFormat = DiskFormat.QCOW2
    architecture: Architecture | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("an image has either a path or a url")
        if self.url is not None and self.sha256 is None:
            raise ValueError("an image from a url needs its sha256")
        return self


class Image(Manifest):
    """A base disk that root disks are laid over."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Image"] = "Image"
    metadata: Metadata
    spec: ImageSpec

    @property
    def name(self) -> str:
        """Unique among images."""
        return self.metadata.name


Object = VirtualMachine | InstanceType | Image
KINDS: dict[str, type[VirtualMachine] | type[InstanceType] | type[Image]] = {
    "VirtualMachine": VirtualMachine,
    "InstanceType": InstanceType,
    "Image": Image,
}
