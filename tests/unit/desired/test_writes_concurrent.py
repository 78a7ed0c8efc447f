"""Programs and git users write at once: nothing is lost, and whoever loses is told."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.repository.git_place import GitPlace
from reconciler.desired.writes import Repository
from reconciler.errors import ConflictError, PreconditionError, RefusedError, UnavailableError
from reconciler.model.config import SourceConfig
from reconciler.model.write import Change, Write, version_of

from .conftest import Git, machine

TYPE = (
    "apiVersion: reconciler/v1\nkind: InstanceType\nmetadata: {name: small}\nspec: {cpus: 1, memory: 1Gi}\n"
)
SHARED = "VirtualMachine/shared"
Acknowledged = list[tuple[str, str, str]]


def vm(name: str, **spec: Any) -> dict[str, Any]:
    envelope = {"apiVersion": "reconciler/v1", "kind": "VirtualMachine", "metadata": {"name": name}}
    return {**envelope, "spec": {"instanceType": "small", **spec}}


def config(path: Path, **more: Any) -> SourceConfig:
    return SourceConfig.model_validate({"path": str(path), "git": True, "ref": "main", **more})


def write(
    repository: Repository, told: Acknowledged, who: str, key: str, change: Change, **more: Any
) -> None:
    message = f"{change} {key} by {who}"
    body = None if change is Change.DELETE else more.pop("body")
    written = repository.write(Write(key, change, body, f"{who} <{who}@example.org>", message, **more))
    told.append((written.revision, who, message))


def count_up(repository: Repository, told: Acknowledged, who: str) -> None:
    """Add one to what all share, as a careful client does: again, if somebody was quicker."""
    while True:
        state = repository.read().machines["shared"]
        seen = vm("shared", cpus=state.spec.cpus)
        match = version_of(seen)
        body = {"spec": {"cpus": (state.spec.cpus or 0) + 1}}
        try:
            write(repository, told, who, SHARED, Change.MERGE, body=body, match=match)
        except PreconditionError:
            continue
        return


def client(repository: Repository, who: str, rounds: int, told: Acknowledged) -> None:
    for at in range(rounds):
        key = f"VirtualMachine/{who}-{at}"
        write(repository, told, who, key, Change.CREATE, body=vm(f"{who}-{at}"))
        count_up(repository, told, who)
        if at % 2:
            write(repository, told, who, key, Change.DELETE)


def clients(source: SourceConfig, name: str, threads: int, rounds: int, out: Path) -> None:
    """One process with many clients; what was acknowledged is written to `out`."""
    repository = Repository(source, Path("/"))
    told: list[Acknowledged] = [[] for _ in range(threads)]
    running = [
        threading.Thread(target=client, args=(repository, f"{name}{at}", rounds, told[at]))
        for at in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    out.write_text(json.dumps([entry for each in told for entry in each]))


@contextmanager
def processes(
    source: SourceConfig, tmp_path: Path, count: int, threads: int, rounds: int
) -> Iterator[Callable[[], Acknowledged]]:
    """That many processes; the yielded function waits for them and tells what was acknowledged."""
    context = multiprocessing.get_context("fork")
    outs = [tmp_path / f"told-{at}.json" for at in range(count)]
    running = [
        context.Process(target=clients, args=(source, f"p{at}c", threads, rounds, outs[at]))
        for at in range(count)
    ]
    for process in running:
        process.start()

    def wait() -> Acknowledged:
        for process in running:
            process.join(120)
            assert process.exitcode == 0
        return [(a, b, c) for out in outs for a, b, c in json.loads(out.read_text())]

    try:
        yield wait
    finally:
        for process in running:
            process.kill()
            process.join()


def start(git: Git, root: Path) -> None:
    (root / "types.yaml").write_text(TYPE)
    (root / "shared.yaml").write_text(
        "# everybody's\n" + machine("shared").replace("  memory: 1Gi\n", "  instanceType: small\n")
    )
    (root / "people.yaml").write_text(machine("people"))
    git("add", "--all", at=root)
    git("commit", "--quiet", "--message=first", at=root)


def require_complete(git: Git, at: Path, told: Acknowledged, people: list[str]) -> None:
    """Each acknowledged write is in the log, once, with its author; the log is a line."""
    log = [
        line.split("\t") for line in git("log", "--format=%H%x09%p%x09%an%x09%s", "main", at=at).splitlines()
    ]
    found = {commit: (author, message) for commit, _, author, message in log}
    assert all(" " not in parents for _, parents, *_ in log)
    assert len({commit for commit, _, _ in told}) == len(told)
    assert [entry for entry in told if found.get(entry[0]) != entry[1:]] == []
    messages = Counter(message for _, message in found.values())
    assert all(messages[each] == 1 for each in people)
    assert len(log) == 1 + len(told) + len(people)
    increments = sum(1 for _, _, message in told if message.startswith(f"merge {SHARED}"))
    shared = Repository(config(at), Path("/")).read().machines["shared"]
    assert shared.spec.cpus == 1 + increments


def pusher(git: Git, clone: Path, rounds: int, done: list[str]) -> None:
    """A person with a clone: edit, commit, pull --rebase, push, until it is taken."""
    for at in range(rounds):
        (clone / "people.yaml").write_text(machine("people") + f"# {at}\n")
        git("commit", "--quiet", "--all", f"--message=person {at}", at=clone)
        while True:
            try:
                git("pull", "--quiet", "--rebase", at=clone)
                git("push", "--quiet", at=clone)
                break
            except subprocess.CalledProcessError:
                continue
        done.append(f"person {at}")


def committer(git: Git, root: Path, rounds: int, done: list[str]) -> None:
    """A person in the very work tree; git says when another holds the index, and one tries again."""
    for at in range(rounds):
        (root / "people.yaml").write_text(machine("people") + f"# {at}\n")
        while True:
            try:
                git("commit", "--quiet", f"--message=person {at}", "--", "people.yaml", at=root)
                break
            except subprocess.CalledProcessError:
                time.sleep(0.005)
        done.append(f"person {at}")


def both(person: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=person, args=arguments)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["bare", pytest.param("remote", marks=pytest.mark.slow)])
def test_programs_in_two_processes_and_people_who_push(git: Git, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "repo"
    start(git, root)
    server = tmp_path / "server.git"
    git("clone", "--quiet", "--bare", str(root), str(server))
    git("clone", "--quiet", str(server), str(tmp_path / "clone"), at=tmp_path)
    source = config(server) if kind == "bare" else config(tmp_path / "mirror.git", remote=str(server))
    Repository(source, Path("/")).read()
    people: list[str] = []
    with processes(source, tmp_path, count=2, threads=3, rounds=2) as wait:
        person = both(pusher, git, tmp_path / "clone", 4, people)
        told = wait()
        person.join()
    assert len(people) == 4
    require_complete(git, server, told, people)


def test_programs_and_a_person_in_one_work_tree(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    start(git, root)
    people: list[str] = []
    with processes(config(root), tmp_path, count=2, threads=3, rounds=2) as wait:
        person = both(committer, git, root, 6, people)
        told = wait()
        person.join()
    require_complete(git, root, told, people)
    assert git("status", "--porcelain", at=root) == ""
    assert git("for-each-ref", "refs/reconciler", at=root) == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bare", "work tree"])
def test_many_programs_and_people(git: Git, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "repo"
    start(git, root)
    at = root
    if kind == "bare":
        at = tmp_path / "server.git"
        git("clone", "--quiet", "--bare", str(root), str(at))
        git("clone", "--quiet", str(at), str(tmp_path / "clone"), at=tmp_path)
    people: list[str] = []
    with processes(config(at), tmp_path, count=3, threads=6, rounds=4) as wait:
        person = (
            both(committer, git, root, 20, people)
            if kind == "work tree"
            else both(pusher, git, tmp_path / "clone", 10, people)
        )
        told = wait()
        person.join()
    require_complete(git, at, told, people)
    assert git("fsck", "--strict", "--no-dangling", at=at) == ""


def test_of_two_who_make_one_thing_one_is_told(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    start(git, root)
    repositories = [Repository(config(root), Path("/")) for _ in range(2)]
    outcomes: list[str] = []

    def make(at: int) -> None:
        try:
            repositories[at % 2].write(
                Write("VirtualMachine/one", Change.CREATE, vm("one", cpus=at + 1), "A <a@b>", f"by {at}")
            )
            outcomes.append("made")
        except ConflictError as error:
            outcomes.append(f"{error.file}:{error.line}")

    threads = [both(make, at) for at in range(12)]
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"made": 1, "api/virtualmachines/one.yaml:1": 11}


def test_one_that_is_refused_harms_no_other_of_its_group(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    start(git, root)
    repository = Repository(config(root), Path("/"))
    mac = "52:54:00:00:00:01"
    outcomes: dict[int, str] = {}

    def make(at: int) -> None:
        interfaces = [{"network": "n", "mac": mac}] if at % 4 == 1 else []
        body = vm(f"m{at}", interfaces=interfaces, **({"cpus": "x"} if at % 4 == 2 else {}))
        try:
            repository.write(Write(f"VirtualMachine/m{at}", Change.CREATE, body, "A <a@b>", f"m{at}"))
            outcomes[at] = "made"
        except (RefusedError, Exception) as error:  # noqa: BLE001 - what it is is looked at below
            outcomes[at] = type(error).__name__

    with repository._lock:  # so that they meet in one group
        threads = [both(make, at) for at in range(16)]
        while len(repository._waiting) < 16:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert {at for at, said in outcomes.items() if said == "made" and at % 4 in (0, 3)} == {
        0,
        3,
        4,
        7,
        8,
        11,
        12,
        15,
    }
    assert {outcomes[at] for at in range(16) if at % 4 == 2} == {"DesiredStateError"}
    assert Counter(outcomes[at] for at in range(16) if at % 4 == 1) == {"made": 1, "DesiredStateError": 3}
    log = git("log", "--format=%s", "main~9..main", at=root).splitlines()
    assert len(set(log)) == 9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bare", "work tree"])
def test_who_is_killed_leaves_nothing_half(git: Git, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "repo"
    start(git, root)
    at = root
    if kind == "bare":
        at = tmp_path / "server.git"
        git("clone", "--quiet", "--bare", str(root), str(at))
    context = multiprocessing.get_context("fork")
    for turn in range(12):
        out = tmp_path / f"killed-{turn}"
        process = context.Process(target=_for_ever, args=(config(at), f"k{turn}", out))
        process.start()
        while not out.exists():
            time.sleep(0.005)
        time.sleep(0.02 + 0.013 * turn)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        git_of_the_dead_ends = time.monotonic() + 10
        told: Acknowledged = []
        while True:
            name = f"after{turn}-{len(told)}"
            after = Repository(config(at), Path("/"))
            write(after, told, name, f"VirtualMachine/{name}", Change.CREATE, body=vm(name))
            if git("for-each-ref", "refs/reconciler", at=at) == "":
                break
            assert time.monotonic() < git_of_the_dead_ends
        commits = set(git("rev-list", "main", at=at).split())
        assert set(out.read_text().split()) | {commit for commit, *_ in told} <= commits
        if kind == "work tree":
            assert git("status", "--porcelain", at=at) == ""
        del after
        assert list((root / ".git/reconciler" if at == root else at / "reconciler").glob("*")) == []
    assert "dangling" not in git("fsck", "--strict", "--no-dangling", at=at)


@pytest.mark.parametrize("moment", ["before the branch moves", "after the branch moved"])
def test_a_work_tree_that_a_killed_writer_left_is_mended(git: Git, tmp_path: Path, moment: str) -> None:
    root = tmp_path / "repo"
    start(git, root)
    (root / "shared.yaml").write_text((root / "shared.yaml").read_text() + "# mine\n")
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(config(root), moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (root / ".git/index.lock").exists()
    landed = git("log", "-1", "--format=%s", at=root) == "killed"
    assert landed == (moment == "after the branch moved")
    after = Repository(config(root), Path("/"))
    after.write(Write("VirtualMachine/after", Change.CREATE, vm("after"), "A <a@b>", "after"))
    assert git("status", "--porcelain", at=root) == "M shared.yaml"
    assert (root / "api/virtualmachines/killed.yaml").exists() == landed
    assert ("killed" in after.read().machines) == landed
    assert (root / "shared.yaml").read_text().endswith("# mine\n")
    assert git("for-each-ref", "refs/reconciler", at=root) == ""


def _killed(source: SourceConfig, moment: str) -> None:
    swap = GitPlace._swap

    def kill(self: GitPlace, *arguments: str) -> None:
        if moment == "after the branch moved":
            swap(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    GitPlace._swap = kill  # type: ignore[method-assign]
    wish = Write("VirtualMachine/killed", Change.CREATE, vm("killed"), "A <a@b>", "killed")
    Repository(source, Path("/")).write(wish)


def _for_ever(source: SourceConfig, who: str, out: Path) -> None:
    repository = Repository(source, Path("/"))
    with out.open("a") as file:

        def run(name: str) -> None:
            for at in range(10_000):
                told: Acknowledged = []
                try:
                    write(
                        repository,
                        told,
                        name,
                        f"VirtualMachine/{name}-{at}",
                        Change.CREATE,
                        body=vm(f"{name}-{at}"),
                    )
                except UnavailableError:
                    continue
                file.write(f"{told[0][0]}\n")
                file.flush()

        threads = [both(run, f"{who}t{at}") for at in range(4)]
        for thread in threads:
            thread.join()
