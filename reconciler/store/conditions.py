"""How machines and hosts are, written only where it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from sys import intern
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from reconciler.model.status import Condition, ConditionStatus
from reconciler.store import schema
from reconciler.store.base import Subject
from reconciler.store.session import Session, as_row, delete_rows, replace_rows

Told = tuple[Condition, ...]
"""All conditions of one machine or host, ordered by type."""


MANY = 2000
"""If more subjects than this changed, all are read again."""

REMEMBERED = 5000
"""Versions for which it is known what they changed; one who has an older one reads all again."""


class Conditions(Session):
    """The part of the store that keeps conditions."""

    def conditions(self, subject: Subject) -> Mapping[str, Told]:
        """See `Store.conditions`."""
        return self._snapshot(
            _key(subject),
            lambda connection: _load(connection, subject),
            lambda connection, before, version: _patch(connection, subject, before, version),
        )

    def set_conditions(
        self, subject: Subject, conditions: Mapping[str, Sequence[Condition]], *, complete: bool = False
    ) -> Mapping[str, Told]:
        """See `Store.set_conditions`."""
        stored = self.conditions(subject)
        changed = dict(find_changes(stored, conditions, complete=complete))
        if changed:
            with self._writing(durable=False) as connection:
                _write(connection, subject, stored, changed)
                version = self._next_version(connection, _key(subject))
                _remember(connection, subject, changed, version)
                merged = {**stored, **changed}
                snapshot = {name: each for name, each in merged.items() if each}
                self._keep(_key(subject), snapshot)
        return changed


def find_changes(
    stored: Mapping[str, Told], given: Mapping[str, Sequence[Condition]], *, complete: bool
) -> Iterator[tuple[str, Told]]:
    """Subjects whose conditions differ, with what they become; an empty tuple where there are none left."""
    for name, conditions in given.items():
        before = stored.get(name, ())
        if conditions is before or _same(before, conditions):
            continue
        earlier = {condition.type: condition for condition in before}
        after = sorted((c.after(earlier.get(c.type)) for c in conditions), key=attrgetter("type"))
        yield name, tuple(after)
    if complete and len(stored) > 0:
        for name in stored.keys() - given.keys():
            yield name, ()


def _same(before: Sequence[Condition], given: Sequence[Condition]) -> bool:
    """Nothing differs but the transition time. On the path of every machine at every tick."""
    if len(before) != len(given):
        return False
    return all(
        old.type == new.type
        and old.status is new.status
        and old.reason == new.reason
        and old.message == new.message
        and old.observed_generation == new.observed_generation
        for old, new in zip(before, sorted(given, key=attrgetter("type")), strict=True)
    )


def _key(subject: Subject) -> str:
    return f"conditions of {subject}"


def _load(connection: Connection, subject: Subject) -> dict[str, Told]:
    return _read(connection, schema.conditions.c.subject == subject)


def _patch(
    connection: Connection, subject: Subject, before: Mapping[str, Told], version: int
) -> Mapping[str, Told] | None:
    """What was read at an earlier version, with just those read again that were written since.

    Of 40,000 conditions most ticks change a few.
    """
    changes, columns = schema.condition_changes.c, schema.conditions.c
    since = (changes.subject == subject, changes.version > version)
    newest = connection.execute(select(func.max(changes.version)).where(changes.subject == subject)).scalar()
    names = connection.execute(select(changes.name).where(*since).limit(MANY + 1)).scalars().all()
    if len(names) > MANY or (newest or 0) - version > REMEMBERED:
        return None
    after = {**before}
    for begin in range(0, len(names), 200):
        part = names[begin : begin + 200]
        found = _read(connection, and_(columns.subject == subject, columns.name.in_(part)))
        for name in part:
            if name in found:
                after[name] = found[name]
            else:
                after.pop(name, None)
    return after


def _remember(connection: Connection, subject: Subject, names: Iterable[str], version: int) -> None:
    """Which subjects a version changed, for those who have read an earlier one."""
    rows = [{"subject": subject, "name": name, "version": version} for name in names]
    replace_rows(connection, schema.condition_changes, rows)
    if version % 500 == 0:
        changes = schema.condition_changes.c
        old = (changes.subject == subject, changes.version < version - REMEMBERED - 500)
        connection.execute(delete(schema.condition_changes).where(*old))


def _read(connection: Connection, where: ColumnElement[bool]) -> dict[str, Told]:
    table = schema.conditions
    query = select(table).where(where).order_by(table.c.name, table.c.type)
    grouped: dict[str, list[Condition]] = {}
    for row in connection.execute(query):
        grouped.setdefault(row.name, []).append(
            Condition(
                intern(row.type),
                ConditionStatus(row.status),
                intern(row.reason),
                row.message,
                row.last_transition_time,
                row.observed_generation,
            )
        )
    return {name: tuple(conditions) for name, conditions in grouped.items()}


def _write(
    connection: Connection,
    subject: Subject,
    stored: Mapping[str, Told],
    changed: Mapping[str, Told],
) -> None:
    """Only the single conditions that differ; those of a subject's old set that are gone are deleted."""
    written: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for name, conditions in changed.items():
        before = {condition.type: condition for condition in stored.get(name, ())}
        key = {"subject": subject, "name": name}
        written.extend({**key, **as_row(c)} for c in conditions if before.pop(c.type, None) != c)
        gone.extend({**key, "type": kind} for kind in before)
    delete_rows(connection, schema.conditions, gone)
    replace_rows(connection, schema.conditions, written)
