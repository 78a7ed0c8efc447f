"""What a tick writes down: intents before a push; results, whereabouts and conditions after it.

Everything here goes one way, from what was seen to the store, and writes only what changed: a tick with
nothing to do leaves the database alone.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.model.config import RetryConfig
from reconciler.model.desired import DesiredState
from reconciler.model.host import Fleet
from reconciler.model.placement import Phase, Record, parse_volume_name
from reconciler.model.plan import PLAN_JSON, ActionResult, Blocked, Change, Outcome, Plan, Verb
from reconciler.model.status import Condition, ConditionStatus, Event, Retry
from reconciler.model.units import format_duration
from reconciler.planner import Survey
from reconciler.planner.backoff import Failure, next_retry
from reconciler.store.base import HostWord, Run, Store, Subject

_PAST = {
    Verb.CREATE: ("Created", "created"),
    Verb.UPDATE: ("Updated", "updated"),
    Verb.REPLACE: ("Replaced", "replaced"),
    Verb.DELETE: ("Deleted", "deleted"),
    Verb.ADOPT: ("Adopted", "adopted"),
    Verb.FORGET: ("Forgotten", "forgotten"),
    Verb.NONE: ("Unchanged", "left as it is"),
}


def note_hosts(store: Store, fleet: Fleet, now: float) -> None:
    """Remember which hosts answered, and tell when one stops or starts to."""
    answered = {name for name, host in fleet.items() if host.known}
    if answered - store.seen() or answered & store.words().keys():
        store.mark_seen(answered, now)
    conditions = {
        name: (
            Condition(
                "Ready",
                ConditionStatus.TRUE if host.known else ConditionStatus.UNKNOWN,
                str(host.status),
                host.message,
                now,
            ),
        )
        for name, host in fleet.items()
    }
    changed = store.set_conditions(Subject.HOST, conditions, complete=True)
    store.add_events(
        Event(now, host.reason, host.message or "answers", host=name, warning=host.status is not ConditionStatus.TRUE)
        for name, (host, *_) in ((name, found) for name, found in changed.items() if found)
    )


def never_seen(store: Store, fleet: Fleet) -> frozenset[str]:
    """Hosts that do not answer and of which this store knows nothing: anything may run there."""
    silent = frozenset(name for name, host in fleet.items() if not host.known)
    return silent - store.seen() - store.words().keys() if silent else silent


def living_records(store: Store, fleet: Fleet) -> Mapping[str, Record]:
    """The records that still mean something: those on a host declared dead do not."""
    records = store.records()
    dead = {
        name
        for name, word in store.words().items()
        if word is HostWord.DEAD and not (name in fleet and fleet[name].known)
    }
    if not dead:
        return records
    return {vm: record for vm, record in records.items() if record.host not in dead}


def begin(store: Store, plan: Plan, now: float) -> str:
    """Commit where machines are about to be, durably, and open the journal. Returns the run's id.

    Raises:
        StoreError: An intent contradicts the store; nothing was committed.
    """
    run = f"{int(now)}-{uuid.uuid4().hex[:12]}"
    intents = [
        Record(change.vm, change.uid, change.host, change.generation, Phase.INTENDED)
        for change in plan.changes
        if change.verb in (Verb.CREATE, Verb.REPLACE) and _acts(plan, change)
    ]
    records = store.records()
    moved = {i.vm for i in intents if i.vm in records and (records[i.vm].uid, records[i.vm].host) != (i.uid, i.host)}
    with store.transaction():
        store.commit_intents(intents, void=moved)
        store.begin_run(run, PLAN_JSON.dump_json(plan).decode(), now)
    return run


def _acts(plan: Plan, change: Change) -> bool:
    return any(action.vm == change.vm for action in plan.actions)


def finish(store: Store, run: str, results: tuple[ActionResult, ...]) -> tuple[ActionResult, ...]:
    """Close the journal of a run whose results are all known."""
    with store.transaction():
        store.finish_action(run, *results)
        store.finish_run(run)
    return results


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
            events.append(Event(now, reason, f"{past}: {change.reason}", change.vm, change.host, False, plan.revision))
        events += [
            Event(now, failed.reason or "Failed", f"{failed.id}: {failed.message}", change.vm, failed.host, True, plan.revision)
            for failed in failures
        ]
    shared = [r for r in told.get("", ()) if r.outcome is Outcome.FAILED]
    events += [Event(now, r.reason or "Failed", f"{r.id}: {r.message}", "", r.host, True, plan.revision) for r in shared]
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
    results = list(results)
    failed = {result.vm: result for result in reversed(results) if result.outcome is Outcome.FAILED and result.vm}
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
                    Failure(change.vm, wishes.get(change.vm, ""), cause.message, cause.terminal),
                    now,
                    random.random(),  # noqa: S311  # jitter, not a secret
                    config,
                )
            )
        elif change.vm in before and change.vm not in waiting:
            better.append(change.vm)
    return worse, better


def wish(desired: DesiredState, vm: str) -> str:
    """Digest of all that people said about a machine; a failure is forgotten as soon as it changes."""
    machine = desired.machines.get(vm)
    if machine is None:
        return "gone"
    kind = desired.instance_types.get(machine.spec.instance_type or "")
    image = desired.images.get(machine.spec.image or "")
    template = desired.templates.get(machine.spec.xml_template or (kind.spec.xml_template if kind else None) or "")
    said = [part.model_dump_json() if part else "" for part in (machine, kind, image)]
    return hashlib.sha256("\0".join([*said, template or ""]).encode()).hexdigest()[:32]


def held(store: Store, desired: DesiredState, now: float) -> Mapping[str, Blocked]:
    """Machines that failed and must not be tried again yet."""
    blocked = {}
    for vm, retry in store.retries().items():
        if not retry.blocks(wish(desired, vm), now):
            continue
        if retry.terminal:
            blocked[vm] = Blocked(vm, "Failed", f"{retry.message}: not tried again until its manifest changes")
        else:
            wait = format_duration(max(1, int(retry.not_before - now)))
            blocked[vm] = Blocked(vm, "RetryLater", f"attempt {retry.attempts} failed ({retry.message}): again in {wait}")
    return blocked


def whereabouts(survey: Survey) -> tuple[list[Record], list[str]]:
    """What the hosts' own marks prove about where machines are, as far as it differs from the records.

    Returns:
        Records to write, and machines to forget: nobody desires them, and neither a domain nor a kept disk
        is left of them on a host that answers.
    """
    situation = survey.situation
    records = situation.records
    write = []
    present = [(survey.located, Phase.PLACED), (survey.suspended, Phase.PLACED), (survey.leaving, Phase.DELETING)]
    for machines, phase in present:
        for vm, domain in machines.items():
            if domain is None or domain.applied is None:
                continue
            record = records.get(vm)
            told = (domain.uuid, domain.host, domain.applied.generation, phase)
            if record is None or (record.uid, record.host, record.generation, record.phase) != told:
                write.append(Record(vm, *told))
    forget = []
    seen = survey.located.keys() | survey.suspended.keys() | survey.leaving.keys() | survey.blocked.keys()
    for vm in records.keys() - seen - situation.desired.machines.keys():
        record = records[vm]
        if not situation.known(record.host):
            continue
        if not _disks_of(record, situation.fleet):
            forget.append(vm)
        elif record.phase is not Phase.RETAINED:
            write.append(replace(record, phase=Phase.RETAINED))
    return write, forget


def _disks_of(record: Record, fleet: Fleet) -> bool:
    return any(
        parsed is not None and parsed[1] == record.uid
        for pool in fleet[record.host].pools.values()
        for parsed in map(parse_volume_name, pool.volumes)
    )


def interrupted(run: Run, now: float) -> Event:
    """The event that tells of an apply whose process died."""
    plan = PLAN_JSON.validate_json(run.plan)
    left = len(plan.actions) - len(run.results)
    message = f"an apply begun at {run.started:.0f} was interrupted with {left} of {len(plan.actions)} actions open"
    return Event(now, "ApplyInterrupted", f"{message}; the hosts are asked what became of them", warning=True)
