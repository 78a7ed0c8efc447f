"""One connection that all threads share in turn: transactions, snapshots, and errors in words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, Table, bindparam, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from reconciler.errors import StoreError
from reconciler.store import schema

T = TypeVar("T")
Patch = Callable[[Connection, T, int], T | None]
Row = Mapping[str, Any]

_HINTS = {
    "locked": "another process writes to it for very long; look who has the file open",
    "full": "free some space on its file system",
    "readonly": "give the user that runs reconciler write access to it",
    "not a database": "move the file away: ownership and placement come back from the hosts",
    "malformed": "move the file away: ownership and placement come back from the hosts",
}

_RAISE = text(
    "INSERT INTO topics (name, version) VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET version = topics.version + 1 RETURNING version"
)


class Session:
    """What the parts of `SqlStore` stand on.

    What is read as a whole is kept as a snapshot under a name, its topic.  Whoever writes something else
    under it raises the topic's version in the same transaction, so that any other process drops just what
    changed: a machine that is lent there is no reason to read 40,000 conditions again here.

    Args:
        engine: Keeps a single connection (a static pool), so that "what changed since" has a meaning.
            Its ``begin`` obeys the execution options ``write`` and ``durable``.
        changed_elsewhere: Given the connection: a number that changes when another process commits.
        peek: The same number without a transaction, many times cheaper; None where it cannot be told.
        name: The store's place, for messages.
    """

    def __init__(
        self,
        engine: Engine,
        changed_elsewhere: Callable[[Connection], int],
        peek: Callable[[Engine], int | None],
        name: str,
    ) -> None:
        self._engine = engine
        self._changed_elsewhere = changed_elsewhere
        self._peek = peek
        self._name = name
        self._lock = threading.RLock()
        self._current: Connection | None = None
        self._seen_change: int | None = None
        self._writes = 0
        self._versions: dict[str, int] = {}
        self._touched: set[str] = set()
        self._snapshots: dict[str, Any] = {}
        self._stale: dict[str, tuple[int, Any]] = {}
        self._listeners: tuple[Callable[[], object], ...] = ()

    def close(self) -> None:
        """Let go of the backend. Closing twice is harmless."""
        with self._lock:
            self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable; see `Store.transaction`."""
        with self._writing():
            yield

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A connection in a write transaction, which is the outer one's where there is one.

        Args:
            durable: Survives a power failure once it returned.  Otherwise it survives the death of the
                process, and a power failure may lose the last moments of it.
        """
        with self._lock:
            if self._current is not None:
                yield self._current
                return
            with self._outermost(durable=durable) as connection:
                yield connection
        for listener in self._listeners:
            listener()

    def on_commit(self, listener: Callable[[], object]) -> None:
        """See `WatchStore.on_commit`."""
        self._listeners += (listener,)

    @contextmanager
    def _outermost(self, *, durable: bool) -> Iterator[Connection]:
        try:
            with self._begin(write=True, durable=durable) as connection:
                yield connection
                self._raise_versions(connection)
        except BaseException:
            # What was rolled back may already stand in a snapshot.
            self._snapshots.clear()
            self._stale.clear()
            self._seen_change = None
            raise
        finally:
            self._writes += 1
            self._touched.clear()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock:
            if self._current is not None:
                yield self._current
                return
            with self._begin(write=False) as connection:
                yield connection

    @contextmanager
    def _begin(self, **options: bool) -> Iterator[Connection]:
        try:
            with self._engine.execution_options(**options).begin() as connection:
                self._current = connection
                try:
                    yield connection
                finally:
                    self._current = None
        except DBAPIError as error:
            raise self._in_words(error) from error

    def _in_words(self, error: DBAPIError) -> StoreError:
        reason = str(error.orig)
        hint = next((hint for sign, hint in _HINTS.items() if sign in reason), "")
        return StoreError(f"the store {self._name} failed: {reason}", hint=hint)

    def _snapshot(self, name: str, load: Callable[[Connection], T], patch: Patch[T] | None = None) -> T:
        """What `load` reads, kept until this or another process changes something under that name.

        Args:
            name: The topic.
            load: Reads all of it.
            patch: Brings what was read at an earlier version of the topic up to date; None if it cannot.
        """
        with self._lock:
            if name in self._snapshots and self._rests():
                return cast("T", self._snapshots[name])
            return self._read_snapshot(name, load, patch)

    def _rests(self) -> bool:
        """Nobody committed anything since we looked last. Under the lock."""
        return (
            self._current is None
            and self._seen_change is not None
            and self._peek(self._engine) == self._seen_change
        )

    def _read_snapshot(self, name: str, load: Callable[[Connection], T], patch: Patch[T] | None) -> T:
        with self._reading() as connection:
            self._notice(connection)
            if name not in self._snapshots:
                stale = self._stale.pop(name, None)
                patched = patch(connection, stale[1], stale[0]) if patch and stale else None
                self._snapshots[name] = patched if patched is not None else load(connection)
            return cast("T", self._snapshots[name])

    def _next_version(self, connection: Connection, name: str) -> int:
        """The version that a topic gets with this write transaction."""
        columns = schema.topics.c
        found = connection.execute(select(columns.version).where(columns.name == name)).scalar()
        return int(found or 0) + 1

    def _keep(self, name: str, snapshot: object) -> None:
        """Written: what `name` reads from now on, known without reading it again. In a write transaction."""
        self._touched.add(name)
        self._stale.pop(name, None)
        self._snapshots[name] = snapshot

    def _forget(self, *names: str) -> None:
        """Written: what these names read must be read again, here and elsewhere. In a write transaction."""
        for name in names:
            self._touched.add(name)
            self._stale.pop(name, None)
            self._snapshots.pop(name, None)

    def _notice(self, connection: Connection) -> None:
        """Drop the snapshots of what another process changed."""
        change = self._changed_elsewhere(connection)
        if change == self._seen_change:
            return
        topics = schema.topics.c
        found = {row.name: row.version for row in connection.execute(select(topics.name, topics.version))}
        for name in list(self._snapshots):
            version = self._versions.get(name)
            if found.get(name) != version:
                self._stale[name] = (version or 0, self._snapshots.pop(name))
        self._versions, self._seen_change = found, change

    def _raise_versions(self, connection: Connection) -> None:
        for name in sorted(self._touched):
            version = int(connection.execute(_RAISE, {"name": name}).scalar_one())
            if version != self._versions.get(name, 0) + 1:
                # Another process wrote between our look and our own writing.
                self._snapshots.pop(name, None)
            self._versions[name] = version


def as_row(value: Any) -> dict[str, Any]:
    """A flat dataclass by column. `asdict` would copy deeply, which at 100,000 conditions takes seconds."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def replace_rows(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Write rows by primary key, in SQL that every backend understands."""
    rows = list(rows)
    if rows:
        delete_rows(connection, table, rows)
        connection.execute(insert(table), rows)


def delete_rows(connection: Connection, table: Table, keys: Iterable[Row]) -> None:
    """Delete rows by primary key; further columns in `keys` are ignored."""
    columns = list(table.primary_key.columns)
    values = [{f"key_{column.name}": key[column.name] for column in columns} for key in keys]
    if values:
        matches = (column == bindparam(f"key_{column.name}") for column in columns)
        connection.execute(delete(table).where(*matches), values)
