"""Events to 200 watchers: from the commit, in another process, until the last of them has it.

The floor is the same bytes, written to as many sockets by a bare loop in another process, read by the same
readers. What lies between is: noticing the commit, reading the event, filtering, HTTP.
"""

from __future__ import annotations

import random
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

from benchmarks.ratio import Ratio
from reconciler.model.status import Event
from reconciler.store.sql import SqlStore

WATCHERS = 200
REQUEST = b"GET /api/v1/events?watch=true HTTP/1.1\r\nHost: bench\r\n\r\n"
END = b"\n\n"


def run(quick: bool = False) -> list[Ratio]:
    """Delay to the last watcher, and what a bare loop needs."""
    watchers, rounds = (20, 20) if quick else (WATCHERS, 200)
    with tempfile.TemporaryDirectory(prefix="watchers-") as name:
        folder = Path(name)
        store = SqlStore(folder)
        message = _message(store)
        with _process(serve_bare, message) as (port, trigger):
            floor = _measure(port, watchers, rounds, lambda: trigger.send_bytes(b"!"), message)
        with _process(serve_api, folder) as (port, _):
            ours = _measure(port, watchers, rounds, lambda: store.add_events([_event()]), b"data: ")
        with _process(serve_api, folder) as (port, trigger):
            # In one process with who writes, as in `reconciler run`: it is woken instead of looking.
            inside = _measure(port, watchers, rounds, lambda: trigger.send_bytes(b"!"), b"data: ")
        store.close()
    size = f"{watchers} watchers, {rounds} events"
    return [
        Ratio(
            f"{name}: commit to last watcher / bare loop, {word}",
            _part(measured, part),
            _part(floor, part),
            note=f"{size}: {_told(measured)}; bare {_told(floor)}",
        )
        for name, measured in (("another process", ours), ("same process", inside))
        for word, part in (("p50", 0.5), ("p99", 0.99))
    ]


def _event() -> Event:
    return Event(time.time(), "Created", "created: it is desired and was not there", "vm-1", "host-1")


def _message(store: SqlStore) -> bytes:
    from api.cursor import Cursor  # noqa: PLC0415 - beside what it measures
    from api.telling import Teller  # noqa: PLC0415

    teller = Teller(SimpleNamespace())  # type: ignore[arg-type]
    return teller.event(_event(), Cursor(store.changes().store, 1))


def serve_api(channel: Connection, folder: Path) -> None:
    """The API over the store in `folder`; each byte that comes is an event written in this very process."""
    from api.access import AccessLog  # noqa: PLC0415 - only in that process
    from api.app import create_app  # noqa: PLC0415
    from api.listening import listen  # noqa: PLC0415
    from api.server import Server  # noqa: PLC0415
    from api.services import Services  # noqa: PLC0415
    from reconciler.model.api_config import ApiConfig  # noqa: PLC0415

    store, writer = SqlStore(folder), SqlStore(folder)
    services = Services(ApiConfig(), "bench", store, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    writer.on_commit(services.hub.wake)
    app = AccessLog(create_app(services), services.metrics)
    with Server(app, listen("127.0.0.1:0"), on_stop=services.stop_streams) as server, suppress(EOFError):
        channel.send(server.ports[0])
        while True:
            channel.recv_bytes()
            writer.add_events([_event()])


def serve_bare(channel: Connection, message: bytes) -> None:
    """A greeting for everybody who asks, and then the message to all, for each byte that comes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    channel.send(listener.getsockname()[1])
    peers: list[socket.socket] = []

    def take() -> None:
        while True:
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.recv(4096)
            peer.sendall(b"retry: 1\n\n")
            peers.append(peer)

    threading.Thread(target=take, daemon=True).start()
    with suppress(EOFError):
        while True:
            channel.recv_bytes()
            for peer in peers:
                peer.send(message)


@contextmanager
def _process(work: Callable[..., None], argument: object) -> Iterator[tuple[int, Connection]]:
    """Run it in a process of its own; the port that it tells, and a channel to it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, argument))
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours
    finally:
        ours.close()
        process.join(20)
        process.kill()


def _measure(port: int, watchers: int, rounds: int, act: Callable[[], object], sign: bytes) -> list[float]:
    """Seconds from the end of `act` until every watcher has read a message with `sign`, round by round."""
    readers = selectors.EpollSelector()
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(watchers)]
    for one in opened:
        one.sendall(REQUEST)
        readers.register(one, selectors.EVENT_READ)
    _wait(readers, watchers, b"retry: ")
    # The first ones find everything cold.
    found = []
    for _ in range(rounds + 5):
        # At any moment between two looks.
        time.sleep(0.03 + random.random() * 0.05)
        act()
        began = time.perf_counter()
        _wait(readers, watchers, sign)
        found.append(time.perf_counter() - began)
    for one in opened:
        one.close()
    return found[5:]


def _wait(readers: selectors.EpollSelector, watchers: int, sign: bytes) -> None:
    """Until so many have read a whole message with this sign."""
    missing, parts = watchers, dict[int, bytes]()
    while missing:
        ready = readers.select(30)
        assert ready, f"{missing} watchers wait in vain"
        for key, _ in ready:
            received = key.fileobj.recv(65536)  # type: ignore[union-attr]
            assert received, "a stream ended"
            text = parts.pop(key.fd, b"") + received
            if sign in text and text.rstrip(b"\r\n") != text:
                missing -= 1
            else:
                parts[key.fd] = text


def _part(seconds: list[float], part: float) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[min(98, int(part * 100) - 1)]


def _told(seconds: list[float]) -> str:
    return f"p50 {_part(seconds, 0.5) * 1000:.1f} ms, p99 {_part(seconds, 0.99) * 1000:.1f} ms"


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
