"""Where machines are and are about to be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import Connection, select

from reconciler.model.placement import Phase, Record
from reconciler.store import schema
from reconciler.store.base import Conflict, IntentConflictError
from reconciler.store.session import Session, as_row, delete_rows, replace_rows


class Records(Session):
    """The part of the store that keeps whereabouts."""

    def records(self) -> Mapping[str, Record]:
        """See `Store.records`."""
        return self._snapshot("records", _load)

    def commit_intents(self, intents: Iterable[Record], *, void: Collection[str] = ()) -> None:
        """See `Store.commit_intents`."""
        wanted = {intent.vm: intent for intent in intents}
        void = frozenset(void)
        with self._writing() as connection:
            existing = self.records()
            conflicts = tuple(find_conflicts(wanted, existing, void))
            if conflicts:
                raise IntentConflictError(conflicts)
            changed = [record for record in wanted.values() if existing.get(record.vm) != record]
            replace_rows(connection, schema.records, map(as_row, changed))
            dropped = (existing.keys() & void) - wanted.keys()
            delete_rows(connection, schema.records, [{"vm": vm} for vm in dropped])
            self._forget("records")

    def put_records(self, records: Iterable[Record]) -> None:
        """See `Store.put_records`."""
        existing = self.records()
        changed = [record for record in records if existing.get(record.vm) != record]
        if changed:
            with self._writing() as connection:
                replace_rows(connection, schema.records, map(as_row, changed))
                self._forget("records")

    def delete_records(self, vms: Iterable[str]) -> None:
        """See `Store.delete_records`."""
        existing = self.records()
        gone = [{"vm": vm} for vm in vms if vm in existing]
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.records, gone)
                self._forget("records")


def find_conflicts(
    wanted: Mapping[str, Record], existing: Mapping[str, Record], void: frozenset[str]
) -> Iterator[Conflict]:
    """Intents that would give a machine another uid or host, or a uid another machine."""
    # By name, so that of several that stand in the way always the same one is told.
    standing = {vm: existing[vm] for vm in sorted(existing) if vm not in void}
    # A machine of this very batch speaks for itself; the others keep their uid.
    owners = {record.uid: record for vm, record in standing.items() if vm not in wanted}
    for intent in wanted.values():
        before = standing.get(intent.vm)
        if before is not None and (before.uid, before.host) != (intent.uid, intent.host):
            yield Conflict(intent, before)
        elif intent.uid in owners:
            yield Conflict(intent, owners[intent.uid])
        owners.setdefault(intent.uid, intent)


def _load(connection: Connection) -> Mapping[str, Record]:
    return {
        row.vm: Record(row.vm, row.uid, row.host, row.generation, Phase(row.phase))
        for row in connection.execute(select(schema.records))
    }
