"""What an action does. Every operation is idempotent: repeated where it was done, it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from reconciler.model.domain import Applied, DiskConfig, DomainConfig, InterfaceConfig


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Put an image's file into a pool once, checked against its sha256. A source is `path` or `url`."""

    image: str
    volume: str
    pool: str
    pool_path: str
    sha256: str
    format: str
    path: str | None = None
    url: str | None = None
    kind: Literal["ensure-image"] = "ensure-image"


@dataclass(frozen=True, slots=True)
class CreateVolume:
    """Make a blank disk, or a qcow2 overlay on `backing` (a volume of the same pool).

    `size` is bytes; None takes the backing volume's.  An existing volume of the name is kept as it is.
    """

    pool: str
    volume: str
    format: str
    size: int | None
    backing: str | None = None
    backing_format: str | None = None
    kind: Literal["create-volume"] = "create-volume"


@dataclass(frozen=True, slots=True)
class Define:
    """Define a new domain from the rendered XML. Refused if the name belongs to another domain."""

    config: DomainConfig
    applied: Applied
    template: str | None = None
    kind: Literal["define"] = "define"


@dataclass(frozen=True, slots=True)
class Redefine:
    """Change just `fields` in the persistent configuration; whatever we don't model stays as it is.

    `fields` are paths as in `FieldChange`; ``metadata`` alone renews the mark.
    """

    config: DomainConfig
    applied: Applied
    fields: tuple[str, ...]
    template: str | None = None
    kind: Literal["redefine"] = "redefine"


@dataclass(frozen=True, slots=True)
class Start:
    """Start the domain; already running is success."""

    kind: Literal["start"] = "start"


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the guest to power off, and pull the plug after `timeout` seconds."""

    timeout: int
    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class SetMemory:
    """Move the balloon of the running domain to `memory` bytes."""

    memory: int
    kind: Literal["set-memory"] = "set-memory"


@dataclass(frozen=True, slots=True)
class SetCpus:
    """Hot plug or unplug cpus of the running domain."""

    cpus: int
    kind: Literal["set-cpus"] = "set-cpus"


@dataclass(frozen=True, slots=True)
class SetDescription:
    """Change the description of the running domain; empty removes it."""

    description: str
    kind: Literal["set-description"] = "set-description"


@dataclass(frozen=True, slots=True)
class SetAutostart:
    """Start with the host, or not."""

    autostart: bool
    kind: Literal["set-autostart"] = "set-autostart"


@dataclass(frozen=True, slots=True)
class AttachDisk:
    """Hot plug a disk."""

    disk: DiskConfig
    kind: Literal["attach-disk"] = "attach-disk"


@dataclass(frozen=True, slots=True)
class DetachDisk:
    """Hot unplug the disk at `target`, and wait until the guest let go."""

    target: str
    kind: Literal["detach-disk"] = "detach-disk"


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Grow a disk to `size` bytes: online (virDomainBlockResize) when it runs, else its volume."""

    target: str
    path: str
    size: int
    kind: Literal["grow-disk"] = "grow-disk"


@dataclass(frozen=True, slots=True)
class AttachInterface:
    """Hot plug an interface."""

    interface: InterfaceConfig
    kind: Literal["attach-interface"] = "attach-interface"


@dataclass(frozen=True, slots=True)
class DetachInterface:
    """Hot unplug the interface with this MAC."""

    mac: str
    kind: Literal["detach-interface"] = "detach-interface"


@dataclass(frozen=True, slots=True)
class Mark:
    """Write our mark, into the running instance too; nothing else changes."""

    applied: Applied
    kind: Literal["mark"] = "mark"


@dataclass(frozen=True, slots=True)
class Unmark:
    """Remove our mark; nothing else changes."""

    kind: Literal["unmark"] = "unmark"


@dataclass(frozen=True, slots=True)
class Undefine:
    """Remove the domain (with NVRAM, managed save and snapshot metadata); disks stay."""

    kind: Literal["undefine"] = "undefine"


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete a disk that we made, by its path. Only volumes that carry the machine's uid qualify."""

    path: str
    kind: Literal["delete-volume"] = "delete-volume"


Operation = Annotated[
    EnsureImage
    | CreateVolume
    | Define
    | Redefine
    | Start
    | Stop
    | SetMemory
    | SetCpus
    | SetDescription
    | SetAutostart
    | AttachDisk
    | DetachDisk
    | GrowDisk
    | AttachInterface
    | DetachInterface
    | Mark
    | Unmark
    | Undefine
    | DeleteVolume,
    Field(discriminator="kind"),
]
