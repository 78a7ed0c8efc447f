"""Errors as ``application/problem+json`` (RFC 9457), with every mistake of a bad body at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import falcon
from falcon.asgi import Request, Response

from api.conventions.nearest import nearest
from api.hints import COMMAND, over_http
from api.operation import BadQueryError
from reconciler.errors import (
    BusyError,
    ConflictError,
    DesiredStateError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    PreconditionError,
    ReconcilerError,
    StalePlanError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UsageError,
)

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[ReconcilerError], int], ...] = (
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (PreconditionError, 412),
    (StalePlanError, 409),
    (LimitError, 409),
    (UsageError, 400),
    (BadQueryError, 400),
    (DesiredStateError, 422),
    (BusyError, 503),
    (ThrottledError, 429),
    (UnavailableError, 503),
    (ReconcilerError, 503),
)
"""The first class that fits. An error of ours that is nobody's mistake is a passing trouble: 503."""


def problem(
    resp: Response, status: int, detail: str, *, reason: str = "", hint: str = "", **more: Any
) -> None:
    """Answer with a problem, or in the form that the path's clients know (`api.older.frame`)."""
    resp.context.refusal = detail
    shaped = getattr(resp.context, "shaped", None)
    if shaped is not None:
        shaped(status, detail)
        return
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body |= {"detail": detail, "reason": reason or HTTPStatus(status).phrase.replace(" ", "")}
    body |= {"hint": hint} if hint else {}
    body |= {name: value for name, value in more.items() if value}
    body["requestId"] = getattr(resp.context, "request_id", "")
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.text = json.dumps(body)


async def on_reconciler_error(req: Request, resp: Response, error: ReconcilerError, _params: Any) -> None:
    """An error for people: what was wrong, where, and what to do next."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status == 401:
        resp.set_header("WWW-Authenticate", 'Bearer realm="reconciler", Basic realm="reconciler"')
    more: dict[str, Any] = {}
    detail = error.message
    if isinstance(error, DesiredStateError):
        detail = f"{error.subject} is refused"
        more["errors"] = [asdict(one) for one in error.problems]
    if isinstance(error, ConflictError):
        more |= {"file": error.file, "line": error.line}
    if isinstance(error, UnavailableError):
        resp.set_header("Retry-After", str(max(1, round(error.retry_after))))
    elif status == 503:
        resp.set_header("Retry-After", "1")
    # The client makes the same error of it, with the exit code of the command.
    reason = getattr(error, "reason", "") or type(error).__name__.removesuffix("Error")
    # Who types commands, there with --server, is told of commands.
    hint = error.hint if req.get_header("User-Agent") == COMMAND else over_http(error.hint)
    problem(resp, status, detail, reason=reason, hint=hint, **more)


async def on_http_error(_req: Request, resp: Response, error: falcon.HTTPError, _params: Any) -> None:
    """What Falcon itself refuses: unknown paths, methods, media types."""
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    status = falcon.http_status_to_code(error.status)
    problem(resp, status, str(error.description or error.title or ""), hint=_hint(resp, error))


def _hint(resp: Response, error: falcon.HTTPError) -> str:
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        return f"allowed here: {resp.get_header('Allow') or 'nothing'}"
    return ""


def on_no_path(known: Sequence[str]) -> Callable[..., Awaitable[None]]:
    """What is said where there is no such path, but for these."""

    async def tell(req: Request, resp: Response, _error: falcon.HTTPError, _params: Any) -> None:
        near = nearest(req.path, known)
        hint = f"do you mean {near}" if near else "all paths: GET /openapi.json"
        problem(resp, 404, "there is no such path", hint=hint)

    return tell


async def on_any_error(req: Request, resp: Response, error: Exception, _params: Any) -> None:
    """The outer edge: a mistake of ours is in the log, with the request's id, and never in the answer."""
    request_id = getattr(resp.context, "request_id", "")
    _log.error("request %s failed: %s %s", request_id, req.method, req.path, exc_info=error)
    problem(resp, 500, "a mistake of the server; its log has this request's id")
