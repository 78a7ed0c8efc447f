"""Tokens, sessions and the audit record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from reconciler.model.access import GRANTS_JSON
from reconciler.store import schema
from reconciler.store.base_access import (
    AUDIT_KEPT,
    SESSIONS_OF_A_TOKEN,
    USE_NOTED_EVERY,
    AuditRecord,
    SessionRecord,
    TokenRecord,
    TokenUse,
)
from reconciler.store.session import Session, as_row, replace_rows

PATH_LIMIT = 2048
"""Characters of a request's path, and of a refusal's reason, that the audit record keeps."""

_PRUNE_EVERY = 100


class Access(Session):
    """The part of the store that knows who may come in, and what they did."""

    audit_kept = AUDIT_KEPT

    def tokens(self) -> Mapping[str, TokenRecord]:
        """See `AccessStore.tokens`."""
        return self._snapshot("tokens", _load_tokens)

    def add_token(self, token: TokenRecord, now: float) -> bool:
        """See `AccessStore.add_token`."""
        with self._writing() as connection:
            there = _load_tokens(connection)
            if token.id in there or any(t.name == token.name and t.valid(now) for t in there.values()):
                return False
            row = as_row(token) | {"grants": GRANTS_JSON.dump_json(token.grants).decode()}
            connection.execute(insert(schema.tokens).values(row))
            self._forget("tokens")
            return True

    def revoke_token(self, token: str, now: float) -> bool:
        """See `AccessStore.revoke_token`."""
        columns = schema.tokens.c
        with self._writing() as connection:
            connection.execute(delete(schema.sessions).where(schema.sessions.c.token == token))
            found = connection.execute(
                update(schema.tokens)
                .where(columns.id == token, columns.revoked.is_(None))
                .values(revoked=now)
            )
            self._forget("tokens")
            return found.rowcount == 1

    def note_token_use(self, token: str, now: float, source: str) -> None:
        """See `AccessStore.note_token_use`."""
        with self._writing(durable=False) as connection:
            columns = schema.token_uses.c
            noted = connection.execute(select(columns.time).where(columns.token == token)).scalar()
            # Another process may have noted it a moment ago.
            if noted is None or not noted <= now < noted + USE_NOTED_EVERY:
                row = {"token": token, "time": now, "source": source}
                replace_rows(connection, schema.token_uses, [row])

    def token_uses(self) -> Mapping[str, TokenUse]:
        """See `AccessStore.token_uses`."""
        with self._reading() as connection:
            found = connection.execute(select(schema.token_uses))
            return {row.token: TokenUse(**row._mapping) for row in found}

    def add_session(self, session: SessionRecord) -> None:
        """See `AccessStore.add_session`."""
        columns = schema.sessions.c
        with self._writing() as connection:
            connection.execute(delete(schema.sessions).where(columns.expires <= session.begun))
            mine = select(columns.digest).where(columns.token == session.token)
            kept = mine.order_by(columns.begun.desc()).limit(SESSIONS_OF_A_TOKEN - 1)
            old = (columns.token == session.token, columns.digest.not_in(kept.scalar_subquery()))
            connection.execute(delete(schema.sessions).where(*old))
            connection.execute(insert(schema.sessions).values(as_row(session)))

    def session(self, digest: str) -> SessionRecord | None:
        """See `AccessStore.session`."""
        query = select(schema.sessions).where(schema.sessions.c.digest == digest)
        with self._reading() as connection:
            found = connection.execute(query).first()
            return SessionRecord(**found._mapping) if found is not None else None

    def end_session(self, digest: str) -> None:
        """See `AccessStore.end_session`."""
        with self._writing() as connection:
            connection.execute(delete(schema.sessions).where(schema.sessions.c.digest == digest))

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        """See `AccessStore.add_audit`."""
        rows = [_audit_row(record) for record in records]
        if rows:
            with self._writing(durable=False) as connection:
                connection.execute(insert(schema.audit), rows)
                _prune(connection, self.audit_kept)

    def audit(
        self,
        *,
        before: int | None = None,
        who: str | None = None,
        object_: str | None = None,
        limit: int = 100,
    ) -> tuple[AuditRecord, ...]:
        """See `AccessStore.audit`."""
        columns = schema.audit.c
        query = select(schema.audit).order_by(columns.id.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.id < before)
        if who is not None:
            query = query.where(columns.who == who)
        if object_ is not None:
            query = query.where(columns.object == object_)
        with self._reading() as connection:
            return tuple(AuditRecord(**row._mapping) for row in connection.execute(query))


def _load_tokens(connection: Connection) -> Mapping[str, TokenRecord]:
    rows = connection.execute(select(schema.tokens).order_by(schema.tokens.c.made))
    return {row.id: _token(row._mapping) for row in rows}


def _token(row: Mapping[Any, Any]) -> TokenRecord:
    return TokenRecord(**{**row, "grants": GRANTS_JSON.validate_json(row["grants"])})


def _audit_row(record: AuditRecord) -> dict[str, Any]:
    row = as_row(replace(record, path=record.path[:PATH_LIMIT], detail=record.detail[:PATH_LIMIT]))
    del row["id"]
    return row


def _prune(connection: Connection, kept: int) -> None:
    """Delete the oldest, a batch at a time: there may be a few more than `kept`."""
    columns = schema.audit.c
    newest, oldest = connection.execute(select(func.max(columns.id), func.min(columns.id))).one()
    if newest - oldest >= kept + min(_PRUNE_EVERY, kept):
        connection.execute(delete(schema.audit).where(columns.id <= newest - kept))
