"""Reading over HTTP: a list of 10,000 machines, and one of them.

Served by our own server in a process of its own, over a git repository and a filled store, and asked by one
client over one connection.  The floor is a bare ASGI app on the same uvicorn that sends the very same bytes.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from api.listening import listen
from api.server import Server
from benchmarks import _fleet
from benchmarks._serving import process, serve
from benchmarks.ratio import Ratio
from reconciler.model.status import Condition, ConditionStatus
from reconciler.store.base import Subject
from reconciler.store.sql import open_store

VMS = "/api/v1/virtualmachines"
MACHINES = 10_000


def run(quick: bool) -> Iterable[Ratio]:
    machines, lists, singles = (500, 5, 50) if quick else (MACHINES, 60, 3000)
    with tempfile.TemporaryDirectory(prefix="reconciler-reads-") as name:
        folder = Path(name)
        _lay_out(folder, machines)
        with process(serve, folder) as port:
            ask = _Asker(port)
            first = ask.measure(VMS, 1)
            known = ask.measure(VMS, lists, {"If-None-Match": first.etag})
            forms: list[tuple[str, int, dict[str, str]]] = [
                (VMS, lists, {}),
                (VMS, lists, {"Accept-Encoding": "gzip"}),
                (f"{VMS}/vm-{machines // 2}", singles, {}),
            ]
            bodies = [ask.measure(path, 1, headers).body for path, _, headers in forms]
            with process(_floor, bodies) as floor_port:
                floor = _Asker(floor_port)
                (plain, list_floor), (packed, packed_floor), (one, one_floor) = [
                    _alternate((ask, path, headers), (floor, f"/{at}", {}), times)
                    for at, (path, times, headers) in enumerate(forms)
                ]
    many = f"{machines:,}"
    yield Ratio(
        f"a list of {many} machines / the same bytes, p50",
        plain.p50,
        list_floor.p50,
        at_most=2,
        note=f"{plain.told}, floor {list_floor.told}; the first one, which is made: {_ms(first.p50)}",
    )
    yield Ratio(
        "the same, packed / the same bytes, p50",
        packed.p50,
        packed_floor.p50,
        at_most=4,
        note=f"{packed.told}, floor {packed_floor.told}",
    )
    yield Ratio(
        "one machine / the same bytes, p50",
        one.p50,
        one_floor.p50,
        at_most=6,
        note=f"{one.told}, floor {one_floor.told}; a list that is known (304): {known.told}",
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    seconds: list[float]
    body: bytes
    etag: str

    @property
    def p50(self) -> float:
        return self.seconds[len(self.seconds) // 2]

    @property
    def p99(self) -> float:
        return self.seconds[min(len(self.seconds) - 1, len(self.seconds) * 99 // 100)]

    @property
    def told(self) -> str:
        return f"p50 {_ms(self.p50)}, p99 {_ms(self.p99)}, {len(self.body):,} bytes"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


class _Asker:
    """One client on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def once(self, path: str, headers: dict[str, str] | None = None) -> tuple[float, bytes, str]:
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept-Encoding": "identity", **(headers or {})})
        answer = self._connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - began
        assert answer.status in (200, 304), body[:200]
        return seconds, body, answer.headers.get("ETag", "")

    def measure(self, path: str, times: int, headers: dict[str, str] | None = None) -> _Seen:
        return _seen([self.once(path, headers) for _ in range(times)])


_Ask = tuple[_Asker, str, dict[str, str]]


def _alternate(ours: _Ask, reference: _Ask, times: int) -> tuple[_Seen, _Seen]:
    """Both in turn: whatever else the machine does, it does to both."""
    found = [[asker.once(path, headers) for asker, path, headers in (ours, reference)] for _ in range(times)]
    return _seen([pair[0] for pair in found]), _seen([pair[1] for pair in found])


def _seen(answers: list[tuple[float, bytes, str]]) -> _Seen:
    return _Seen(sorted(seconds for seconds, _, _ in answers), *answers[-1][1:])


def _lay_out(folder: Path, machines: int) -> None:
    """A repository with that many machines in a file each, and a store that knows each of them."""
    _fleet.lay_out(folder, 1, machines, machines)
    source = folder / "desired"
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        ("-c", "user.name=Bench", "-c", "user.email=bench@example.com", "commit", "--quiet", "-m", "begin"),
    ):
        subprocess.run(["git", "-C", source, *words], check=True)
    config = (folder / "reconciler.yaml").read_text()
    (folder / "reconciler.yaml").write_text(config.replace("{path: desired}", "{path: desired, git: true}"))
    store = open_store(folder / "state")
    names = [f"vm-{number}" for number in range(machines)]
    store.set_statuses("VirtualMachine", {name: _status(name) for name in names})
    kinds = ("Ready", "Synced", "Placed", "RestartRequired", "ReplaceRequired")
    said = [Condition(kind, ConditionStatus.TRUE, "Running", "it runs", 1.7e9, 3) for kind in kinds]
    store.set_conditions(Subject.VM, dict.fromkeys(names, said))
    store.close()


def _status(name: str) -> str:
    addresses = [{"address": "192.0.2.7", "source": "lease", "mac": "52:54:00:00:00:07", "interface": "net0"}]
    told = {"host": "h0", "uid": f"00000000-0000-4000-8000-{name:>012}", "state": "running", "generation": 3}
    return json.dumps(told | {"cpus": 1, "memory": 1 << 30, "addresses": addresses}, separators=(",", ":"))


def _floor(pipe: Connection, bodies: list[bytes]) -> None:
    """Sends the body whose number the path is, and does nothing else."""
    kind = (b"content-type", b"application/json")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = bodies[int(scope["path"][1:])]
        headers = [kind, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with Server(app, listen("127.0.0.1:0")) as server:
        pipe.send(server.ports[0])
        pipe.recv()


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
