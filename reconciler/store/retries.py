"""Which machines failed, and when they may be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from reconciler.model.status import Retry
from reconciler.store import schema
from reconciler.store.session import Session, as_row, delete_rows, replace_rows


class Retries(Session):
    """The part of the store that keeps failures over a restart."""

    def retries(self) -> Mapping[str, Retry]:
        """See `Store.retries`."""
        return self._snapshot("retries", _load)

    def put_retries(self, retries: Iterable[Retry]) -> None:
        """See `Store.put_retries`."""
        latest = {retry.vm: retry for retry in retries}
        if latest:
            with self._writing() as connection:
                replace_rows(connection, schema.retries, map(as_row, latest.values()))
                self._forget("retries")

    def clear_retries(self, vms: Iterable[str]) -> None:
        """See `Store.clear_retries`."""
        existing = self.retries()
        over = [{"vm": vm} for vm in vms if vm in existing]
        if over:
            with self._writing() as connection:
                delete_rows(connection, schema.retries, over)
                self._forget("retries")


def _load(connection: Connection) -> Mapping[str, Retry]:
    return {row.vm: Retry(**row._mapping) for row in connection.execute(select(schema.retries))}
