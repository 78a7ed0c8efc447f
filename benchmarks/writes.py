"""Writes of the desired state a second, against one ``git commit`` a write in the same repository.

Ours goes through `Repository`: checked against all other manifests, committed, durable; and then the same
over HTTP, each client on a connection of its own. The reference writes the file and lets git add and
commit it, in a work tree, and checks nothing.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks._serving import process, serve
from benchmarks.desired import MACHINE, PRESET
from benchmarks.ratio import Ratio
from reconciler.desired.writes import Repository
from reconciler.model.config import SourceConfig
from reconciler.model.write import Change, Write

AUTHOR = "Bench <bench@example.org>"
AIMS = {1: 0.5, 8: 1.5, 64: 4.0}
OVER_HTTP = {1: 0.4, 8: 1.2, 64: 3.0}
CONFIG = "source: {path: bare.git, git: true, ref: main}\nstateDir: state\ninventory: [hosts.yml]\n"

Client = Callable[[str, int], None]
"""Writes a machine's number of cpus."""


def run(quick: bool) -> Iterable[Ratio]:
    for objects in (20, 200) if quick else (100, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            tree, bare = Path(folder) / "tree", Path(folder) / "bare.git"
            populate(tree, objects)
            git(Path(folder), "clone", "--quiet", "--bare", str(tree), str(bare))
            reference = commits(tree, 5 if quick else 20)
            repository = Repository(SourceConfig(path=str(bare), git=True, ref="main"), Path("/"))
            repository.read()
            yield from measured("a write", AIMS, partial(direct, repository), reference, objects, quick)
            (Path(folder) / "reconciler.yaml").write_text(CONFIG)
            (Path(folder) / "hosts.yml").write_text(
                "all: {hosts: {h1: {reconciler_uri: 'test:///default'}}}\n"
            )
            with process(serve, Path(folder)) as port:
                over_http(port)("vm-0", 2)  # which reads everything once
                yield from measured(
                    "over HTTP", OVER_HTTP, partial(over_http, port), reference, objects, quick
                )


def measured(
    what: str,
    aims: dict[int, float],
    client: Callable[[], Client],
    reference: float,
    objects: int,
    quick: bool,
) -> Iterable[Ratio]:
    for clients, aim in aims.items():
        each = 2 if quick else {1: 20, 8: 8, 64: 5}[clients]
        seconds = writes(client, clients, each, objects)
        yield Ratio(
            f"{what}, {clients} clients, {objects} objects",
            seconds,
            reference,
            at_least=aim,
            note=f"{1 / seconds:.0f} writes a second against {1 / reference:.0f} commits",
        )


def direct(repository: Repository) -> Client:
    def write(name: str, cpus: int) -> None:
        body = {"spec": {"cpus": cpus}}
        repository.write(Write(f"VirtualMachine/{name}", Change.MERGE, body, AUTHOR, f"change {name}"))

    return write


def over_http(port: int) -> Client:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def write(name: str, cpus: int) -> None:
        body = json.dumps({"spec": {"cpus": cpus}})
        headers = {"Content-Type": "application/merge-patch+json"}
        connection.request("PATCH", f"/api/v1/virtualmachines/{name}", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status == 200, told

    return write


def populate(root: Path, objects: int) -> None:
    folder = root / "api/virtualmachines"
    folder.mkdir(parents=True)
    for number in range(objects):
        (folder / f"vm-{number}.yaml").write_text(MACHINE.format(number=number, shard=number % 16))
    (root / "types.yaml").write_text(PRESET)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=bench")


def commits(root: Path, count: int) -> float:
    """Seconds for one ``git commit`` of one file."""
    started = time.perf_counter()
    for at in range(count):
        path = root / f"api/virtualmachines/vm-{at % 10}.yaml"
        path.write_text(MACHINE.format(number=at % 10, shard=at % 16) + f"# {at}\n")
        git(root, "add", "--", str(path))
        git(root, "commit", "--quiet", f"--message=write {at}")
    return (time.perf_counter() - started) / count


def writes(make: Callable[[], Client], clients: int, each: int, objects: int) -> float:
    """Seconds for one write while that many clients write, each to objects of its own."""
    failed: list[BaseException] = []

    def client(number: int) -> None:
        try:
            write = make()
            for at in range(each):
                write(f"vm-{(number + clients * at) % objects}", 2 + (at + clients) % 7)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    return (time.perf_counter() - started) / (clients * each)


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True)
