"""Actions, changes and the plan: data that one room makes, another shows and a third carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from reconciler.model.operations import Operation
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
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    DELETE_SNAPSHOT = "delete-snapshot"
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


@dataclass(frozen=True, slots=True)
class Action:
    """One step on one host.

    Attributes:
        id: Unique in the plan and the same in every plan of the same content: ``vm/kind[/detail]``,
            or ``host/ensure-image/volume`` for a step that several machines share.
        host: Where.
        vm: The machine's name; for an object of another kind ``Kind/name@host`` or ``Volume/name`` (a
            machine's name has no slash); empty for a step that several machines share.
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
        vm: The machine, or an object of another kind as in `Action`.
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


_WAITS = frozenset({"WaitForFirstMachine", "Leased", "Cleaning", "OlderTemplate"})


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

    @property
    def waits(self) -> bool:
        """Nothing is wrong: a volume that nobody has yet is made once somebody does, a machine is lent."""
        return self.reason in _WAITS


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
