"""Serves the app with uvicorn, in a thread and an event loop of its own.

So the daemon's signals stay the daemon's, and of the two neither takes the other down: a loop that ends by
itself is an error in the log and is started again on the same sockets.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import socket
from types import TracebackType
from typing import Any, Self

import uvicorn

from api.connection import Connection
from reconciler.errors import ReconcilerError
from reconciler.service.logs import fields

_log = logging.getLogger(__name__)

START_MAY_TAKE = 30.0
"""Seconds until the server must answer."""

NOTIFY_EVERY = 3
"""Seconds between two signs of life of the loop."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a loop that ended by itself is started again; doubled each time."""


class ServerError(ReconcilerError):
    """The server did not start."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server treats connections. All times in seconds.

    Attributes:
        keep_alive: A connection without a request is kept so long.
        headers: The headers of a request may take so long to arrive.
        finish: Requests in flight get so long when the server stops.
    """

    keep_alive: int = 75
    headers: float = 15.0
    finish: int = 10


class Server:
    """Serves an ASGI app within a ``with`` block.

    Args:
        app: What is served.
        sockets: Listening sockets (see `api.listening.listen`); they are closed at the end.
        tls: For HTTPS.
        on_stop: Called first of all when the server stops, from the thread that stops it: ends the streams,
            which would never end by themselves.
        manners: How it treats connections.
        alive: Called every few seconds, in the loop, as long as that turns.

    Raises:
        ServerError: It did not start.
    """

    def __init__(
        self,
        app: Any,
        sockets: Sequence[socket],
        *,
        tls: ssl.SSLContext | None = None,
        on_stop: Callable[[], object] = lambda: None,
        manners: Manners = Manners(),
        alive: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = app
        self._alive = alive
        self._sockets = tuple(sockets)
        self._tls = tls
        self._on_stop = on_stop
        self._manners = manners
        self._stopping = threading.Event()
        self._current: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._keep_serving, name="api-server", daemon=True)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return tuple(one.getsockname()[1] for one in self._sockets)

    @property
    def answers(self) -> bool:
        """The loop runs."""
        current = self._current
        return current is not None and current.started and self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + START_MAY_TAKE
        while not self.answers:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise ServerError("the API server did not start; its log says why")
            time.sleep(0.01)
        places = [one.getsockname() for one in self._sockets]
        _log.info("the API is served", extra=fields(on=", ".join(f"{p[0]}:{p[1]}" for p in places)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._on_stop()
        deadline = time.monotonic() + self._manners.finish + 5.0
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self._current is not None:
                self._current.should_exit = True
            self._thread.join(0.1)
        for one in self._sockets:
            one.close()

    async def _notify(self) -> None:
        self._alive()

    def _keep_serving(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except (Exception, SystemExit) as error:  # noqa: BLE001  # the daemon beside it must not die of it
                _log.error("the API server failed", exc_info=error)
            self._current = None
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - began > LONGEST_PAUSE else pause
            _log.error("the API server ended by itself", extra=fields(again_in=pause))
            self._stopping.wait(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _serve(self) -> None:
        tls = self._tls
        server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                loop="asyncio",
                http=Connection.with_patience(self._manners.headers),
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=self._manners.keep_alive,
                timeout_graceful_shutdown=self._manners.finish,
                callback_notify=self._notify,
                timeout_notify=NOTIFY_EVERY,
                ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
            )
        )
        self._current = server
        # uvicorn closes what it is given, and another loop may need them.
        server.run(sockets=[one.dup() for one in self._sockets])
