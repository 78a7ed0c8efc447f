"""Which hosts answer, and what operators vouched for."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.host import Fleet
from reconciler.model.placement import Record
from reconciler.model.status import Condition, ConditionStatus, Event
from reconciler.store.base import HostWord, Store, Subject


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
    records, dead = store.records(), dead_hosts(store, fleet)
    if not dead:
        return records
    return {vm: record for vm, record in records.items() if record.host not in dead}


def dead_hosts(store: Store, fleet: Fleet) -> set[str]:
    """Hosts that an operator declared dead, and that still do not answer."""
    words = store.words().items()
    return {
        name for name, word in words if word is HostWord.DEAD and not (name in fleet and fleet[name].known)
    }
