"""Writes of the desired state a second, against one ``git commit`` a write in the same repository.

Ours goes through `Repository`: checked against all other manifests, committed, durable. The reference writes
the file and lets git add and commit it, in a work tree, and checks nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.desired import MACHINE, PRESET
from benchmarks.ratio import Ratio
from reconciler.desired.writes import Repository
from reconciler.model.config import SourceConfig
from reconciler.model.write import Change, Write

AUTHOR = "Bench <bench@example.org>"
AIMS = {1: 0.5, 8: 1.5, 64: 4.0}


def run(quick: bool) -> Iterable[Ratio]:
    for objects in (20, 200) if quick else (100, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            tree, bare = Path(folder) / "tree", Path(folder) / "bare.git"
            populate(tree, objects)
            git(Path(folder), "clone", "--quiet", "--bare", str(tree), str(bare))
            reference = commits(tree, 5 if quick else 20)
            repository = Repository(SourceConfig(path=str(bare), git=True, ref="main"), Path("/"))
            repository.read()
            for clients, aim in AIMS.items():
                each = 2 if quick else {1: 20, 8: 8, 64: 5}[clients]
                seconds = writes(repository, clients, each, objects)
                yield Ratio(
                    f"a write, {clients} clients, {objects} objects",
                    seconds,
                    reference,
                    at_least=aim,
                    note=f"{1 / seconds:.0f} writes a second against {1 / reference:.0f} commits",
                )


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


def writes(repository: Repository, clients: int, each: int, objects: int) -> float:
    """Seconds for one write while that many clients write, each to objects of its own."""

    def client(number: int) -> None:
        for at in range(each):
            name = f"vm-{(number + clients * at) % objects}"
            body = {"spec": {"cpus": 2 + (at + clients) % 7}}
            repository.write(Write(f"VirtualMachine/{name}", Change.MERGE, body, AUTHOR, f"change {name}"))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) / (clients * each)


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True)
