"""Deletions that somebody asked for by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, select

from reconciler.store import schema
from reconciler.store.session import Session, replace_rows

TOPIC = "deletions"


class Deletions(Session):
    """The part of the store that keeps deletions that were asked for."""

    def deletions(self) -> Mapping[str, str]:
        """See `DeletionStore.deletions`."""
        return self._snapshot(TOPIC, _load)

    def ask_deletion(self, key: str, uid: str, by: str, now: float) -> None:
        """See `DeletionStore.ask_deletion`."""
        with self._writing() as connection:
            replace_rows(connection, schema.deletions, [{"key": key, "uid": uid, "by": by, "asked": now}])
            self._forget(TOPIC)

    def forget_deletions(self, keys: Collection[str], before: float | None = None) -> None:
        """See `DeletionStore.forget_deletions`."""
        columns = schema.deletions.c
        if not (known := sorted(self.deletions().keys() & set(keys))):
            return
        with self._writing() as connection:
            over = [] if before is None else [columns.asked < before]
            gone = connection.execute(delete(schema.deletions).where(columns.key.in_(known), *over))
            if gone.rowcount:
                self._forget(TOPIC)


def _load(connection: Connection) -> Mapping[str, str]:
    columns = schema.deletions.c
    return {row.key: row.uid for row in connection.execute(select(columns.key, columns.uid))}
