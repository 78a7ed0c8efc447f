"""Checkouts a second, over HTTP and without it, against a bare UPDATE … RETURNING on the same file.

The bare statement is what a program would do that needs no line, no expiry, no roles and no events: one
connection, one transaction a machine, synced to the disk before the next one begins.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.ratio import Ratio
from reconciler.leasing import Leasing, Wish
from reconciler.model.desired import DesiredState
from reconciler.model.pool import VirtualMachinePool
from reconciler.store import sqlite
from reconciler.store.sql import SqlStore
from tests.support.lending import Connection, Farm

_PATH = "/api/v1/virtualmachinepools/farm/checkout"
_BARE = """
UPDATE members SET state = 'leased' WHERE vm = (
    SELECT vm FROM members WHERE pool = 'farm' AND state = 'available' ORDER BY since, slot LIMIT 1
) RETURNING vm
"""
CLIENTS = 64


def run(quick: bool = False) -> list[Ratio]:
    """With 1 and 4 processes, with HTTP and without."""
    count = 200 if quick else 4000
    ratios = []
    with tempfile.TemporaryDirectory(prefix="checkouts-") as name:
        for processes in (1, 4):
            for way, take in (("HTTP", over_http), ("no HTTP", in_store)):
                folder = Path(name) / f"{take.__name__}-{processes}"
                with Farm(folder, 2 * count, processes if take is over_http else 0) as farm:
                    before = bare(folder, count // 4)
                    ours = take(farm, processes, count)
                    # The better one: on a machine with other work the two differ.
                    reference = min(before, bare(folder, count // 4))
                rates = f"{1 / ours:,.0f} a second for {CLIENTS} clients; bare: {1 / reference:,.0f} a second"
                ratios.append(
                    Ratio(
                        f"a checkout, {processes} process{'es' if processes > 1 else ''}, {way}",
                        ours,
                        reference,
                        note=rates,
                    )
                )
    return ratios


def bare(folder: Path, count: int) -> float:
    """Seconds of one bare statement."""
    with closing(sqlite3.connect(folder / "state" / sqlite.FILE_NAME, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = FULL")
        begun = time.perf_counter()
        for _ in range(count):
            assert database.execute(_BARE).fetchall()
        return (time.perf_counter() - begun) / count


def over_http(farm: Farm, processes: int, count: int) -> float:
    """Seconds from one checkout to the next, with a connection for each client."""
    ports = [api.port for api in farm.apis]

    def client(number: int) -> Callable[[], None]:
        connection = Connection(ports[number % processes])

        def take() -> None:
            answer = connection.ask("POST", _PATH, {"ttl": "1h"})
            assert answer.status == 201, answer.body

        return take

    return _shared([client(number) for number in range(CLIENTS)], count)


def in_store(farm: Farm, processes: int, count: int) -> float:
    """Likewise for threads of processes that use the store by themselves."""
    words = [sys.executable, "-m", "benchmarks.checkouts", str(farm.folder), str(CLIENTS // processes)]
    words.append(str(count // processes))
    started = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    begun = time.perf_counter()
    for process in started:
        process.communicate("go\n")
        assert process.returncode == 0
    return (time.perf_counter() - begun) / (count // processes * processes)


def _worker(folder: Path, threads: int, count: int) -> None:
    manifest = {
        "metadata": {"name": "farm"},
        "spec": {"size": {"max": 10_000}, "template": {"spec": {"cpus": 1, "memory": "64Mi"}}},
    }
    state = DesiredState("", {}, machine_pools={"farm": VirtualMachinePool.model_validate(manifest)})
    store = SqlStore(folder / "state")
    leasing = Leasing(store, lambda: state)
    print("ready", flush=True)
    sys.stdin.readline()
    _shared([lambda: leasing.checkout(Wish("farm", "ann"))] * threads, count)


def _shared(takers: list[Callable[[], object]], count: int) -> float:
    """Seconds from one to the next while all of them take."""
    numbers: Iterator[int] = iter(range(count))
    failed: list[BaseException] = []

    def work(take: Callable[[], object]) -> None:
        try:
            for _ in numbers:
                take()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work, args=(take,)) for take in takers]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return (time.perf_counter() - begun) / count


if __name__ == "__main__":
    _worker(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
