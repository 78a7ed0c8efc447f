"""``/api/v1/audit``: what was done, by whom, for admins of everything."""

from __future__ import annotations

from collections.abc import Iterable

from falcon.asgi import Request, Response

from api.auth.words import record_data
from api.context import require
from api.conventions import media
from api.operation import Answer, Query, operation
from api.services import Services
from reconciler.errors import ForbiddenError
from reconciler.model.access import Role


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The path."""
    return [("/api/v1/audit", AuditRecords(services))]


class AuditRecords:
    """The audit record."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "listAudit",
        summary="What was done, the newest first",
        tag="access",
        query=(
            Query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "At most so many.", 100),
            Query("before", {"type": "integer", "minimum": 1}, "Only those with a smaller id."),
            Query("who", {"type": "string"}, "Only of this caller."),
            Query("object", {"type": "string"}, "Only about this object: `Kind/name`."),
        ),
        answers=(Answer(200, "Records.", "AuditRecordList"),),
        role=Role.ADMIN,
        writes=False,
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """Records are about everything, so they are for those whose grant has no scope."""
        caller = require(req, Role.ADMIN)
        if not any(grant.role is Role.ADMIN and not grant.scoped for grant in caller.grants):
            raise ForbiddenError(f"{caller.name} is no admin of everything")
        query = req.context.query
        found = await self._services.run(
            self._services.store.audit,
            before=query["before"],
            who=query["who"],
            object_=query["object"],
            limit=query["limit"],
        )
        resp.set_header("Cache-Control", "no-store")
        media.say(req, resp, {"items": [record_data(record) for record in found]})
