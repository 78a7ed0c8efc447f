"""Intents before a push, and the journal of it: this order keeps a machine from existing twice."""

from __future__ import annotations

import uuid

from reconciler.bookkeeping.addresses import promise_addresses
from reconciler.bookkeeping.volumes import promise_volumes
from reconciler.model.host import Fleet
from reconciler.model.placement import Phase, Record, is_machine, parse_volume_name
from reconciler.model.plan import PLAN_JSON, ActionResult, Change, Plan, Verb
from reconciler.model.status import Event
from reconciler.store.base import HostWord, Run, Store


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
        promise_addresses(store, plan)
        promise_volumes(store, plan)
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
    return record.uid not in host.domains and not disks_of(record, fleet)


def finish(store: Store, run: str, results: tuple[ActionResult, ...]) -> tuple[ActionResult, ...]:
    """Close the journal of a run whose results are all known."""
    with store.transaction():
        store.finish_action(run, *results)
        store.finish_run(run)
    return results


def disks_of(record: Record, fleet: Fleet) -> bool:
    """True if its host shows a disk of it; only ask of a host that answers."""
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
