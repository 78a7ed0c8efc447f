"""The tables, their version, and the steps from an older version to this one.

To change a table: change it here, raise `VERSION`, and add the step that brings an older store along
to `MIGRATIONS`.  A test holds a migrated store against a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    event,
    insert,
    select,
    text,
    update,
)

from reconciler.errors import StoreError

VERSION = 1

Migration = Callable[[Connection], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""The version that a step leads to, and the step. There is one for each version from 2 to `VERSION`."""


class Words(TypeDecorator[str]):
    """Text that came from outside: what is not Unicode (lone surrogates) is replaced, never refused."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        """Make it fit for UTF-8."""
        return None if value is None else value.encode("utf-8", "replace").decode("utf-8")


METADATA = MetaData()

store_version = Table(
    "store_version",
    METADATA,
    Column("version", Integer, nullable=False),
)

records = Table(
    "records",
    METADATA,
    Column("vm", Words, primary_key=True),
    Column("uid", String, nullable=False),
    Column("host", Words, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("phase", String, nullable=False),
)

runs = Table(
    "runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("started", Float, nullable=False),
    Column("plan", Words, nullable=False),
)

run_actions = Table(
    "run_actions",
    METADATA,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Words, primary_key=True),
    Column("host", Words, nullable=False),
    Column("vm", Words, nullable=False),
    Column("outcome", String, nullable=False),
    Column("message", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("terminal", Boolean, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("detail", Words, nullable=False),
)

events = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False, index=True),
    Column("reason", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("vm", Words, nullable=False),
    Column("host", Words, nullable=False),
    Column("warning", Boolean, nullable=False),
    Column("revision", Words, nullable=False),
    Index("events_of_vm", "vm", "id"),
    Index("events_of_host", "host", "id"),
    # One who follows by id must never meet an old id again after the newest event was pruned.
    sqlite_autoincrement=True,
)

conditions = Table(
    "conditions",
    METADATA,
    Column("subject", String, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("type", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("reason", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("last_transition_time", Float, nullable=False),
    Column("observed_generation", Integer, nullable=False),
)

addresses = Table(
    "addresses",
    METADATA,
    Column("vm", Words, primary_key=True),
    Column("interface", Words, primary_key=True),
    Column("network", Words, primary_key=True),
    Column("address", String, primary_key=True),
)

retries = Table(
    "retries",
    METADATA,
    Column("vm", Words, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("terminal", Boolean, nullable=False),
    Column("spec_hash", String, nullable=False),
    Column("message", Words, nullable=False),
    Column("action", Words, nullable=False),
)

hosts_seen = Table(
    "hosts_seen",
    METADATA,
    Column("host", Words, primary_key=True),
    Column("first_seen", Float, nullable=False),
)

host_words = Table(
    "host_words",
    METADATA,
    Column("host", Words, primary_key=True),
    Column("word", String, nullable=False),
    Column("said", Float, nullable=False),
)

image_uses = Table(
    "image_uses",
    METADATA,
    Column("host", Words, primary_key=True),
    Column("pool", Words, primary_key=True),
    Column("volume", Words, primary_key=True),
    Column("needed", Float, nullable=False),
)

guests = Table(
    "guests",
    METADATA,
    Column("uid", String, primary_key=True),
    Column("vm", Words, nullable=False),
    Column("run", Integer, nullable=False),
    Column("asked", Words, nullable=False),
    Column("since", Float, nullable=False),
    Column("ready", Float),
    Column("waits_for", Words, nullable=False),
)

provisions = Table(
    "provisions",
    METADATA,
    Column("uid", String, primary_key=True),
    Column("playbook", String, primary_key=True),
    Column("vm", Words, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("at", Float, nullable=False),
)

volumes = Table(
    "volumes",
    METADATA,
    Column("volume", Words, primary_key=True),
    Column("uid", String, nullable=False),
    Column("host", Words, nullable=False),
    Column("pool", Words, nullable=False),
    Column("policy", String, nullable=False),
    Column("phase", String, nullable=False),
)

claims = Table(
    "claims",
    METADATA,
    Column("volume", String, primary_key=True),
    Column("machine", String, primary_key=True),
    Column("host", Words, nullable=False),
    Column("pool", Words, nullable=False),
)

requests = Table(
    "requests",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("what", Words, nullable=False),
    Column("by", Words, nullable=False),
    Column("asked", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("message", Words, nullable=False),
    Column("code", Integer, nullable=False),
    Column("results", Words, nullable=False),
    # Somebody may wait for an id whose row is gone: it must never become another's.
    sqlite_autoincrement=True,
)

members = Table(
    "members",
    METADATA,
    Column("vm", Words, primary_key=True),
    Column("pool", Words, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("since", Float, nullable=False),
    Column("life", Integer, nullable=False),
    Column("message", Words, nullable=False),
    Column("template", String, nullable=False, server_default=""),
    Index("members_of_pool", "pool", "state", "since", "slot"),
)

leases = Table(
    "leases",
    METADATA,
    Column("id", String, primary_key=True),
    Column("pool", Words, nullable=False),
    # A machine is lent once at a time, whatever the program believes.
    Column("vm", Words, nullable=False, unique=True),
    Column("holder", Words, nullable=False),
    Column("purpose", Words, nullable=False),
    Column("taken", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("latest", Float, nullable=False),
    Column("warned", Boolean, nullable=False),
    Column("by", Words, nullable=False),
    Index("leases_of_pool", "pool", "expires"),
)

lease_keys = Table(
    "lease_keys",
    METADATA,
    Column("key", Words, primary_key=True),
    Column("wish", Words, nullable=False),
    Column("lease", String, nullable=False),
    Column("vm", Words, nullable=False),
    Column("at", Float, nullable=False, index=True),
)

waiters = Table(
    "waiters",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("pool", Words, nullable=False, index=True),
    Column("holder", Words, nullable=False),
    Column("asked", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("waits", Boolean, nullable=False),
    Column("key", Words, nullable=False),
    # A place in line is never given again: one who lost it must not use another's.
    sqlite_autoincrement=True,
)

lease_clock = Table(
    "lease_clock",
    METADATA,
    Column("boot", String, nullable=False),
    Column("offset", Float, nullable=False),
    Column("newest", Float, nullable=False),
)

last_tick = Table(
    "last_tick",
    METADATA,
    Column("time", Float, nullable=False),
    Column("sentence", Words, nullable=False),
    Column("revision", Words, nullable=False),
    Column("ok", Boolean, nullable=False),
)


answers = Table(
    "answers",
    METADATA,
    Column("key", String, primary_key=True),
    Column("request", String, nullable=False),
    Column("worker", String, nullable=False),
    Column("answer", Words, nullable=False),
    Column("asked", Float, nullable=False, index=True),
)

operations = Table(
    "operations",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", Words, nullable=False),
    Column("by", Words, nullable=False),
    Column("asked", Float, nullable=False),
    Column("changed", Float, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("message", Words, nullable=False),
    Column("data", Words, nullable=False),
    # As for requests: somebody may wait for an id whose row is gone.
    sqlite_autoincrement=True,
)

topics = Table(
    "topics",
    METADATA,
    Column("name", String, primary_key=True),
    Column("version", Integer, nullable=False),
)

numbers = Table(
    "numbers",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", Integer, nullable=False),
)

condition_changes = Table(
    "condition_changes",
    METADATA,
    Column("subject", String, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("version", Integer, nullable=False),
    Index("condition_changes_by_version", "subject", "version"),
)

statuses = Table(
    "statuses",
    METADATA,
    Column("subject", String, primary_key=True),
    Column("name", Words, primary_key=True),
    Column("status", Words, nullable=False),
)


tokens = Table(
    "tokens",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", Words, nullable=False),
    Column("digest", String, nullable=False),
    Column("grants", Words, nullable=False),
    Column("mail", Words, nullable=False),
    Column("made", Float, nullable=False),
    Column("made_by", Words, nullable=False),
    Column("parent", String, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
)

token_uses = Table(
    "token_uses",
    METADATA,
    Column("token", String, primary_key=True),
    Column("time", Float, nullable=False),
    Column("source", Words, nullable=False),
)

sessions = Table(
    "sessions",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("token", String, nullable=False, index=True),
    Column("begun", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)

audit = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("who", Words, nullable=False),
    Column("via", String, nullable=False),
    Column("token", String, nullable=False),
    Column("source", Words, nullable=False),
    Column("method", Words, nullable=False),
    Column("path", Words, nullable=False),
    Column("action", String, nullable=False),
    Column("object", Words, nullable=False),
    Column("status", Integer, nullable=False),
    Column("request", Words, nullable=False),
    Column("revision", String, nullable=False),
    Column("detail", Words, nullable=False),
    Index("audit_of_who", "who", "id"),
    Index("audit_of_object", "object", "id"),
    sqlite_autoincrement=True,
)

# What was written down stays as it was; only the oldest go.
event.listen(
    audit,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END"
    ).execute_if(dialect="sqlite"),
)


deletions = Table(
    "deletions",
    METADATA,
    Column("key", Words, primary_key=True),
    Column("uid", String, nullable=False),
    Column("by", Words, nullable=False),
    Column("asked", Float, nullable=False),
)

ids = Table(
    "ids",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", Words, nullable=False),
    Column("number", Integer, nullable=False),
    Column("seen", Boolean, nullable=False),
    Column("ended", Boolean, nullable=False),
    # A number means one object for ever, and an object has one.
    Index("ids_by_number", "kind", "number", unique=True),
    Index("ids_by_name", "kind", "name", unique=True, sqlite_where=text("NOT ended")),
    sqlite_autoincrement=True,
)


def upgrade(
    connection: Connection,
    *,
    metadata: MetaData = METADATA,
    version: int = VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> None:
    """Make the tables of a new store, or bring an older one to `version`, inside the caller's transaction.

    Raises:
        StoreError: The store is of a newer version than this program.
    """
    store_version.create(connection, checkfirst=True)
    found = connection.execute(select(store_version.c.version)).scalar()
    if found is None:
        metadata.create_all(connection)
        connection.execute(insert(store_version).values(version=version))
        return
    if found > version:
        raise StoreError(
            f"the store is of version {found}, and this reconciler knows versions up to {version}",
            hint="use the newer reconciler that wrote it; a store is never taken back to an older version",
        )
    # A new table needs no step: nothing that an older program wrote changes.
    metadata.create_all(connection)
    for step in range(found + 1, version + 1):
        migrations[step](connection)
    if found < version:
        connection.execute(update(store_version).values(version=version))
