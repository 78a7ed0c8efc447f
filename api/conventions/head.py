"""HEAD is answered as GET is, without the body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from typing import Any

from api.auth.audit import declared_of, is_write


def answer_head(resource: Any) -> None:
    """Let HEAD do what GET does, where that only looks: nobody expects of a HEAD that it changes anything."""
    declared = declared_of(resource, "GET")
    if declared is None or declared.lenient or is_write("GET", declared) or hasattr(resource, "on_head"):
        return
    resource.on_head = resource.on_get
