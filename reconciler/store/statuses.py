"""How objects were seen last, written only where it changed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from reconciler.store import schema
from reconciler.store.base_watch import topic_of_statuses
from reconciler.store.session import Session, delete_rows, replace_rows


class Statuses(Session):
    """The part of the store that keeps statuses."""

    def statuses(self, subject: str) -> Mapping[str, str]:
        """See `WatchStore.statuses`."""
        return self._snapshot(topic_of_statuses(subject), lambda connection: _load(connection, subject))

    def set_statuses(
        self, subject: str, statuses: Mapping[str, str], *, complete: bool = False
    ) -> frozenset[str]:
        """See `WatchStore.set_statuses`. Not synced to the disk: the next tick says it again."""
        stored = self.statuses(subject)
        fresh = {name: told for name, told in statuses.items() if stored.get(name) != told}
        gone = stored.keys() - statuses.keys() if complete else frozenset()
        if fresh or gone:
            with self._writing(durable=False) as connection:
                delete_rows(connection, schema.statuses, [_key(subject, name) for name in gone])
                rows = [_key(subject, name) | {"status": told} for name, told in fresh.items()]
                replace_rows(connection, schema.statuses, rows)
                after = {name: told for name, told in {**stored, **fresh}.items() if name not in gone}
                self._keep(topic_of_statuses(subject), after)
        return frozenset(fresh) | gone


def _key(subject: str, name: str) -> dict[str, str]:
    return {"subject": subject, "name": name}


def _load(connection: Connection, subject: str) -> Mapping[str, str]:
    columns = schema.statuses.c
    query = select(columns.name, columns.status).where(columns.subject == subject).order_by(columns.name)
    return {row.name: row.status for row in connection.execute(query)}
