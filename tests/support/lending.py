"""A test farm: clients that take machines and give them back, API processes to be killed, and a checker."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.model.pool import Member, MemberState
from reconciler.model.status import Event
from reconciler.store.sql import SqlStore

POOL = """\
apiVersion: reconciler/v1
kind: VirtualMachinePool
metadata: {name: farm}
spec: {size: {max: 10000}, template: {spec: {cpus: 1, memory: 64Mi}}}
"""
CONFIG = "source: {path: source}\nstateDir: state\napi: {anonymous: true}\n"
COMMAND = "from reconciler.cli.main import main; main()"


class DoubledError(AssertionError):
    """A machine was handed to two."""


class Owners:
    """Who has which machine, as the clients themselves believe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: dict[str, str] = {}

    def take(self, vm: str, who: str) -> None:
        with self._lock:
            if vm in self._owner:
                raise DoubledError(f"{vm} was handed to {who} while {self._owner[vm]} has it")
            self._owner[vm] = who

    def give_back(self, vm: str, who: str) -> None:
        """Before it is checked in: a moment later it may be another's."""
        with self._lock:
            assert self._owner.pop(vm) == who


def audit(events: Iterable[Event]) -> int:
    """Hold the events, which are written together with leases, against each other; how many were taken."""
    taken: set[str] = set()
    count = 0
    for event in sorted(events, key=lambda event: event.id):
        if event.reason == "CheckedOut":
            if event.vm in taken:
                raise DoubledError(f"{event.vm} was taken twice without being given back")
            taken.add(event.vm)
            count += 1
        elif event.reason in ("CheckedIn", "LeaseExpired"):
            assert event.vm in taken, f"{event.vm} was given back twice"
            taken.remove(event.vm)
    assert not taken, f"never given back: {taken}"
    return count


class Api:
    """One `reconciler api`, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = folder / f"api-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-c", COMMAND, "api", "--listen", f"127.0.0.1:{self.port}"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words, cwd=self._folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def ready(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if ask(self.port, "GET", "/healthz").status == 200:
                    return
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, "it never answered"
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: Any


def ask(port: int, method: str, path: str, body: object = None) -> Answer:
    return Connection(port).ask(method, path, body)


class Connection:
    """A connection that is kept, as cheap as Python has it: 64 of them share two cores with servers."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        text = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._http.request(method, path, text, {"Content-Type": "application/json", **named})
            answer = self._http.getresponse()
            read = answer.read()
        except http.client.HTTPException as error:
            self.close()
            raise ConnectionError(str(error)) from error
        except OSError:
            self.close()
            raise
        return Answer(answer.status, answer.headers, json.loads(read) if read else None)

    def close(self) -> None:
        self._http.close()


@dataclass
class Farm:
    """A store with machines that stand ready, and API processes before it.

    Attributes:
        folder: Of the installation.
        machines: How many there are.
        processes: How many API processes.
    """

    folder: Path
    machines: int
    processes: int
    apis: list[Api] = field(default_factory=list)

    def __enter__(self) -> Farm:
        (self.folder / "source").mkdir(parents=True)
        (self.folder / "source" / "pool.yaml").write_text(POOL)
        (self.folder / "reconciler.yaml").write_text(CONFIG)
        self.store = SqlStore(self.folder / "state")
        now = self.store.lease_time()
        slots = range(1, self.machines + 1)
        self.store.add_members([Member("farm", slot, MemberState.AVAILABLE, now) for slot in slots])
        self.apis = [Api(self.folder) for _ in range(self.processes)]
        try:
            for api in self.apis:
                api.start()
            for api in self.apis:
                api.ready()
        except BaseException:
            for api in self.apis:
                api.kill()
            raise
        self._over = threading.Event()
        self._cleaner = threading.Thread(target=self._clean)
        self._cleaner.start()
        return self

    @staticmethod
    def reopened(folder: Path) -> AbstractContextManager[SqlStore]:
        """The store of a farm that was."""
        return closing(SqlStore(folder / "state"))

    def __exit__(self, *_: object) -> None:
        for api in self.apis:
            api.kill()
        self._over.set()
        self._cleaner.join()
        self.clean()
        self.store.close()

    def clean(self) -> None:
        """What the daemon does: machines that came back are made ready again."""
        dirty = [one.vm for one in self.store.members("farm") if one.state is MemberState.CLEANING]
        if dirty:
            with self.store.transaction():
                now = self.store.lease_time()
                for vm in dirty:
                    assert self.store.step_member(vm, [MemberState.CLEANING], MemberState.AVAILABLE, now)

    def _clean(self) -> None:
        while not self._over.wait(0.02):
            self.clean()


@dataclass
class Work:
    """What is left to do for all clients together, and what came of it.

    Attributes:
        left: Leases that are still to be taken.
        done: Leases that were taken and given back.
        counts: Clean 503s, connections that were cut, and leases that were over before they were given back.
        wrong: The first thing that must not happen.
    """

    left: int
    owners: Owners = field(default_factory=Owners)
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: BaseException | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bool:
        with self._lock:
            if not self.left or self.wrong is not None:
                return False
            self.left -= 1
            return True

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
            self.done += what == "done"


class Client(threading.Thread):
    """Takes a machine, has it for a moment, gives it back; and again. Never gives up a wish."""

    def __init__(self, number: int, work: Work, ports: list[int]) -> None:
        super().__init__(name=f"client-{number}")
        self._work = work
        self._ports = ports
        self._at = number
        self._random = random.Random(number)
        self._connections: dict[int, Connection] = {}
        self._wish = 0

    def run(self) -> None:
        try:
            while self._work.next():
                self._once()
        except BaseException as error:  # noqa: BLE001  # the test tells it
            self._work.wrong = self._work.wrong or error
        finally:
            for connection in self._connections.values():
                connection.close()

    def _once(self) -> None:
        self._wish += 1
        key, wish = f"{self.name}-{self._wish}", {"holder": self.name, "ttl": "10m"}
        path = "/api/v1/virtualmachinepools/farm/checkout?wait=10s"
        taken, _ = self._insist(201, "POST", path, wish, Idempotency_Key=key)
        lease = taken.body
        assert lease["holder"] == self.name, lease
        self._work.owners.take(lease["vm"], f"{self.name} by {lease['id']}")
        time.sleep(self._random.uniform(0, 0.005))
        self._work.owners.give_back(lease["vm"], f"{self.name} by {lease['id']}")
        self._insist(204, "DELETE", f"/api/v1/leases/{lease['id']}")
        self._work.count("done")

    def _insist(
        self, wanted: int, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[Answer, bool]:
        """Ask until it is done, of the other process where one is gone."""
        cut = False
        while True:
            try:
                answer = self._connection().ask(method, path, body, **headers)
            except OSError:
                self._work.count("cut")
                cut = True
                self._at += 1
                time.sleep(self._random.uniform(0.01, 0.1))
                continue
            if answer.status == wanted or (method == "DELETE" and cut and answer.status == 404):
                return answer, cut
            check_clean(answer)
            self._work.count("503")
            time.sleep(self._random.uniform(0.05, 0.2))

    def _connection(self) -> Connection:
        port = self._ports[self._at % len(self._ports)]
        return self._connections.setdefault(port, Connection(port))


def check_clean(answer: Answer) -> None:
    """The only error that may be told: not now, and when to ask again, as a problem."""
    assert answer.status == 503, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.body["reason"]
    assert answer.body["detail"]


def run(farm: Farm, clients: int, leases: int, meanwhile: Callable[[Work], object]) -> Work:
    """Let clients take and give back so many leases; `meanwhile` is called until they are done."""
    work = Work(leases)
    threads = [Client(number, work, [api.port for api in farm.apis]) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile(work)
    return work
