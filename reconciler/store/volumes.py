"""Where volumes with a life of their own lie, and what becomes of their data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from reconciler.model.placement import ClaimRecord, Phase, VolumeRecord
from reconciler.store import schema
from reconciler.store.session import Session, as_row, delete_rows, replace_rows


class Volumes(Session):
    """The part of the store that remembers volumes."""

    def volumes(self) -> Mapping[str, VolumeRecord]:
        """See `Store.volumes`."""
        return self._snapshot("volumes", _load)

    def put_volumes(self, records: Iterable[VolumeRecord]) -> None:
        """See `Store.put_volumes`."""
        existing = self.volumes()
        changed = [record for record in records if existing.get(record.volume) != record]
        if changed:
            with self._writing() as connection:
                replace_rows(connection, schema.volumes, map(as_row, changed))
                self._forget("volumes")

    def delete_volumes(self, volumes: Iterable[str]) -> None:
        """See `Store.delete_volumes`."""
        existing = self.volumes()
        gone = [{"volume": volume} for volume in volumes if volume in existing]
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.volumes, gone)
                self._forget("volumes")

    def claims(self) -> frozenset[ClaimRecord]:
        """See `Store.claims`."""
        return self._snapshot("claims", _load_claims)

    def put_claims(self, records: Iterable[ClaimRecord]) -> None:
        """See `Store.put_claims`."""
        new = frozenset(records) - self.claims()
        if new:
            with self._writing() as connection:
                replace_rows(connection, schema.claims, map(as_row, new))
                self._forget("claims")

    def delete_claims(self, records: Iterable[ClaimRecord]) -> None:
        """See `Store.delete_claims`."""
        gone = [{"volume": one.volume, "machine": one.machine} for one in self.claims() & frozenset(records)]
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.claims, gone)
                self._forget("claims")


def _load_claims(connection: Connection) -> frozenset[ClaimRecord]:
    return frozenset(
        ClaimRecord(row.volume, row.machine, row.host, row.pool)
        for row in connection.execute(select(schema.claims))
    )


def _load(connection: Connection) -> Mapping[str, VolumeRecord]:
    return {
        row.volume: VolumeRecord(row.volume, row.uid, row.host, row.pool, row.policy, Phase(row.phase))
        for row in connection.execute(select(schema.volumes))
    }
