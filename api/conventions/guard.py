"""Holds every request to its bounds while it arrives: how large its body is, and how long it takes.

It stands around the app's ``receive``, so that it holds for every path, however a responder reads its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import falcon
from falcon.asgi import App, Request, Response

from reconciler.model.api_config import ApiConfig

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CLOSE = {"Connection": "close"}


class GuardedApp(App[Request, Response]):
    """A Falcon app whose requests cannot be endless, neither in bytes nor in seconds.

    Args:
        config: Says how much is enough.
        **options: As for `falcon.asgi.App`.
    """

    def __init__(self, config: ApiConfig, **options: Any) -> None:
        super().__init__(**options)
        self._config = config

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """Serve one connection or request of ASGI."""
        if scope["type"] == "http":
            receive = Guard(scope, receive, self._config)
        await super().__call__(scope, receive, send)


class Guard:
    """A ``receive`` that refuses too much (413), too slow (408) and broken off (400).

    The first event is made up: who asks, and for what, is looked at before a byte of the body is waited for.
    """

    def __init__(self, scope: Any, receive: Receive, config: ApiConfig) -> None:
        self._receive = receive
        self._most = int(config.max_body)
        self._seconds = float(config.body_timeout)
        # ASGI says iterables, and somebody else reads them after us.
        scope["headers"] = [tuple(pair) for pair in scope.get("headers") or ()]
        headers = dict(scope["headers"])
        self._announced = _length(headers.get(b"content-length"))
        self._open = b"transfer-encoding" in headers or self._announced != 0
        self._begun = False
        self._deadline: float | None = None
        self._seen = 0

    async def __call__(self) -> Message:
        """The next event."""
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": self._open}
        if not self._open:
            return await self._receive()
        if self._announced > self._most:
            raise _too_large(self._most)
        event = await self._next()
        if event["type"] == "http.disconnect":
            # Half of a YAML text is often a whole one that says something else.
            raise falcon.HTTPBadRequest(description="the body ended before it was whole")
        self._seen += len(event.get("body", b""))
        if self._seen > self._most:
            raise _too_large(self._most)
        self._open = bool(event.get("more_body", False))
        return event

    async def _next(self) -> Message:
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + self._seconds
        try:
            return await asyncio.wait_for(self._receive(), max(0.0, self._deadline - now))
        except TimeoutError as error:
            raise falcon.HTTPError(
                "408 Request Timeout",
                description=f"the body did not arrive within {self._seconds:g} seconds",
                headers=_CLOSE,
            ) from error


def _length(raw: bytes | None) -> int:
    """What ``Content-Length`` says; what is no number is for the server to refuse."""
    return int(raw) if raw is not None and raw.isdigit() else 0


def _too_large(most: int) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(
        description=f"the body has more than {most} bytes, which is the limit (api.maxBody)", headers=_CLOSE
    )
