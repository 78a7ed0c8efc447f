"""``/api/v1/session``: a browser's session, begun with a token, kept in a cookie that scripts cannot read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from falcon.asgi import Request, Response

from api.auth import sessions
from api.auth.forgery import own_scheme, require_own_page
from api.auth.words import caller_data
from api.conventions import media
from api.operation import Answer, Body, operation
from api.services import Services
from reconciler.errors import NotFoundError, UnauthenticatedError
from reconciler.model.access import Caller

_COOKIE = {"Set-Cookie": "The session."}


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The path."""
    return [("/api/v1/session", Session(services))]


class Session:
    """The session of this browser."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "createSession",
        summary="Begin a session",
        description="Unsafe methods with the cookie need the answer's `csrfToken` in `X-CSRF-Token`.",
        tag="access",
        body=Body("SessionStart"),
        answers=(Answer(201, "It began.", "Session", headers=_COOKIE),),
        problems=(401, 403, 422, 429),
        role=None,
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Begin it. A foreign page must not put its own session into somebody's browser."""
        media.wanted(req)
        authenticator = self._services.authenticator
        if authenticator is None:
            raise UnauthenticatedError("there are no sessions where nobody need say who they are")
        require_own_page(req.headers, req.scheme, "", self._services.config.origins)
        text = (await media.read_object(req)).get("token")
        secret, session, caller = await self._services.run(
            authenticator.begin_session, text if isinstance(text, str) else "", req.scope
        )
        req.context.caller = caller
        secure = own_scheme(req.headers, req.scheme) == "https"
        seconds = int(session.expires - session.begun)
        resp.status = 201
        resp.append_header("Set-Cookie", sessions.cookie(secret, secure=secure, seconds=seconds))
        _show(req, resp, caller, secret)

    @operation(
        "getSession",
        summary="The session of this browser, and its CSRF token",
        tag="access",
        answers=(Answer(200, "It.", "Session"),),
        problems=(404,),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """It."""
        caller: Caller = req.context.caller
        if caller.via != "session":
            raise NotFoundError("this request belongs to no session")
        _show(req, resp, caller, sessions.secret_in(req.headers, req.scheme))

    @operation(
        "deleteSession",
        summary="End the session of this browser",
        tag="access",
        answers=(Answer(204, "There is none any more.", headers=_COOKIE),),
    )
    async def on_delete(self, req: Request, resp: Response) -> None:
        """End it."""
        if self._services.authenticator is not None:
            await self._services.run(self._services.authenticator.end_session, req.headers, req.scope)
        for secure in (True, False):
            resp.append_header("Set-Cookie", sessions.cookie("", secure=secure, seconds=0))
        resp.status = 204


def _show(req: Request, resp: Response, caller: Caller, secret: str) -> None:
    resp.set_header("Cache-Control", "no-store")
    data: dict[str, Any] = {"csrfToken": sessions.csrf_of(secret), "caller": caller_data(caller)}
    media.say(req, resp, data)
