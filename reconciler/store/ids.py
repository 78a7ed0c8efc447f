"""Numbers of objects, for clients that know them by number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from reconciler.store import schema
from reconciler.store.base_ids import IDS_KEPT
from reconciler.store.session import Session

TOPIC = "ids"


@dataclass
class _Kind:
    """The living objects of a kind.

    Attributes:
        numbers: By name.
        unseen: Names that no tick has known yet.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)


class Ids(Session):
    """The part of the store that keeps numbers. An object's row ends with it, and its number stays taken."""

    def ids(self, kind: str) -> Mapping[str, int]:
        """See `IdStore.ids`."""
        found = self._ids().get(kind)
        return found.numbers if found is not None else _NONE

    def allot_ids(
        self, kind: str, wanted: Mapping[str, int], *, first: int = 1, seen: bool = False
    ) -> Mapping[str, int]:
        """See `IdStore.allot_ids`."""
        if wanted.keys() <= self.ids(kind).keys():
            return self.ids(kind)
        columns = schema.ids.c
        with self._writing() as connection:
            rows = connection.execute(
                select(columns.name, columns.number, columns.ended).where(columns.kind == kind)
            ).all()
            known = {row.name for row in rows if not row.ended}
            fresh = {name: wish for name, wish in wanted.items() if name not in known}
            given = _numbers(fresh, {row.number for row in rows}, first)
            made: list[dict[str, Any]] = [
                {"kind": kind, "name": name, "number": number, "seen": seen, "ended": False}
                for name, number in given.items()
            ]
            if made:
                connection.execute(insert(schema.ids), made)
                self._forget(TOPIC)
        return self.ids(kind)

    def end_ids(self, kind: str, names: Collection[str]) -> None:
        """See `IdStore.end_ids`."""
        if not self.ids(kind).keys() & set(names):
            return
        columns = schema.ids.c
        with self._writing() as connection:
            mine = (columns.kind == kind, columns.name.in_(list(names)), columns.ended.is_(False))
            connection.execute(update(schema.ids).where(*mine).values(ended=True))
            _prune(connection, kind)
            self._forget(TOPIC)

    def note_living(self, living: Mapping[str, Collection[str]]) -> None:
        """See `IdStore.note_living`."""
        for kind, names in living.items():
            known = self._ids().get(kind)
            if known is None:
                continue
            fresh = [name for name in known.unseen if name in names]
            gone = [name for name in known.numbers if name not in names and name not in known.unseen]
            if fresh:
                columns = schema.ids.c
                with self._writing() as connection:
                    mine = (columns.kind == kind, columns.name.in_(fresh), columns.ended.is_(False))
                    connection.execute(update(schema.ids).where(*mine).values(seen=True))
                    self._forget(TOPIC)
            self.end_ids(kind, gone)

    def _ids(self) -> Mapping[str, _Kind]:
        return self._snapshot(TOPIC, _load)


_NONE: Mapping[str, int] = {}


def _numbers(fresh: Mapping[str, int], taken: Iterable[int], first: int) -> dict[str, int]:
    """A number for each, those first who wish for one that is free."""
    taken = set(taken)
    given = {}
    for name, wish in fresh.items():
        if wish > 0 and wish not in taken:
            given[name] = wish
            taken.add(wish)
    following = max([first - 1, *taken]) + 1
    for name in fresh:
        if name not in given:
            given[name] = following
            following += 1
    return given


def _prune(connection: Connection, kind: str) -> None:
    """Forget the oldest numbers of what is gone, but for the greatest, after which the next is counted."""
    columns = schema.ids.c
    newest, greatest = connection.execute(select(func.max(columns.id), func.max(columns.number))).one()
    connection.execute(
        delete(schema.ids).where(
            columns.kind == kind,
            columns.ended.is_(True),
            columns.id <= newest - IDS_KEPT,
            columns.number < greatest,
        )
    )


def _load(connection: Connection) -> Mapping[str, _Kind]:
    columns = schema.ids.c
    found: dict[str, _Kind] = {}
    query = select(columns.kind, columns.name, columns.number, columns.seen).where(columns.ended.is_(False))
    for row in connection.execute(query.order_by(columns.number)):
        kind = found.setdefault(row.kind, _Kind())
        kind.numbers[row.name] = row.number
        if not row.seen:
            kind.unseen.add(row.name)
    return found
