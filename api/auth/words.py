"""Callers, tokens and audit records as plain data: the same in answers and on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from reconciler.model.access import Caller, Grant
from reconciler.store.base_access import AuditRecord, TokenRecord, TokenUse


def stamp(seconds: float | None) -> str | None:
    """RFC 3339, UTC, whole seconds; None for never."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def caller_data(caller: Caller) -> dict[str, Any]:
    """A caller."""
    return {
        "name": caller.name,
        "mail": caller.mail,
        "via": caller.via,
        "token": caller.token,
        "grants": grants_data(caller.grants),
        "expires": stamp(caller.expires),
    }


def grants_data(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """Grants."""
    return [
        {
            "role": str(grant.role),
            "kinds": list(grant.kinds),
            "names": list(grant.names),
            "labels": dict(grant.labels),
        }
        for grant in grants
    ]


def token_data(record: TokenRecord, use: TokenUse | None, now: float) -> dict[str, Any]:
    """A token, without anything of its secret."""
    return {
        "id": record.id,
        "name": record.name,
        "grants": grants_data(record.grants),
        "mail": record.mail,
        "made": stamp(record.made),
        "madeBy": record.made_by,
        "expires": stamp(record.expires),
        "revoked": stamp(record.revoked),
        "valid": record.valid(now),
        "lastUsed": stamp(use.time) if use is not None else None,
        "lastSource": use.source if use is not None else "",
    }


def record_data(record: AuditRecord) -> dict[str, Any]:
    """An audit record."""
    return {
        "id": record.id,
        "time": stamp(record.time),
        "who": record.who,
        "via": record.via,
        "token": record.token,
        "source": record.source,
        "method": record.method,
        "path": record.path,
        "action": record.action,
        "object": record.object,
        "status": record.status,
        "requestId": record.request,
        "revision": record.revision,
        "detail": record.detail,
    }
