"""What happened, bounded in number and age."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, text

from reconciler.model.status import Event
from reconciler.store import schema
from reconciler.store.session import Session, as_row

MESSAGE_LIMIT = 4096
"""Characters of an event's message that are kept."""

PRUNED = "pruned event"
"""Name of the number that says up to which id events may be missing."""

_REMEMBER_PRUNED = text(
    "INSERT INTO numbers (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > numbers.value"
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How many events are kept, and for how many seconds. What is over either bound goes."""

    count: int = 50_000
    age: float = 30 * 86400.0


class Events(Session):
    """The part of the store that keeps events."""

    retention = Retention()

    def add_events(self, events: Iterable[Event]) -> None:
        """See `Store.add_events`."""
        rows = [_to_row(event) for event in events]
        if rows:
            with self._writing(durable=False) as connection:
                connection.execute(insert(schema.events), rows)
                _prune(connection, self.retention)

    def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        vm: str | None = None,
        host: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> tuple[Event, ...]:
        """See `Store.events`."""
        columns = schema.events.c
        query = select(schema.events).where(columns.id > after).limit(limit)
        if before is not None:
            query = query.where(columns.id < before)
        if vm is not None:
            query = query.where(columns.vm == vm)
        if host is not None:
            query = query.where(columns.host == host)
        query = query.order_by(columns.id if oldest_first else columns.id.desc())
        with self._reading() as connection:
            return tuple(Event(**row._mapping) for row in connection.execute(query))


def _to_row(event: Event) -> dict[str, Any]:
    if len(event.message) > MESSAGE_LIMIT:
        event = replace(event, message=event.message[: MESSAGE_LIMIT - 1] + "…")
    row = as_row(event)
    del row["id"]
    return row


def _prune(connection: Connection, retention: Retention) -> None:
    """Age is counted back from the newest event, for the store reads no clock."""
    columns = schema.events.c
    newest, latest = connection.execute(select(func.max(columns.id), func.max(columns.time))).one()
    too_many = columns.id <= newest - retention.count
    too_old = columns.time < latest - retention.age
    query = delete(schema.events).where(or_(too_many, too_old)).returning(columns.id)
    gone = connection.execute(query).scalars().all()
    if gone:
        # One who follows by id must learn that something is missing: ids alone need not have a gap.
        connection.execute(_REMEMBER_PRUNED, {"name": PRUNED, "value": max(gone)})
