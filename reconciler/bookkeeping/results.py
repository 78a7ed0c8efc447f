"""What came of a push: events, and when to try again what failed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping

from reconciler.model.config import RetryConfig
from reconciler.model.desired import DesiredState
from reconciler.model.envelope import Manifest
from reconciler.model.placement import is_machine, parse_key
from reconciler.model.plan import ActionResult, Outcome, Plan, Verb
from reconciler.model.status import Event, Retry
from reconciler.planner.backoff import Failure, next_retry
from reconciler.store.base import Store

_WORLD_MOVED = frozenset({"DomainMissing", "Cancelled"})
"""Failures that blame nobody: between look and push something changed, and the next look will tell."""


_PAST = {
    Verb.CREATE: ("Created", "created"),
    Verb.UPDATE: ("Updated", "updated"),
    Verb.REPLACE: ("Replaced", "replaced"),
    Verb.DELETE: ("Deleted", "deleted"),
    Verb.ADOPT: ("Adopted", "adopted"),
    Verb.FORGET: ("Forgotten", "forgotten"),
    Verb.START: ("Started", "started"),
    Verb.STOP: ("Stopped", "stopped"),
    Verb.RESTART: ("Restarted", "restarted"),
    Verb.SNAPSHOT: ("SnapshotTaken", "snapshot taken"),
    Verb.RESTORE: ("Restored", "restored"),
    Verb.DELETE_SNAPSHOT: ("SnapshotDeleted", "snapshot deleted"),
    Verb.NONE: ("Unchanged", "left as it is"),
}


def events_of(plan: Plan, results: Iterable[ActionResult], now: float) -> list[Event]:
    """What became of each machine that the plan touched, as one event; and each failure as another."""
    told: dict[str, list[ActionResult]] = {}
    for result in results:
        told.setdefault(result.vm, []).append(result)
    events = []
    for change in plan.changes:
        mine = told.get(change.vm)
        if not mine:
            continue
        failures = [result for result in mine if result.outcome is Outcome.FAILED]
        done = all(result.outcome in (Outcome.CHANGED, Outcome.OK) for result in mine)
        if done:
            reason, past = _PAST[change.verb]
            events.append(
                Event(now, reason, f"{past}: {change.reason}", change.vm, change.host, False, plan.revision)
            )
        events += [
            Event(
                now,
                failed.reason or "Failed",
                f"{failed.id}: {failed.message}",
                change.vm,
                failed.host,
                True,
                plan.revision,
            )
            for failed in failures
        ]
    shared = [r for r in told.get("", ()) if r.outcome is Outcome.FAILED]
    events += [
        Event(now, r.reason or "Failed", f"{r.id}: {r.message}", "", r.host, True, plan.revision)
        for r in shared
    ]
    return events


def retries_of(
    plan: Plan,
    results: Iterable[ActionResult],
    wishes: Mapping[str, str],
    before: Mapping[str, Retry],
    config: RetryConfig,
    now: float,
) -> tuple[list[Retry], list[str]]:
    """Who must wait before the next attempt, and who works again.

    A machine that only waited for another's failed step is not blamed for it: it has no failed action of
    its own, unless the step that failed was one that it shares (an image).
    """
    results = [result for result in results if result.reason not in _WORLD_MOVED]
    failed = {
        result.vm: result for result in reversed(results) if result.outcome is Outcome.FAILED and result.vm
    }
    shared = {result.host: result for result in results if result.outcome is Outcome.FAILED and not result.vm}
    waiting = {result.vm for result in results if result.outcome is Outcome.SKIPPED and result.vm}
    worse: list[Retry] = []
    better: list[str] = []
    for change in plan.changes:
        cause = failed.get(change.vm) or (shared.get(change.host) if change.vm in waiting else None)
        if cause is not None:
            worse.append(
                next_retry(
                    before.get(change.vm),
                    Failure(change.vm, wishes.get(change.vm, ""), cause.message, cause.terminal, cause.id),
                    now,
                    random.random(),  # noqa: S311  # jitter, not a secret
                    config,
                )
            )
        elif change.vm in before and change.vm not in waiting:
            better.append(change.vm)
    return worse, better


def wish(desired: DesiredState, vm: str) -> str:
    """Digest of all that people said about an object; a failure is forgotten as soon as it changes.

    Args:
        desired: What people said.
        vm: A machine's name, or another object's key.
    """
    if not is_machine(vm):
        return _wish_of_thing(desired, vm)
    machine = desired.machines.get(vm)
    if machine is None:
        return "gone"
    kind = desired.instance_types.get(machine.spec.instance_type or "")
    image = desired.images.get(machine.spec.image or "")
    template = desired.templates.get(
        machine.spec.xml_template or (kind.spec.xml_template if kind else None) or ""
    )
    said = [part.model_dump_json() if part else "" for part in (machine, kind, image)]
    return hashlib.sha256("\0".join([*said, template or ""]).encode()).hexdigest()[:32]


def _wish_of_thing(desired: DesiredState, key: str) -> str:
    kind, name, _host = parse_key(key)
    known: Mapping[str, Mapping[str, Manifest]] = {
        "StoragePool": desired.pools,
        "Volume": desired.volumes,
        "Network": desired.networks,
        "Image": desired.images,
    }
    one = known.get(kind, {}).get(name)
    return hashlib.sha256(one.model_dump_json().encode()).hexdigest()[:32] if one else "gone"


def note_results(
    store: Store,
    desired: DesiredState,
    plan: Plan,
    results: tuple[ActionResult, ...],
    config: RetryConfig,
    now: float,
) -> None:
    """Events for what was done, and when to try again what failed."""
    if not results:
        return
    wishes = {change.vm: wish(desired, change.vm) for change in plan.changes}
    worse, better = retries_of(plan, results, wishes, store.retries(), config, now)
    store.put_retries(worse)
    store.clear_retries(better)
    store.add_events(events_of(plan, results, now))
