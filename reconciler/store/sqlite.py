"""What is particular to SQLite: the file, its modes, its pragmas.

The write-ahead log lets `reconciler get` read while the daemon writes.  It needs shared memory between
the processes, so the folder must be on a local file system, not on NFS.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from reconciler.errors import StoreError

FILE_NAME = "store.sqlite3"
BUSY_TIMEOUT = 30.0
"""Seconds that one process waits for another's transaction."""

# IMMEDIATE: to read first and write later in one transaction must not fail half way.
_BEGIN_TO_WRITE = "BEGIN IMMEDIATE"

_PAUSE = 0.002
"""Seconds between tries to be the one that writes, at most: about as long as a transaction takes."""


def prepare_folder(folder: Path) -> Path:
    """Make the folder (0700) and an empty database (0600) where they are missing; the database's path.

    SQLite gives its side files the mode of the database, so only that one has to be made by hand.

    Raises:
        StoreError: They cannot be made, or the folder is open to everybody's writing.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH:
            raise StoreError(
                f"the state folder {folder} can be written by every user (mode {stat.S_IMODE(mode):04o})",
                hint=f"chmod o-w {folder}, or name another folder as stateDir",
            )
        # Only then: closing any descriptor of the file drops every lock that this process has on it.
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(
            f"the store {path} cannot be opened: {error.strerror}",
            hint="name a folder that you may write as stateDir in reconciler.yaml or RECONCILER_STATE_DIR",
        ) from error
    return path


def sqlite_engine(path: Path) -> Engine:
    """An engine with one connection; its ``begin`` obeys the execution options ``write`` and ``durable``."""
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def data_version(connection: Connection) -> int:
    """A number that changes when another connection, of this process or another, has committed."""
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())


def peek(engine: Engine) -> int | None:
    """The same without a transaction, which SQLAlchemy makes ten times as expensive; None if it fails."""
    try:
        connection = engine.raw_connection()
        try:
            driver = connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101 (the engine's own driver)
            return int(driver.execute("PRAGMA data_version").fetchone()[0])
        finally:
            connection.close()
    except (sqlite3.Error, DBAPIError):
        return None


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 (the engine's own driver)
    # Python's sqlite3 would begin transactions on its own, and only before it writes.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # The journal of one large plan must not leave a large log behind for ever. Bytes.
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # In WAL mode FULL syncs the log at every commit; NORMAL leaves that to the next checkpoint, which
    # a killed process does not notice and only a power failure does.
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get('durable', True) else 'NORMAL'}")
    _queue(connection)


def _queue(connection: Connection) -> None:
    """Begin to write as soon as no other process does.

    SQLite's own waiting sleeps longer from try to try, so that of several busy processes one gets all turns
    and another waits for a second; tries at random moments are fair.  A process that is stopped or hangs in
    its turn holds nobody up for longer than `BUSY_TIMEOUT`, as it would with a lock that is waited for.
    """
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 (the engine's own driver)
    begun = time.monotonic()
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() - begun < BUSY_TIMEOUT:
            try:
                raw.execute(_BEGIN_TO_WRITE)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
                time.sleep(random.uniform(_PAUSE / 4, _PAUSE))  # noqa: S311 (no secret)
            else:
                return
        # What is wrong this time is told in the words of the engine.
        connection.exec_driver_sql(_BEGIN_TO_WRITE)
    finally:
        raw.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000)}")
