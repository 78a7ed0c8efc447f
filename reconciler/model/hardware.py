"""What a machine is made of beyond disks and interfaces, as it stands in YAML.

Every field left out means "the host may choose".  A field that was applied once and is then removed from the
manifest is taken away again where its absence means something (no TPM, no pinning); a CPU model is not.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from reconciler.model.envelope import Identifier, Manifest, Text, refuse
from reconciler.model.units import Size, format_size, parse_size

LOOPBACK = "127.0.0.1"
"""Where screens listen unless the manifest says otherwise."""

_SET = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_PCI = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_USB_ADDRESS = re.compile(r"\d{1,3}\.\d{1,3}")


def check_set(text: str) -> str:
    """A set of numbers as libvirt writes it: ``0-3,8``; duplicates and gaps in the order are left to it.

    Raises:
        ValueError: Not a set of numbers.
    """
    if not _SET.fullmatch(text):
        raise ValueError(f"{text!r} is not a set of cpus or nodes such as 0-3,8")
    if any(int(last) < int(first) for first, last in _ranges(text)):
        raise ValueError(f"{text!r} has a range that ends before it begins")
    return text


def members(text: str) -> frozenset[int]:
    """The numbers in a set that `check_set` let pass."""
    return frozenset(n for first, last in _ranges(text) for n in range(int(first), int(last) + 1))


def _ranges(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield first, last or first


def _as_text(value: object) -> object:
    """``pinning: {0: 2}``: YAML reads a lone number as one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("the path is absolute")
    return path


def _check_address(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _check_pci(address: str) -> str:
    lowered = address.lower()
    if not _PCI.fullmatch(lowered):
        raise ValueError(f"{address!r} is not a PCI address such as 0000:65:00.0")
    return lowered if lowered.count(":") == 2 else f"0000:{lowered}"


def _check_usb(device: str) -> str:
    if not _USB.fullmatch(device.lower()):
        raise ValueError(f"{device!r} is not vendor:product such as 046d:c52b")
    return device.lower()


def _check_usb_address(address: str) -> str:
    if not _USB_ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is not bus.device such as 1.4, in quotes")
    bus, device = address.split(".")
    return f"{int(bus)}.{int(device)}"


def _page_size(value: object) -> str:
    if isinstance(value, bool):
        return "default" if value else "none"
    if value in ("default", "none"):
        return str(value)
    size = parse_size(value)
    if size < 1 << 12 or size & (size - 1):
        raise ValueError("a page is a power of two such as 2Mi or 1Gi; true is the host's default size")
    return format_size(size)


NumberSet = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(check_set),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SET.pattern}$"}]}
    ),
]
HostPath = Annotated[Text, AfterValidator(_check_path)]
PageSize = Annotated[
    str,
    BeforeValidator(_page_size),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "integer"}]}),
]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""One of libvirt's words."""


class FeaturePolicy(StrEnum):
    """What becomes of a CPU feature."""

    FORCE = "force"
    REQUIRE = "require"
    OPTIONAL = "optional"
    DISABLE = "disable"
    FORBID = "forbid"


class CpuFeature(Manifest):
    """One feature of the CPU, by libvirt's name."""

    name: Word
    policy: FeaturePolicy = FeaturePolicy.REQUIRE


class Cpu(Manifest):
    """The CPU that the guest sees, and where it runs.

    ``model`` is host-passthrough, host-model, maximum or one of libvirt's names.  ``sockets``, ``dies``,
    ``cores`` and ``threads`` multiply to the most cpus that the machine can have; what is left out follows.
    ``pinning`` maps virtual cpus to sets of the host's; ``emulator_pinning`` is for QEMU's own threads.
    """

    model: Word | None = None
    features: tuple[CpuFeature, ...] | None = None
    sockets: int | None = Field(default=None, ge=1, le=4096, strict=True)
    dies: int | None = Field(default=None, ge=1, le=4096, strict=True)
    cores: int | None = Field(default=None, ge=1, le=4096, strict=True)
    threads: int | None = Field(default=None, ge=1, le=4096, strict=True)
    pinning: dict[int, NumberSet] | None = None
    emulator_pinning: NumberSet | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_a_count(cls, data: object) -> object:
        if isinstance(data, int):
            raise ValueError("cpu says what the cpus are like; how many there are is `cpus`")
        return data

    @property
    def has_topology(self) -> bool:
        """Some part of the topology is said."""
        return any(part is not None for part in (self.sockets, self.dies, self.cores, self.threads))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        names = [feature.name for feature in self.features or ()]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"features lists {name!r} more than once"
        if any(number < 0 for number in self.pinning or ()):
            yield "pinning counts virtual cpus from 0"
        if names and self.model is None:
            yield "features go with a model: host-model, for example"


class NumaNode(Manifest):
    """A NUMA node that the guest sees: a set of its cpus, and memory in bytes."""

    cpus: NumberSet
    memory: Size


class NumaMode(StrEnum):
    """How firmly memory stays on the host's nodes."""

    STRICT = "strict"
    PREFERRED = "preferred"
    INTERLEAVE = "interleave"


class Numa(Manifest):
    """NUMA: the guest's nodes, and the host's nodes that its memory comes from."""

    cells: tuple[NumaNode, ...] = ()
    mode: NumaMode = NumaMode.STRICT
    host_nodes: NumberSet | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if not self.cells and self.host_nodes is None:
            yield "numa has cells, hostNodes or both"
        seen: set[int] = set()
        for cell in self.cells:
            if seen & members(cell.cpus):
                yield "a cpu is in one cell"
            seen |= members(cell.cpus)
        if any(cell.memory % 1024 for cell in self.cells):
            yield "the memory of a cell is whole KiB"


class Tpm(Manifest):
    """A TPM: emulated on the host (swtpm), or the host's own with ``device``."""

    version: Literal["1.2", "2.0"] | None = None
    device: HostPath | None = None

    @model_validator(mode="after")
    def _one_sort(self) -> Self:
        if self.version is not None and self.device is not None:
            raise ValueError("the host's own TPM has the version that it has: leave version out")
        return self


class Watchdog(Manifest):
    """A watchdog: what happens when the guest stops feeding it."""

    model: Literal["i6300esb", "ib700", "itco", "diag288"] = "i6300esb"
    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"] = "reset"


class Graphics(Manifest):
    """A screen. Without ``listen`` on the loopback address only; without ``port`` on a free one."""

    type: Literal["vnc", "spice"] = "vnc"
    listen: Annotated[str, AfterValidator(_check_address)] | None = None
    port: int | None = Field(default=None, ge=1024, le=65535, strict=True)


class Filesystem(Manifest):
    """A folder of the host in the guest; the guest mounts it by ``tag``.

    ``virtiofs`` needs virtiofsd on the host; ``9p`` is in QEMU itself, and slower.
    """

    tag: Annotated[Text, Field(min_length=1, max_length=36)]
    source: HostPath
    driver: Literal["virtiofs", "9p"] = "virtiofs"


class HostDevice(Manifest):
    """A device of the host: one of ``pci``, ``usb`` (vendor:product) and ``usb_address`` (bus.device)."""

    pci: Annotated[str, AfterValidator(_check_pci)] | None = None
    usb: Annotated[str, AfterValidator(_check_usb)] | None = None
    usb_address: Annotated[str, AfterValidator(_check_usb_address)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.pci, self.usb, self.usb_address)) != 1:
            raise ValueError("a host device is exactly one of pci, usb and usbAddress")
        return self

    @property
    def key(self) -> str:
        """``pci:0000:65:00.0``, ``usb:046d:c52b`` or ``usb:1.4``."""
        return f"pci:{self.pci}" if self.pci is not None else f"usb:{self.usb or self.usb_address}"


class Cdrom(Manifest):
    """A CD-ROM drive. Without ``path`` its tray is empty; media are changed while the machine runs."""

    name: Identifier
    path: HostPath | None = None
    bus: Literal["sata", "ide", "scsi", "usb"] | None = None


class ConsoleKind(StrEnum):
    """A text console."""

    SERIAL = "serial"
    VIRTIO = "virtio"


class DiskLimits(Manifest):
    """What a disk may do in a second; sizes in bytes. A total and its parts exclude each other."""

    total_bytes: Size | None = None
    read_bytes: Size | None = None
    write_bytes: Size | None = None
    total_iops: int | None = Field(default=None, ge=1, strict=True)
    read_iops: int | None = Field(default=None, ge=1, strict=True)
    write_iops: int | None = Field(default=None, ge=1, strict=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.total_bytes and (self.read_bytes or self.write_bytes):
            yield "totalBytes excludes readBytes and writeBytes"
        if self.total_iops and (self.read_iops or self.write_iops):
            yield "totalIops excludes readIops and writeIops"


DiskCache = Literal["none", "writeback", "writethrough", "directsync", "unsafe"]
DiskIo = Literal["threads", "native", "io_uring"]
DiskDiscard = Literal["unmap", "ignore"]
