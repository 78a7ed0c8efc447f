"""Which guests were found ready, and what became of the playbooks that are run once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from reconciler.model.readiness import GuestRecord, ProvisionRecord
from reconciler.store import schema
from reconciler.store.session import Session, as_row, delete_rows, replace_rows


class Guests(Session):
    """The part of the store that remembers guests."""

    def guests(self) -> Mapping[str, GuestRecord]:
        """See `Store.guests`."""
        return self._snapshot("guests", _load_guests)

    def set_guests(self, records: Iterable[GuestRecord]) -> None:
        """See `Store.set_guests`."""
        known, wanted = self.guests(), {record.uid: record for record in records}
        fresh = [record for uid, record in wanted.items() if known.get(uid) != record]
        gone = [{"uid": uid} for uid in known.keys() - wanted.keys()]
        if not fresh and not gone:
            return
        with self._writing() as connection:
            delete_rows(connection, schema.guests, gone)
            replace_rows(connection, schema.guests, map(as_row, fresh))
            self._forget("guests")

    def provisions(self) -> Mapping[tuple[str, str], ProvisionRecord]:
        """See `Store.provisions`."""
        return self._snapshot("provisions", _load_provisions)

    def put_provisions(self, records: Iterable[ProvisionRecord]) -> None:
        """See `Store.put_provisions`."""
        latest = {(record.uid, record.playbook): record for record in records}
        if latest:
            with self._writing() as connection:
                replace_rows(connection, schema.provisions, map(as_row, latest.values()))
                self._forget("provisions")

    def forget_provisions(self, keys: Iterable[tuple[str, str]]) -> None:
        """See `Store.forget_provisions`."""
        known = self.provisions()
        gone = [{"uid": uid, "playbook": playbook} for uid, playbook in keys if (uid, playbook) in known]
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.provisions, gone)
                self._forget("provisions")


def _load_guests(connection: Connection) -> Mapping[str, GuestRecord]:
    return {row.uid: GuestRecord(**row._mapping) for row in connection.execute(select(schema.guests))}


def _load_provisions(connection: Connection) -> Mapping[tuple[str, str], ProvisionRecord]:
    found = connection.execute(select(schema.provisions))
    return {(row.uid, row.playbook): ProvisionRecord(**row._mapping) for row in found}
