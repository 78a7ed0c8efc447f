"""The API behind a real socket, and clients that follow its streams."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.access import AccessLog
from api.app import create_app
from api.listening import listen
from api.server import Manners, Server
from api.services import Services

PATIENCE = 20.0


@contextmanager
def live(services: Services, address: str = "127.0.0.1:0", **about: Any) -> Iterator[str]:
    """Serve these services; the address to ask."""
    app = AccessLog(create_app(services), services.metrics)
    sockets = listen(address, reuse_port=about.pop("reuse_port", False))
    manners = about.pop("manners", Manners(finish=3))
    with Server(app, sockets, on_stop=services.stop_streams, manners=manners, **about) as server:
        yield f"127.0.0.1:{server.ports[0]}"


@dataclass(frozen=True)
class Message:
    """One message of a stream."""

    id: str
    event: str
    data: Any


class Follower:
    """Follows a stream in a thread of its own. Nothing that was received is left out.

    Args:
        address: ``host:port``.
        path: With query.
        headers: Of the request.
    """

    def __init__(self, address: str, path: str, **headers: str) -> None:
        host, _, port = address.partition(":")
        self.socket = socket.socket()
        # So that little fits between the server and one who does not read.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        told = {"Host": address, "Accept": "text/event-stream"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass
        self.last_id = ""
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> Follower:
        """Begin to read; returns once the stream has greeted."""
        self._greeted = threading.Event()
        self._thread.start()
        assert self._greeted.wait(PATIENCE)
        return self

    def next(self) -> Message | None:
        """The next message; None at the end of the stream."""
        return self._messages.get(timeout=PATIENCE)

    def take(self, count: int) -> list[Message]:
        """The next ones."""
        found = [self.next() for _ in range(count)]
        assert None not in found
        return [one for one in found if one is not None]

    def rest(self) -> list[Message]:
        """All until the end."""
        return list(iter(self.next, None))

    def close(self) -> None:
        """Hang up."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join(PATIENCE)

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._file.readline() or b"0", 16)
            if not size:
                return
            yield self._file.read(size)
            self._file.readline()

    def _follow(self) -> None:
        left = b""
        try:
            for chunk in self._chunks():
                *blocks, left = (left + chunk).split(b"\n\n")
                for block in blocks:
                    self._block(block.decode())
        except OSError:
            pass
        finally:
            self._greeted.set()
            self._messages.put(None)

    def _block(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        self._greeted.set()
        if "data" in fields:
            self._messages.put(
                Message(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
            )
