"""Which addresses machines have, for those whose host does not answer."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from reconciler.model.placement import AddressRecord
from reconciler.store import schema
from reconciler.store.session import Session, as_row, delete_rows, replace_rows


class Addresses(Session):
    """The part of the store that keeps addresses."""

    def addresses(self) -> frozenset[AddressRecord]:
        """See `Store.addresses`."""
        return self._snapshot("addresses", _load)

    def put_addresses(self, records: Iterable[AddressRecord]) -> None:
        """See `Store.put_addresses`."""
        new = set(records) - self.addresses()
        if new:
            with self._writing() as connection:
                replace_rows(connection, schema.addresses, map(as_row, sorted(new)))
                self._forget("addresses")

    def drop_addresses(self, records: Iterable[AddressRecord]) -> None:
        """See `Store.drop_addresses`."""
        gone = set(records) & self.addresses()
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.addresses, map(as_row, sorted(gone)))
                self._forget("addresses")


def _load(connection: Connection) -> frozenset[AddressRecord]:
    return frozenset(
        AddressRecord(row.vm, row.interface, row.network, row.address)
        for row in connection.execute(select(schema.addresses))
    )
