"""Where a machine is or shall be, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """How far a machine's record has come.

    ``INTENDED`` is committed before the push, so after a crash the same uid goes to the same host.
    """

    INTENDED = "intended"
    PLACED = "placed"
    DELETING = "deleting"
    RETAINED = "retained"


@dataclass(frozen=True, slots=True)
class Record:
    """What the store knows of a machine's whereabouts; the host's own mark wins over it.

    ``RETAINED``: the domain is gone and its disks were kept on `host`; if the machine comes back it
    gets the same uid, host and disks.
    """

    vm: str
    uid: str
    host: str
    generation: int
    phase: Phase


@dataclass(frozen=True, slots=True, order=True)
class AddressRecord:
    """An address that the store knows a machine to have, or to be about to get; its own mark wins over it.

    Attributes:
        vm: The machine.
        interface: The user's name of its interface.
        network: The network.
        address: In its usual spelling.
    """

    vm: str
    interface: str
    network: str
    address: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that passed every filter, with its score (higher is better) and the weighers' parts."""

    host: str
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The allocator's answer for one machine.

    Attributes:
        vm: The machine.
        host: The chosen host, or None: refused.
        algorithm: Name of the algorithm, or ``pinned`` when there was nothing to choose.
        runners_up: The next best hosts, best first, at most three.
        rejected: Reason to the number of hosts that it ruled out.
        reasons: Host to the reason in words that ruled it out (at most a hundred hosts).
        after: Machines whose deletion on the chosen host must come first to make room.
        message: One sentence for people.
        chosen: The chosen host with its score, or None: refused.
    """

    vm: str
    host: str | None
    algorithm: str = ""
    runners_up: tuple[Candidate, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    message: str = ""
    chosen: Candidate | None = None


def volume_name(vm: str, uid: str, disk: str, fmt: str) -> str:
    """Name of a disk's volume: ``web-1.<uid>.root.qcow2``.

    The machine's name is percent-encoded (RFC 3986), so that name, uid and disk can be read back from
    it when the database is lost, and no text from a manifest becomes a path.
    """
    return f"{_quote(vm)}.{uid}.{disk}.{fmt}"


def parse_volume_name(volume: str) -> tuple[str, str, str] | None:
    """Machine, uid and disk of a volume that `volume_name` named; None for any other."""
    parts = volume.rsplit(".", 3)
    if len(parts) != 4 or len(parts[1]) != 36:
        return None
    name = _unquote(parts[0])
    return (name, parts[1], parts[2]) if name is not None else None


SEED = "cloud-init"
"""What stands in the place of a disk in the name of a machine's cloud-init seed."""


def seed_name(vm: str, uid: str) -> str:
    """Name of the ISO that a machine's cloud-init reads: ``web-1.<uid>.cloud-init.iso``."""
    return volume_name(vm, uid, SEED, "iso")


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def _quote(text: str) -> str:
    return "".join(c if c in _SAFE else f"%{ord(c):02X}" for c in text)


def _unquote(text: str) -> str | None:
    first, *rest = text.split("%")
    try:
        return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError:
        return None


ImageKey = tuple[str, str, str]
"""Host, pool and volume of an image's file."""


def image_volume_name(image: str, digest: str, fmt: str) -> str:
    """Name of an image's file in a pool: ``debian-12.1f2e3d4c5b6a7988.qcow2``. Content-addressed."""
    return f"{_quote(image)}.{digest[:_DIGITS]}.{fmt}"


_DIGITS = 16
_PART_BEFORE, _PART_AFTER = ".", ".part"


def part_name(volume: str) -> str:
    """Name under which an image's file grows until it is whole."""
    return f"{_PART_BEFORE}{volume}{_PART_AFTER}"


def parse_image_volume_name(volume: str) -> tuple[str, str, str] | None:
    """Image, digits of its digest and format of what `image_volume_name` named; None for any other.

    The unfinished file of a transfer, ``.NAME.part``, says the same as ``NAME``.
    """
    if volume.startswith(_PART_BEFORE) and volume.endswith(_PART_AFTER):
        volume = volume.removeprefix(_PART_BEFORE).removesuffix(_PART_AFTER)
    parts = volume.split(".")
    if len(parts) != 3 or len(parts[1]) != _DIGITS or not set(parts[1]) <= _HEXADECIMAL:
        return None
    name = _unquote(parts[0])
    return (name, parts[1], parts[2]) if name and parts[2] in ("qcow2", "raw") else None


_HEXADECIMAL = frozenset("0123456789abcdef")


_VOLUME = "volume-"
_CLAIM = "claim"


def own_volume_name(volume: str, uid: str, fmt: str) -> str:
    """Name of a `Volume`'s bytes in a pool: ``volume-data.<uid>.qcow2``; nothing that `volume_name` makes."""
    return f"{_VOLUME}{_quote(volume)}.{uid}.{fmt}"


def parse_own_volume_name(name: str) -> tuple[str, str, str] | None:
    """Volume, uid and format of what `own_volume_name` named; None for any other."""
    parts = name.split(".")
    if len(parts) != 3 or not parts[0].startswith(_VOLUME) or len(parts[1]) != 36:
        return None
    volume = _unquote(parts[0].removeprefix(_VOLUME))
    return (volume, parts[1], parts[2]) if volume is not None else None


def claim_name(volume_uid: str, vm_uid: str) -> str:
    """Name of the empty volume that says on shared storage which machine a volume belongs to now."""
    return f"{_CLAIM}.{volume_uid}.{vm_uid}"


def parse_claim_name(name: str) -> tuple[str, str] | None:
    """Uid of the volume and of the machine that has it; None for a name that is no claim."""
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != _CLAIM or any(len(part) != 36 for part in parts[1:]):
        return None
    return parts[1], parts[2]


_COPYING = "copying"


def copying_name(volume_uid: str) -> str:
    """Name of the empty volume that stands beside a copy until the copy is whole."""
    return f"{_COPYING}.{volume_uid}"


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """What the store knows of a `Volume`; where it lies, the pools themselves tell better.

    Attributes:
        volume: Its name.
        uid: Its uid.
        host: Where it was made or last seen.
        pool: In which pool.
        policy: ``Retain`` or ``Delete``: valid even when the manifest is gone.
        phase: ``INTENDED`` before it was seen, then ``PLACED``.
    """

    volume: str
    uid: str
    host: str
    pool: str
    policy: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim that this installation made in a pool that several hosts see; others may be another's.

    Attributes:
        volume: Uid of the volume.
        machine: Uid of the machine.
        host: Where the machine is or was to be.
        pool: Where the claim lies.
    """

    volume: str
    machine: str
    host: str
    pool: str


def on_host(kind: str, name: str, host: str) -> str:
    """The key of an object on a host, as it stands for ``vm`` in changes, actions and events."""
    return f"{kind}/{name}@{host}"


def is_machine(key: str) -> bool:
    """True for a machine's name: only the keys of other objects have a slash."""
    return "/" not in key


def parse_key(key: str) -> tuple[str, str, str]:
    """Kind, name and host (empty without one) of a key, or of a machine's name.

    A host may be called anything but has no ``@``, so the last one parts them.
    """
    kind, slash, rest = key.partition("/")
    if not slash:
        return "VirtualMachine", key, ""
    if kind in ("Volume", "VirtualMachinePool"):
        return kind, rest, ""
    name, _, host = rest.rpartition("@")
    return kind, name, host
