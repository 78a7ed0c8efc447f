"""A plan as people know it from Terraform, and as JSON for programs.

Whatever a manifest or a host said is escaped: no text of theirs moves the cursor or changes colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from reconciler.model.placement import Decision, is_machine
from reconciler.model.plan import PLAN_JSON, Blocked, Change, FieldChange, Impact, Plan, Verb
from reconciler.model.units import format_size
from reconciler.planner.words import field_name, worth_showing

Paint = Callable[[str, str], str]
"""Text and colour to text."""

_SYMBOLS = {
    Verb.CREATE: ("+", "green"),
    Verb.UPDATE: ("~", "yellow"),
    Verb.REPLACE: ("-/+", "magenta"),
    Verb.DELETE: ("-", "red"),
    Verb.ADOPT: ("+", "cyan"),
    Verb.FORGET: ("-", "cyan"),
    Verb.START: ("!", "cyan"),
    Verb.STOP: ("!", "yellow"),
    Verb.RESTART: ("!", "yellow"),
    Verb.SNAPSHOT: ("!", "cyan"),
    Verb.RESTORE: ("!", "red"),
    Verb.DELETE_SNAPSHOT: ("!", "red"),
    Verb.NONE: (".", "bright_black"),
}
_WORDS = {
    Verb.CREATE: "create on",
    Verb.UPDATE: "change on",
    Verb.REPLACE: "replace on",
    Verb.DELETE: "delete from",
    Verb.ADOPT: "adopt on",
    Verb.FORGET: "forget on",
    Verb.START: "start on",
    Verb.STOP: "stop on",
    Verb.RESTART: "restart on",
    Verb.SNAPSHOT: "take a snapshot on",
    Verb.RESTORE: "go back to a snapshot on",
    Verb.DELETE_SNAPSHOT: "delete a snapshot on",
    Verb.NONE: "leave as it is on",
}
_ACTS = (
    *(Verb.ADOPT, Verb.FORGET, Verb.START, Verb.STOP, Verb.RESTART),
    *(Verb.SNAPSHOT, Verb.RESTORE, Verb.DELETE_SNAPSHOT),
)
_SIZES = frozenset({"memory", "max_memory", "size"})
_FEW_HOSTS = 5
"""With no more hosts than this, a machine without a place is told what each of them lacks."""


def plan_lines(plan: Plan, *, color: bool = False) -> list[str]:
    """The plan as lines of text.

    Args:
        plan: The plan.
        color: Colour it; the caller knows whether a person at a terminal reads it.
    """

    def paint(text: str, ink: str) -> str:
        return click.style(text, fg=ink) if color else text

    lines: list[str] = []
    for change in plan.changes:
        lines += [*_change(change, paint), ""]
    for refusal in plan.blocked:
        lines += [*_blocked(refusal, paint), ""]
    for note in plan.notes:
        lines.append(f"Note: {escape(note)}")
    if plan.notes:
        lines.append("")
    return [*lines, summary(plan)]


def summary(plan: Plan) -> str:
    """The last line: how many of each."""
    counts = {verb: sum(change.verb is verb for change in plan.changes) for verb in Verb}
    blocked = f" {len(plan.blocked)} blocked." if plan.blocked else ""
    same = f"{plan.unchanged} unchanged"
    waiting = _waiting(plan.changes)
    look = sum(_reported(change) for change in plan.changes)
    same += f", {look} to look at" if look else ""
    if not plan.actions and not waiting:
        if plan.blocked:
            return f"Nothing can be done: {same}, {len(plan.blocked)} blocked."
        return f"No changes: {same}."
    parts = [f"{counts[verb]} to {str(verb).replace('-', ' ')}" for verb in _ACTS if counts[verb]]
    if parts and not (plan.blocked or plan.unchanged or any(c.verb not in _ACTS for c in plan.changes)):
        return f"Plan: {', '.join(parts)}."  # an act by itself: what else there is was not looked at
    change = f"{counts[Verb.UPDATE]} to change" + (f" ({waiting})" if waiting else "")
    parts += [f"{counts[Verb.CREATE]} to create", change]
    parts += [f"{counts[Verb.REPLACE]} to replace", f"{counts[Verb.DELETE]} to delete", same]
    return f"Plan: {', '.join(parts)}.{blocked}"


def _waiting(changes: Iterable[Change]) -> str:
    deferred = [{field.impact for field in change.deferred} for change in changes]
    parts = []
    for impact, word in ((Impact.RESTART, "restart"), (Impact.REPLACE, "replace")):
        count = sum(impact in impacts for impacts in deferred)
        if count:
            parts.append(f"{count} need{'s' if count == 1 else ''} {word}, waiting")
    return "; ".join(parts)


def _reported(change: Change) -> bool:
    """True if all there is to it is something that people should see."""
    return change.verb is Verb.NONE and all(field.impact is Impact.NONE for field in change.deferred)


def _change(change: Change, paint: Paint) -> Iterator[str]:
    symbol, ink = _SYMBOLS[change.verb]
    title = f"{escape(change.vm)}: {_WORDS[change.verb]} {escape(change.host)}"
    if change.verb is Verb.CREATE and change.decision is not None:
        title += f" ({_decision(change.decision)})"
    yield f"{paint(f'{symbol:>3}', ink)} {title}"
    yield f"      because {escape(change.reason)}"
    for field in worth_showing(change.fields):
        told = _field(field, change.verb, paint)
        # A new machine's uid is drawn at random, and again for the next plan unless this one is saved.
        fresh = change.verb is Verb.CREATE and change.uid
        yield "      " + (told.replace(change.uid, "…") if fresh else told)
    for field in worth_showing(change.deferred):
        yield f"      {_field(field, change.verb, paint)} {paint(f'[{_consent(field, change.vm)}]', 'cyan')}"


def _decision(decision: Decision) -> str:
    score = f" {decision.chosen.score:.2f}" if decision.chosen else ""
    told = f"{decision.algorithm}{score}"
    if decision.runners_up:
        told += "; next: " + ", ".join(f"{c.host} {c.score:.2f}" for c in decision.runners_up)
    if decision.after:
        told += f"; after {', '.join(decision.after)} is gone"
    return escape(told)


def _field(field: FieldChange, verb: Verb, paint: Paint) -> str:
    name = escape(field_name(field.path))
    if verb is Verb.CREATE:
        return f"{paint('+', 'green')} {name}: {_value(field.path, field.after)}"
    before, after = _value(field.path, field.before), _value(field.path, field.after)
    told = f"{name}: {before} -> {after}"
    marks = [] if field.impact is Impact.NONE else [str(field.impact)]
    if field.drift:
        marks.append("drift")
    sign, ink = (
        ("+", "green") if field.before is None else ("-", "red") if field.after is None else ("~", "yellow")
    )
    return f"{paint(sign, ink)} {told}" + (f" ({', '.join(marks)})" if marks else "")


def _consent(field: FieldChange, key: str) -> str:
    if field.impact is Impact.RESTART and not is_machine(key):
        return "waits until no machine uses it"
    if field.impact is Impact.RESTART:
        return "needs restart: set updatePolicy: Restart, or restart it yourself"
    if field.impact is Impact.REPLACE:
        return "needs replace: set updatePolicy: Replace"
    if field.path == "host":
        return "machines are not moved yet"
    return "continue it: virsh resume" if field.path == "state" else "only reported"


def _value(path: str, value: Any) -> str:
    """A value as a person writes it. In a plan that was read back, devices are mappings."""
    if value is None:
        return "(none)"
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return _device(value)
    if isinstance(value, (tuple, list)):
        return "; ".join(_value(path, each) for each in value) or "(none)"
    if isinstance(value, int) and not isinstance(value, bool) and (path in _SIZES or path.endswith(".size")):
        return format_size(value)
    if isinstance(value, str) and path == "description":
        return f'"{escape(value)}"'
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def _device(device: Mapping[str, Any]) -> str:
    if "mac" in device:
        source = f"network {device['network']}" if device["network"] else f"bridge {device['bridge']}"
        parts = [device["mac"], source, device["model"], device.get("address")]
    elif "target" not in device:
        parts = [f"{name}={value}" for name, value in device.items() if value not in (None, (), [])]
    else:
        size = format_size(device["size"]) if device.get("size") is not None else None
        parts = [device["target"], device["bus"], device.get("format"), size, device["path"]]
    return escape(", ".join(str(part) for part in parts if part))


def _blocked(refusal: Blocked, paint: Paint) -> Iterator[str]:
    where = f" on {escape(refusal.host)}" if refusal.host else ""
    yield f"{paint('  !', 'red')} {escape(refusal.vm)}: blocked{where}: {escape(refusal.reason)}"
    yield f"      {escape(refusal.message)}"
    yield from (f"      {escape(line)}" for line in (_refused(refusal.decision) if refusal.decision else ()))


def _refused(decision: Decision) -> Iterable[str]:
    """What every host lacks, where they are few; else how many lack what."""
    if decision.host is None and 0 < sum(decision.rejected.values()) <= min(
        _FEW_HOSTS, len(decision.reasons)
    ):
        return [f"{host} {reason}" for host, reason in sorted(decision.reasons.items())]
    counts = sorted(decision.rejected.items())
    return [f"{count} {'host' if count == 1 else 'hosts'}: {reason}" for reason, count in counts]


def escape(text: str) -> str:
    r"""The text with everything that a terminal might obey (controls, bidi marks) as ``\x1b``, ``\u202e``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plan_json(plan: Plan) -> str:
    """The plan as JSON; its schema is `plan_schema`, and docs/plan-format.md explains it."""
    return PLAN_JSON.dump_json(plan, indent=2).decode()


def plan_schema() -> dict[str, Any]:
    """JSON Schema of what `plan_json` gives."""
    return PLAN_JSON.json_schema()
