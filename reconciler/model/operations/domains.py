"""A domain as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.model.domain import Applied, DomainConfig


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
    """Ask the guest to power off, by agent, then by power button; after `timeout` seconds pull the plug."""

    timeout: int
    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Keep the state of the disks at `targets`, all in one moment, and the memory of a machine that runs.

    One of the name is kept as it is.
    """

    name: str
    targets: tuple[str, ...]
    kind: Literal["take-snapshot"] = "take-snapshot"


@dataclass(frozen=True, slots=True)
class RestoreSnapshot:
    """Go back to a snapshot, and write the mark of today: the domain of then carries that of then."""

    name: str
    applied: Applied
    kind: Literal["restore-snapshot"] = "restore-snapshot"


@dataclass(frozen=True, slots=True)
class DeleteSnapshot:
    """Delete a snapshot; the machine's state stays as it is. None of the name is success."""

    name: str
    kind: Literal["delete-snapshot"] = "delete-snapshot"


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
