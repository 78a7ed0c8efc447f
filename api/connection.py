"""One connection: what uvicorn's own does, and an end to those who never finish their headers."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from api.tls import PeerCertificate


class Connection(PeerCertificate):
    """Closes a connection whose next request does not arrive in time.

    uvicorn waits for the headers of a request for ever, so that anybody could keep all of a process's
    descriptors with a few bytes.  Bodies have a time of their own, see `api.limits`.
    """

    patience: ClassVar[float] = 15.0
    _timer: asyncio.TimerHandle | None = None

    @classmethod
    def with_patience(cls, seconds: float) -> type[Connection]:
        """The same, with so many seconds for the headers."""
        return type(cls.__name__, (cls,), {"patience": seconds})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer is there."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._headers_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came: a request, or a part of one."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_headers()
        else:
            self._headers_came()

    def _wait_for_headers(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.patience, self._give_up)

    def _headers_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> Any:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
