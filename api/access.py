"""One line in the log and one count for each request, whatever becomes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from falcon.asgi import Request, Response

from reconciler.service.api_metrics import ApiMetrics
from reconciler.service.logs import fields

_log = logging.getLogger(__name__)

_KEY = "reconciler.context"
_QUIET = frozenset({"getHealth", "getReady", "getMetrics"})
"""Asked every few seconds by machines: no line for each, unless something was wrong."""

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Noted:
    """Middleware: leaves what is known of the request where `AccessLog` finds it."""

    async def process_request(self, req: Request, _resp: Response) -> None:
        """Before anything else."""
        req.scope[_KEY] = req.context

    async def process_resource(self, req: Request, _resp: Response, resource: Any, _params: Any) -> None:
        """Once the route is known."""
        declared = getattr(getattr(resource, f"on_{req.method.lower()}", None), "operation", None)
        req.context.operation = declared.id if declared is not None else ""


class AccessLog:
    """Stands around the app, so that it sees the very end of each answer.

    The log has paths, never queries or headers: tokens may stand there.

    Args:
        app: The app, with `Noted` among its middleware.
        metrics: Where requests are counted.
    """

    def __init__(self, app: App, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection or request of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        began = time.monotonic()
        self._metrics.begun()
        try:
            await self._app(scope, receive, answer)
        finally:
            self._note(scope, answer, time.monotonic() - began)

    def _note(self, scope: Any, answer: _Answer, seconds: float) -> None:
        context = scope.get(_KEY)
        operation = getattr(context, "operation", "")
        self._metrics.answered(
            operation, scope["method"], answer.status, None if answer.streamed else seconds
        )
        if operation in _QUIET and answer.status < 500:
            return
        caller = getattr(context, "caller", None)
        client = scope.get("client") or ("", 0)
        _log.info(
            "%s %s",
            scope["method"],
            scope["path"],
            extra=fields(
                status=answer.status,
                seconds=round(seconds, 4),
                bytes=answer.bytes,
                caller=getattr(caller, "name", ""),
                operation=operation,
                client=client[0],
                request=getattr(context, "request_id", ""),
            ),
        )


class _Answer:
    """Passes an answer on, and remembers what it was."""

    __slots__ = ("_send", "bytes", "status", "streamed")

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self.status = 0
        self.bytes = 0
        self.streamed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streamed = any(
                name == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message.get("headers", ())
            )
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)
