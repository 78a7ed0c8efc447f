"""Deletions that somebody asked for by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select

from reconciler.store import schema
from reconciler.store.session import Session, delete_rows, replace_rows

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

    def forget_deletions(self, keys: Collection[str]) -> None:
        """See `DeletionStore.forget_deletions`."""
        known = self.deletions().keys() & set(keys)
        if known:
            with self._writing() as connection:
                delete_rows(connection, schema.deletions, [{"key": key} for key in known])
                self._forget(TOPIC)


def _load(connection: Connection) -> Mapping[str, str]:
    columns = schema.deletions.c
    return {row.key: row.uid for row in connection.execute(select(columns.key, columns.uid))}
