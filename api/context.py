"""What is known of a request on its way: its id, who asks, and whether they may."""

from __future__ import annotations

import re
import secrets
from typing import Any

from falcon.asgi import Request, Response

from api.services import Services
from reconciler.errors import ForbiddenError, NotFoundError
from reconciler.model.access import NOTHING, Caller, Grant, Role, Thing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

EVERYBODY = Caller("anonymous", grants=(Grant(Role.ADMIN),), via="loopback")
"""Who asks where nobody need say who they are: on the loopback address, if the configuration wants it so."""

NOBODY = Caller("nobody")
"""Who asks for what everybody may have."""


class RequestId:
    """Middleware: gives each request an id, the caller's own if it is a plain word."""

    async def process_request(self, req: Request, resp: Response) -> None:
        """Before anything else."""
        given = req.get_header("X-Request-Id") or ""
        found = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        req.context.request_id = resp.context.request_id = found
        resp.set_header("X-Request-Id", found)


class WhoAsks:
    """Middleware: finds out who asks, once the route is known, so that open paths stay open."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process_resource(self, req: Request, _resp: Response, resource: Any, _params: Any) -> None:
        """Before the responder."""
        responder = getattr(resource, f"on_{req.method.lower()}", None)
        declared = getattr(responder, "operation", None)
        authenticator = self._services.authenticator
        if authenticator is None:
            req.context.caller = EVERYBODY
        elif declared is not None and declared.role is None:
            req.context.caller = NOBODY
        else:
            req.context.caller = await self._services.run(authenticator.authenticate, req.headers, req.scope)


def require(req: Request, role: Role, thing: Thing = NOTHING) -> Caller:
    """Who asks, if they may do this to this thing.

    Raises:
        NotFoundError: They may not even see it: that it is there is none of their business.
        ForbiddenError: They may see it, and not do this.
    """
    caller: Caller = req.context.caller
    if caller.may(role, thing):
        return caller
    if thing.name and not caller.may(Role.VIEWER, thing):
        raise NotFoundError(f"there is no {thing.kind} {thing.name!r}")
    about = f" of {thing.kind} {thing.name!r}" if thing.name else ""
    raise ForbiddenError(f"{caller.name} is no {role}{about}", hint="ask an admin for a grant")
