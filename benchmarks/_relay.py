"""A network between us and a host, as far as its latency goes: passes bytes on, each a little later.

    python -m benchmarks._relay LISTEN_SOCKET TARGET_SOCKET SECONDS

Only what goes towards the target is held back, so a call and its answer take SECONDS longer together.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import deque
from pathlib import Path


class Relay:
    """Relays between Unix sockets in one thread; the delay is the same for all, so a queue keeps order."""

    def __init__(self, listen: str, target: str, delay: float) -> None:
        self._target = target
        self._delay = delay
        self._selector = selectors.DefaultSelector()
        self._late: deque[tuple[float, socket.socket, bytes]] = deque()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listen)
        Path(listen).chmod(0o777)
        self._listener.listen(256)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, *key.data)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, receiver, data = self._late.popleft()
                _send(receiver, data)

    def _patience(self) -> float | None:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        self._selector.register(client, selectors.EVENT_READ, (server, True))
        self._selector.register(server, selectors.EVENT_READ, (client, False))

    def _pass_on(self, sender: socket.socket, receiver: socket.socket, late: bool) -> None:
        try:
            data = sender.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(sender)
        if late:
            self._late.append((time.monotonic() + self._delay, receiver, data))
        else:
            _send(receiver, data)


def _send(receiver: socket.socket, data: bytes) -> None:
    try:
        if data:
            receiver.sendall(data)
        else:
            receiver.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side left first


if __name__ == "__main__":
    Relay(sys.argv[1], sys.argv[2], float(sys.argv[3])).serve()
