"""What is known of a request on its way: its id, who asks, and whether they may."""

from __future__ import annotations

import re
import secrets
from typing import Any

from falcon.asgi import Request, Response

from api.auth import sessions
from api.auth.audit import SAFE, declared_of, is_write
from api.auth.forgery import AMBIENT, require_own_page
from api.auth.gate import ANYBODY_LOCAL
from api.services import Services
from reconciler.errors import ForbiddenError, NotFoundError
from reconciler.model.access import NOTHING, Caller, Role, Thing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

EVERYBODY = ANYBODY_LOCAL
"""Who asks where nobody need say who they are: in tests; what is served always has an authenticator."""

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
        """Before the responder.

        Raises:
            UnauthenticatedError: Nobody knows who asks.
            ForbiddenError: A page of another site may have made the request.
        """
        declared = declared_of(resource, req.method)
        authenticator = self._services.authenticator
        if authenticator is None:
            req.context.caller = EVERYBODY
            return
        if declared is not None and declared.role is None:
            req.context.caller = NOBODY
            return
        caller = await self._services.run(authenticator.authenticate, req.headers, req.scope)
        req.context.caller = caller
        # An answer that is a script is run, and so read, by whichever page asks for it.
        if caller.via in AMBIENT and (is_write(req.method, declared) or "jsonp_callback" in req.params):
            self._require_ours(req, caller)

    def _require_ours(self, req: Request, caller: Caller) -> None:
        """Refuse what a foreign page may have made a browser send."""
        secret = sessions.secret_in(req.headers, req.scheme) if caller.via == "session" else ""
        fits = bool(secret) and sessions.csrf_fits(secret, req.get_header(sessions.CSRF_HEADER) or "")
        require_own_page(req.headers, req.scheme, caller.via, self._services.config.origins, known=fits)
        if secret and not fits and req.method not in SAFE:
            raise ForbiddenError(
                f"the header {sessions.CSRF_HEADER} does not fit the session",
                hint="its value is csrfToken in the answer of GET /api/v1/session",
            )


def require(req: Request, role: Role, thing: Thing = NOTHING) -> Caller:
    """Who asks, if they may do this to this thing.

    Raises:
        NotFoundError: They may not even see it: that it is there is none of their business.
        ForbiddenError: They may see it, and not do this.
    """
    caller: Caller = req.context.caller
    if thing.name:
        req.context.thing = thing
    if caller.may(role, thing):
        return caller
    if thing.name and not caller.may(Role.VIEWER, thing):
        raise NotFoundError(f"there is no {thing.kind} {thing.name!r}")
    if not thing.name and caller.may_somewhere(role):
        raise ForbiddenError(
            f"{caller.name} is {role} of some things only, and this is about everything",
            hint=f"it needs a grant as {role} without a scope: see GET /api/v1/whoami",
        )
    about = f" of {thing.kind} {thing.name!r}" if thing.name else ""
    raise ForbiddenError(f"{caller.name} is no {role}{about}", hint="ask an admin for a grant")
