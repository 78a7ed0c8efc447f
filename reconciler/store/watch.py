"""What changed in the store at all, for those who read along."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, func, insert, select

from reconciler.store import schema
from reconciler.store.base_watch import Changes
from reconciler.store.events import PRUNED
from reconciler.store.session import Session

STORE = "store"
"""Name of the number that a store is given when it is made."""


class Watch(Session):
    """The part of the store that tells what changed."""

    _told: tuple[tuple[int | None, int], Changes] | None = None

    def changes(self) -> Changes:
        """See `WatchStore.changes`."""
        with self._lock:
            told = self._told
            if told is not None and self._rests() and told[0] == (self._seen_change, self._writes):
                return told[1]
            return self._look_for_changes()

    def _look_for_changes(self) -> Changes:
        with self._reading() as connection:
            self._notice(connection)
            now = (self._seen_change, self._writes)
            if self._told is None or self._told[0] != now:
                self._told = now, self._look(connection)
            return self._told[1]

    def _look(self, connection: Connection) -> Changes:
        columns = schema.numbers.c
        numbers = {row.name: row.value for row in connection.execute(select(columns.name, columns.value))}
        newest = connection.execute(select(func.max(schema.events.c.id))).scalar()
        pruned = numbers.get(PRUNED, 0)
        return Changes(numbers.get(STORE, 0), max(newest or 0, pruned), pruned, dict(self._versions))


def name_store(connection: Connection) -> None:
    """Give a new store its number, by which one that was made anew after a loss is told apart."""
    found = connection.execute(select(schema.numbers.c.value).where(schema.numbers.c.name == STORE)).first()
    if found is None:
        connection.execute(insert(schema.numbers).values(name=STORE, value=secrets.randbits(40) + 1))
