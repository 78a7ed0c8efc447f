"""Where machines are, as the hosts' own marks prove it, and how they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.bookkeeping.addresses import note_addresses
from reconciler.bookkeeping.runs import disks_of
from reconciler.bookkeeping.volumes import note_volumes
from reconciler.model.placement import Phase, Record
from reconciler.model.plan import Plan
from reconciler.model.status import Condition, ConditionStatus, Event
from reconciler.planner import Survey
from reconciler.planner.diff import mark_of
from reconciler.store.base import Store, Subject


def note_whereabouts(store: Store, survey: Survey) -> None:
    """Records that the hosts' own marks contradict or complete."""
    write, forget = whereabouts(survey)
    if write:
        store.put_records(write)
    if forget:
        store.delete_records(forget)
        store.clear_retries(forget)
    note_addresses(store, survey)
    note_volumes(store, survey)


def note_conditions(store: Store, plan: Plan, said: Mapping[str, tuple[Condition, ...]], now: float) -> None:
    """Conditions of the machines, and an event where one became worse or well again."""
    before = store.conditions(Subject.VM)
    changed = store.set_conditions(Subject.VM, said, complete=True)
    store.add_events(
        event
        for vm, after in changed.items()
        for event in _turns(vm, before.get(vm, ()), after, plan.revision, now)
    )


_NO_NEWS = frozenset({"Waiting"})
"""Reasons that every start brings along: they are worth a condition and no event."""


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
        if (
            condition.type not in _BAD
            or condition.reason in _NO_NEWS
            or (last and (last.status, last.reason) == (condition.status, condition.reason))
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
        if not disks_of(record, situation.fleet):
            forget.append(vm)
        elif record.phase is not Phase.RETAINED:
            write.append(replace(record, phase=Phase.RETAINED))
    return write, forget
