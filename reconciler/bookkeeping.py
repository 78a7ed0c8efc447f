"""What a tick writes down: whereabouts and intents before a push; results and conditions after it.

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
from reconciler.model.envelope import Manifest
from reconciler.model.host import Fleet
from reconciler.model.placement import Phase, Record, is_machine, parse_key, parse_volume_name
from reconciler.model.plan import PLAN_JSON, ActionResult, Change, Outcome, Plan, Verb
from reconciler.model.status import Condition, ConditionStatus, Event, Retry
from reconciler.planner import Survey
from reconciler.planner.backoff import Failure, next_retry
from reconciler.planner.diff import mark_of
from reconciler.store.base import HostWord, Run, Store, Subject

_WORLD_MOVED = frozenset({"DomainMissing", "Cancelled"})
"""Failures that blame nobody: between look and push something changed, and the next look will tell."""

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
    store.add_events(_host_event(name, found[0], now) for name, found in changed.items() if found)


def _host_event(name: str, ready: Condition, now: float) -> Event:
    if ready.status is ConditionStatus.TRUE and ready.message:
        return Event(now, "HostWarning", ready.message, host=name, warning=True)
    return Event(
        now,
        ready.reason,
        ready.message or "answers",
        host=name,
        warning=ready.status is not ConditionStatus.TRUE,
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


def begin(store: Store, plan: Plan, fleet: Fleet, now: float) -> str:
    """Commit where machines are about to be, durably, and open the journal. Returns the run's id.

    Raises:
        StoreError: An intent contradicts the store; nothing was committed.
    """
    run = f"{int(now)}-{uuid.uuid4().hex[:12]}"
    intents = [
        Record(change.vm, change.uid, change.host, change.generation, Phase.INTENDED)
        for change in plan.changes
        if change.verb in (Verb.CREATE, Verb.REPLACE) and is_machine(change.vm) and _acts(plan, change)
    ]
    void = {change.vm for change in plan.changes if is_machine(change.vm) and _void(change, store, fleet)}
    with store.transaction():
        store.commit_intents(intents, void=void)
        store.begin_run(run, PLAN_JSON.dump_json(plan).decode(), now)
    return run


def _acts(plan: Plan, change: Change) -> bool:
    return any(action.vm == change.vm for action in plan.actions)


def _void(change: Change, store: Store, fleet: Fleet) -> bool:
    """True if what is on record of a machine provably means nothing any more, so that it may begin anew.

    Its host answers and has neither the domain nor a disk of that uid; or an operator vouches that the
    host is dead; or the plan itself removes the old one first.
    """
    record = store.records().get(change.vm)
    if record is None or (record.uid, record.host) == (change.uid, change.host):
        return False
    host = fleet.get(record.host)
    if host is None or not host.known:
        return store.words().get(record.host) is HostWord.DEAD
    if change.verb is Verb.REPLACE:
        return True
    return record.uid not in host.domains and not _disks_of(record, fleet)


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


def note_whereabouts(store: Store, survey: Survey) -> None:
    """Records that the hosts' own marks contradict or complete."""
    write, forget = whereabouts(survey)
    if write:
        store.put_records(write)
    if forget:
        store.delete_records(forget)
        store.clear_retries(forget)


def note_conditions(store: Store, plan: Plan, said: Mapping[str, tuple[Condition, ...]], now: float) -> None:
    """Conditions of the machines, and an event where one became worse or well again."""
    before = store.conditions(Subject.VM)
    changed = store.set_conditions(Subject.VM, said, complete=True)
    store.add_events(
        event
        for vm, after in changed.items()
        for event in _turns(vm, before.get(vm, ()), after, plan.revision, now)
    )


_BAD = {
    "Ready": ConditionStatus.FALSE,
    "RestartRequired": ConditionStatus.TRUE,
    "ReplaceRequired": ConditionStatus.TRUE,
}


def _turns(
    vm: str, before: tuple[Condition, ...], after: tuple[Condition, ...], revision: str, now: float
) -> Iterable[Event]:
    """Events for the conditions that people wait for; a new machine's first word is none."""
    earlier = {condition.type: condition for condition in before}
    for condition in after:
        last = earlier.get(condition.type)
        if condition.type not in _BAD or (
            last and (last.status, last.reason) == (condition.status, condition.reason)
        ):
            continue
        bad = condition.status is _BAD[condition.type]
        if bad or (last is not None and last.status is _BAD[condition.type]):
            word = condition.reason if condition.type == "Ready" else condition.type
            message = condition.message or f"{condition.type} is {condition.status}"
            yield Event(now, word, message, vm, "", bad, revision)


def whereabouts(survey: Survey) -> tuple[list[Record], list[str]]:
    """What the hosts' own marks prove about where machines are, as far as it differs from the records.

    Returns:
        Records to write, and machines to forget: nobody desires them, and neither a domain nor a kept disk
        is left of them on a host that answers.
    """
    situation = survey.situation
    records = situation.records
    write = []
    # Whatever carries our mark, be it blocked or suspended: off record it could be made again elsewhere.
    for vm, domain in survey.index.ours.items():
        mark = mark_of(domain)
        if mark is None:
            continue
        phase = Phase.DELETING if vm in survey.leaving else Phase.PLACED
        record = records.get(vm)
        told = (domain.uuid, domain.host, mark.generation, phase)
        if record is None or (record.uid, record.host, record.generation, record.phase) != told:
            write.append(Record(vm, *told))
    forget = []
    seen = survey.index.ours.keys() | survey.index.twins.keys() | survey.blocked.keys()
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
    message = (
        f"an apply begun at {run.started:.0f} was interrupted with {left} of {len(plan.actions)} actions open"
    )
    return Event(now, "ApplyInterrupted", f"{message}; the hosts are asked what became of them", warning=True)
