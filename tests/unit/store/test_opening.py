from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, inspect, text

from reconciler.errors import StoreError
from reconciler.store import schema, sqlite
from reconciler.store.sql import SqlStore, open_store


@pytest.fixture
def wide_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("wide_umask")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with closing(SqlStore(folder)) as store, store.hold("test"):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"store.sqlite3", "store.sqlite3-wal", "holder.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_folder_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StoreError, match=r"written by every user .* 0777") as caught:
        open_store(tmp_path)
    assert "chmod o-w" in caught.value.hint


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        open_store(tmp_path / "state")
    assert "stateDir" in caught.value.hint


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / sqlite.FILE_NAME).write_text("this is not a database, it only stands where one should be")
    with pytest.raises(StoreError, match="not a database") as caught:
        open_store(tmp_path)
    assert "come back from the hosts" in caught.value.hint


def test_the_pragmas_hold(store: SqlStore) -> None:
    def pragma(connection: Connection, name: str) -> object:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    with store._writing() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "busy_timeout") == 30_000
    with store._writing(durable=False) as connection:
        assert pragma(connection, "synchronous") == 1
    with store.transaction(), store._writing(durable=False) as connection:
        assert pragma(connection, "synchronous") == 2, "the outermost transaction decides"


def test_a_store_of_a_newer_version_is_left_alone(
    store: SqlStore, folder: Path, open_again: Callable[[], SqlStore]
) -> None:
    with store._writing() as connection:
        connection.execute(text("UPDATE store_version SET version = 99"))
    with pytest.raises(StoreError, match="is of version 99") as caught:
        SqlStore(folder)
    assert "newer reconciler" in caught.value.hint
    with store._reading() as connection:
        assert connection.execute(text("SELECT version FROM store_version")).scalar() == 99


def test_there_is_a_migration_to_every_version() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(2, schema.VERSION + 1))


def _tables(path: Path, prepare: Callable[[Connection], None]) -> object:
    engine = sqlite.sqlite_engine(path)
    with engine.execution_options(write=True).begin() as connection:
        prepare(connection)
    found = inspect(engine)
    shape = {name: [column["name"] for column in found.get_columns(name)] for name in found.get_table_names()}
    engine.dispose()
    return shape


def test_an_older_store_is_brought_along_in_order(tmp_path: Path) -> None:
    newer = MetaData()
    Table("version_two", newer, Column("one", Integer), Column("two", Integer), Column("three", Integer))

    def first(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE store_version (version INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO store_version VALUES (1)"))
        connection.execute(text("CREATE TABLE version_two (one INTEGER)"))

    def add_column(connection: Connection, name: str) -> None:
        connection.execute(text(f"ALTER TABLE version_two ADD COLUMN {name} INTEGER"))

    def to_three(connection: Connection) -> None:
        schema.upgrade(
            connection,
            metadata=newer,
            version=3,
            migrations={
                3: lambda step: add_column(step, "three"),
                2: lambda step: add_column(step, "two"),
            },
        )
        assert connection.execute(text("SELECT version FROM store_version")).scalar() == 3

    old, fresh = tmp_path / "old", tmp_path / "fresh"
    _tables(old, first)
    assert _tables(old, to_three) == _tables(fresh, to_three)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = sqlite.prepare_folder(tmp_path)
    shape = _tables(path, schema.upgrade)

    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE records ADD COLUMN new INTEGER"))
        raise KeyError("broken")

    with pytest.raises(KeyError):
        _tables(path, lambda connection: schema.upgrade(connection, version=2, migrations={2: broken}))
    assert _tables(path, schema.upgrade) == shape


def test_closing_twice_is_harmless(folder: Path) -> None:
    store = SqlStore(folder)
    store.close()
    store.close()
