"""Actions, changes and the plan: data that one room makes, another shows and a third carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from reconciler.model.domain import Applied, DiskConfig, DomainConfig, InterfaceConfig
from reconciler.model.placement import Decision

PLAN_VERSION = 1


class Impact(StrEnum):
    """What an action does to a running machine, weakest first."""

    NONE = "none"
    LIVE = "live"
    RESTART = "restart"
    REPLACE = "replace"
    DESTROY = "destroy"


class Verb(StrEnum):
    """What happens to a machine as a whole."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    ADOPT = "adopt"
    FORGET = "forget"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs.

    Attributes:
        path: ``memory``, ``disks[data].size``, ``interfaces[net0]``, ``state``.
        before: Observed value (None: not there), in model units.
        after: Desired value (None: to be removed).
        impact: What it takes.
        drift: True when the host moved away from what was applied; False when the desired state moved.
    """

    path: str
    before: Any
    after: Any
    impact: Impact
    drift: bool = False


# What an action does. Every one is idempotent: repeated on a host where it was done, it changes nothing.


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


@dataclass(frozen=True, slots=True)
class Action:
    """One step on one host.

    Attributes:
        id: Unique in the plan and the same in every plan of the same content: ``vm/kind[/detail]``,
            or ``host/ensure-image/volume`` for a step that several machines share.
        host: Where.
        vm: The machine's name; empty for a step that several machines share.
        uid: The machine's uid and domain UUID; empty likewise.
        operation: What.
        impact: On the running machine.
        reason: Why, in a few words.
        after: Ids of actions that must have succeeded before.
    """

    id: str
    host: str
    vm: str
    uid: str
    operation: Operation
    impact: Impact
    reason: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one machine, and why; its actions are in the plan, under its name.

    Attributes:
        vm: The machine.
        uid: Its uid.
        host: Its host.
        verb: What happens to it as a whole.
        impact: The strongest impact among its actions.
        reason: One sentence.
        generation: The generation that will be applied.
        spec_hash: Of the spec that will be applied; empty for a deletion.
        fields: Differences that the actions remove.
        deferred: Differences that wait for consent (or for the next restart) and are not acted on.
        decision: Why this host, for a new machine.
    """

    vm: str
    uid: str
    host: str
    verb: Verb
    impact: Impact
    reason: str
    generation: int = 0
    spec_hash: str = ""
    fields: tuple[FieldChange, ...] = ()
    deferred: tuple[FieldChange, ...] = ()
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A machine that cannot be planned now.

    ``reason`` is a CamelCase word (NoHostFits, HostUnknown, NameTaken, ImageMissing, Protected,
    DuplicateDomain, RetryLater, Failed …); ``message`` says it in words with what to do next.
    """

    vm: str
    reason: str
    message: str
    host: str = ""
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered actions with their reasons; the same whether it is shown, saved, dry-run or pushed.

    Attributes:
        revision: The desired state's revision.
        changes: Machines that change or wait, ordered by name.
        actions: In an order that respects every `after`.
        blocked: Machines that cannot be planned, ordered by name.
        unchanged: How many machines are as they shall be.
        notes: Facts about the whole (a host unknown), for people.
        version: Of this format.
    """

    revision: str
    changes: tuple[Change, ...]
    actions: tuple[Action, ...]
    blocked: tuple[Blocked, ...] = ()
    unchanged: int = 0
    notes: tuple[str, ...] = ()
    version: int = PLAN_VERSION

    @property
    def empty(self) -> bool:
        """Nothing to push."""
        return not self.actions

    def by_host(self) -> Mapping[str, tuple[Action, ...]]:
        """The actions of each host, in order."""
        hosts: dict[str, list[Action]] = {}
        for action in self.actions:
            hosts.setdefault(action.host, []).append(action)
        return {host: tuple(actions) for host, actions in hosts.items()}


class Outcome(StrEnum):
    """What became of an action."""

    CHANGED = "changed"
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of one action.

    Attributes:
        id: The action's id.
        host: Where.
        vm: The machine; empty for shared steps.
        outcome: ``skipped`` means something it depends on failed, or the run was abandoned.
        message: The failure in words, or what was found.
        reason: CamelCase word of the failure (NameTaken, PoolFull, NotOurs, ImageMissing …).
        terminal: Trying the same again is pointless until the spec changes.
        seconds: How long it took.
    """

    id: str
    host: str
    vm: str
    outcome: Outcome
    message: str = ""
    reason: str = ""
    terminal: bool = False
    seconds: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)


PLAN_JSON: TypeAdapter[Plan] = TypeAdapter(Plan)
"""Turns a plan into JSON and back, and gives its JSON Schema."""
