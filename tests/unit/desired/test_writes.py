"""A program's write is one commit, or it is refused and nothing happened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.writes import Repository
from reconciler.errors import ConflictError, DesiredStateError, NotFoundError, PreconditionError
from reconciler.model.api_config import ApiConfig
from reconciler.model.config import SourceConfig
from reconciler.model.write import ANY, Change, Write, Written, version_of

from .conftest import Git, machine

AUTHOR = "Ann Other <ann@example.org>"
SMALL = """\
# What most machines are.
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small} # not large
spec:
  memory: 1024Mi   # enough
  cpus: 1
"""

Do = Callable[..., Written]


def vm(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "reconciler/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"instanceType": "small", **spec},
    }


def config(path: Path, **more: object) -> SourceConfig:
    return SourceConfig.model_validate({"path": str(path), "git": True, "ref": "main", **more})


@pytest.fixture(params=["work tree", "bare", "remote", "folder", "part of a work tree"])
def place(request: pytest.FixtureRequest, git: Git, tmp_path: Path) -> SourceConfig:
    """Each kind of desired state, with one instance type."""
    root = tmp_path / "repo"
    (root / "people").mkdir()
    (root / "people/types.yaml").write_text(SMALL)
    git("add", "--all")
    git("commit", "--quiet", "--message=x")
    if request.param == "folder":
        return SourceConfig(path=str(root))
    if request.param == "part of a work tree":
        return config(root, folder="people")
    if request.param == "work tree":
        return config(root)
    git("clone", "--quiet", "--bare", str(root), str(tmp_path / "bare.git"))
    if request.param == "bare":
        return config(tmp_path / "bare.git")
    return config(tmp_path / "mirror.git", remote=str(tmp_path / "bare.git"))


def doer(repository: Repository) -> Do:
    def do(key: str, change: Change, body: object = None, **more: Any) -> Written:
        wish = Write(key, change, body, AUTHOR, f"{change} {key}\n\nfor a test", **more)  # type: ignore[arg-type]
        return repository.write(wish)

    return do


@pytest.fixture
def here(git: Git) -> tuple[Repository, Do, Path, Git]:
    """A work tree with one instance type."""
    root = Path(git("rev-parse", "--show-toplevel"))
    (root / "people").mkdir()
    (root / "people/types.yaml").write_text(SMALL)
    (root / "people/two.yaml").write_text("# both\n" + machine("x") + "# the second\n" + machine("y"))
    git("add", "--all")
    git("commit", "--quiet", "--message=x")
    repository = Repository(config(root), Path("/"), ApiConfig(git_only=("locked/*",)))
    return repository, doer(repository), root, git


def test_a_life_in_every_kind_of_place(place: SourceConfig) -> None:
    repository = Repository(place, Path("/"))
    do = doer(repository)
    key = "VirtualMachine/a b"
    made = do(key, Change.CREATE, vm("a b", cpus=2))
    folder = f"{place.folder}/api".removeprefix("/")
    assert made.file == f"{folder}/virtualmachines/a%20b.yaml"
    assert (made.before, made.after) == (None, vm("a b", cpus=2))
    assert repository.read().machines["a b"].spec.cpus == 2
    assert repository.read() is repository.read() or not place.git
    with pytest.raises(ConflictError, match="is there already") as there:
        do(key, Change.CREATE, vm("a b"))
    assert (there.value.file, there.value.line) == (made.file, 1)
    changed = do(
        key, Change.MERGE, {"spec": {"cpus": None, "memory": "2Gi"}}, match=version_of(made.after or {})
    )
    assert changed.after == vm("a b", memory="2Gi")
    with pytest.raises(PreconditionError, match="changed meanwhile"):
        do(key, Change.DELETE, match=version_of(made.after or {}))
    same = do(key, Change.PUT, vm("a b", memory=2 << 30))
    assert not same.changed
    assert same.revision == changed.revision
    do("VirtualMachine/keep", Change.PUT, vm("keep"), absent=True)
    gone = do(key, Change.DELETE, match=ANY)
    assert gone.before == changed.after
    assert Repository(place, Path("/")).read().machines.keys() == {"keep"}
    with pytest.raises(NotFoundError):
        do(key, Change.DELETE)
    with pytest.raises(NotFoundError):
        do(key, Change.MERGE, {"spec": {}})
    with pytest.raises(PreconditionError):
        do(key, Change.PUT, vm("a b"), match=ANY)
    with pytest.raises(PreconditionError):
        do("VirtualMachine/keep", Change.PUT, vm("keep"), absent=True)
    assert repository.text("InstanceType/small") == SMALL


def test_a_write_is_one_commit_of_its_author_that_git_revert_undoes(
    here: tuple[Repository, Do, Path, Git],
) -> None:
    repository, do, root, git = here
    before = git("rev-parse", "HEAD")
    made = do("VirtualMachine/a", Change.CREATE, vm("a"))
    assert made.revision == git("rev-parse", "HEAD") == repository.read().revision
    assert git("log", "--format=%an <%ae>|%s|%b", f"{before}..HEAD") == (
        f"{AUTHOR}|create VirtualMachine/a|for a test"
    )
    assert git("diff", "--name-only", before, "HEAD") == made.file
    assert (root / made.file).is_file()
    assert git("status", "--porcelain") == ""
    assert git("for-each-ref", "refs/reconciler") == ""
    do("InstanceType/small", Change.MERGE, {"spec": {"cpus": 4}})
    git("revert", "--no-edit", "HEAD", "HEAD~1")
    assert git("diff", before, "HEAD") == ""
    assert repository.read().instance_types["small"].spec.cpus == 1


def test_what_people_wrote_stays_as_it_is(here: tuple[Repository, Do, Path, Git]) -> None:
    _, do, root, _ = here
    do("InstanceType/small", Change.PUT, {"metadata": {"name": "small"}, "kind": "InstanceType",
       "spec": {"cpus": 2, "memory": 1 << 30, "maxCpus": 4}})  # fmt: skip
    assert (root / "people/types.yaml").read_text() == SMALL.replace("cpus: 1", "cpus: 2\n  maxCpus: 4")
    do("VirtualMachine/x", Change.DELETE)
    assert (root / "people/two.yaml").read_text() == "# both\n" + machine("y")
    do("VirtualMachine/y", Change.DELETE)
    assert not (root / "people/two.yaml").exists() or "kind" not in (root / "people/two.yaml").read_text()


def test_what_cannot_be_edited_is_told_with_its_line(here: tuple[Repository, Do, Path, Git]) -> None:
    _, do, root, git = here
    text = (
        machine("z").replace("spec:\n", "spec: &both\n").replace("cpus: 1", "cpus: &one 1\n  maxCpus: *one")
    )
    (root / "people/z.yaml").write_text(text)
    (root / "locked").mkdir()
    (root / "locked/q.yaml").write_text(machine("p") + machine("q"))
    git("add", "--all")
    git("commit", "--quiet", "--message=x")
    with pytest.raises(ConflictError, match="anchor") as refused:
        do("VirtualMachine/z", Change.MERGE, {"spec": {"maxCpus": 2}})
    assert (refused.value.file, refused.value.line) == ("people/z.yaml", 6)
    with pytest.raises(ConflictError, match="only git may change") as locked:
        do("VirtualMachine/q", Change.DELETE)
    assert (locked.value.file, locked.value.line) == ("locked/q.yaml", 9)
    assert git("status", "--porcelain") == ""


def test_a_wrong_body_is_told_whole_and_of_the_body(here: tuple[Repository, Do, Path, Git]) -> None:
    _, do, _root, git = here
    before = git("rev-parse", "HEAD")
    body = vm("b", cpus=0, colour="red", instanceType="smal", disks=[{"name": "d", "size": "many"}])
    with pytest.raises(DesiredStateError) as refused:
        do("VirtualMachine/a", Change.CREATE, body)
    told = {(one.file, one.line, one.path) for one in refused.value.problems}
    assert told == {
        ("body", 0, "metadata.name"),
        ("body", 0, "spec.cpus"),
        ("body", 0, "spec.colour"),
        ("body", 0, "spec.disks[0].size"),
    }
    for wrong in (
        {"instanceType": "smal"},
        {"interfaces": [{"network": "n", "mac": "52:54:00:00:00:01"}] * 2},
    ):
        with pytest.raises(DesiredStateError) as refused:
            do("VirtualMachine/a", Change.CREATE, vm("a", **wrong))
        assert {one.file for one in refused.value.problems} == {"body"}
    for body in (None, [], "x", {"kind": "Nonsense"}):
        with pytest.raises(DesiredStateError):
            do("VirtualMachine/a", Change.PUT, body)
    assert git("rev-parse", "HEAD") == before


def test_what_is_used_cannot_go(here: tuple[Repository, Do, Path, Git]) -> None:
    _, do, _, _ = here
    for name in "ab":
        do(f"VirtualMachine/{name}", Change.CREATE, vm(name))
    with pytest.raises(DesiredStateError) as refused:
        do("InstanceType/small", Change.DELETE)
    assert [one.object for one in refused.value.problems] == ["VirtualMachine/a", "VirtualMachine/b"]
    assert "api/virtualmachines/a.yaml" in str(refused.value)


def test_what_somebody_else_broke_stops_nobody_but_gets_no_worse(
    here: tuple[Repository, Do, Path, Git],
) -> None:
    repository, do, root, git = here
    (root / "people/wrong.yaml").write_text(
        machine("w").replace("cpus: 1", "cpus: none") + machine("v", instanceType="nil")
    )
    (root / "people/worse.yaml").write_text(machine("u") + "---\nkind: [\nname: hidden, small\n")
    git("add", "--all")
    git("commit", "--quiet", "--message=x")
    with pytest.raises(DesiredStateError):
        repository.read_newest()
    assert repository.read().machines.keys() == {"x", "y"}  # the last good one
    do("VirtualMachine/a", Change.CREATE, vm("a"))
    with pytest.raises(DesiredStateError, match=r"body: spec\.instanceType: unknown"):
        do("VirtualMachine/b", Change.CREATE, vm("b", instanceType="nil"))
    for key, change, body in (
        ("VirtualMachine/hidden", Change.CREATE, vm("hidden")),
        ("InstanceType/small", Change.DELETE, None),
    ):
        with pytest.raises(ConflictError, match="cannot be read") as refused:
            do(key, change, body)
        assert refused.value.file == "people/worse.yaml"
    do("VirtualMachine/w", Change.MERGE, {"spec": {"cpus": 2}})  # which makes it better
    with pytest.raises(DesiredStateError) as still:
        repository.read_newest()
    assert "VirtualMachine/w" not in {one.object for one in still.value.problems}
    (root / "people/worse.yaml").unlink()
    (root / "people/wrong.yaml").unlink()
    git("commit", "--quiet", "--all", "--message=y")
    assert repository.read().machines.keys() == {"a", "x", "y"}


def test_changes_of_people_that_are_not_committed_are_never_lost(
    here: tuple[Repository, Do, Path, Git],
) -> None:
    repository, do, root, git = here
    mine = SMALL + "# mine\n"
    (root / "people/types.yaml").write_text(mine)
    (root / "people/new.yaml").write_text(machine("new"))
    git("add", "people/new.yaml")
    (root / "api/virtualmachines").mkdir(parents=True)
    (root / "api/virtualmachines/c.yaml").write_text("# also mine\n")
    before = git("rev-parse", "HEAD")
    for key, body in (("InstanceType/small", {"spec": {"cpus": 2}}), ("VirtualMachine/c", None)):
        with pytest.raises(ConflictError, match="not committed"):
            do(key, Change.MERGE if body else Change.CREATE, body or vm("c"))
    assert git("rev-parse", "HEAD") == before
    do("VirtualMachine/a", Change.CREATE, vm("a"))
    do("VirtualMachine/x", Change.MERGE, {"spec": {"cpus": 2}})
    assert (root / "people/types.yaml").read_text() == mine
    assert {line.split()[-1] for line in git("status", "--porcelain").splitlines()} == {
        "people/types.yaml",
        "people/new.yaml",
        "api/virtualmachines/c.yaml",
    }
    assert "new" not in repository.read().machines


def test_a_dry_run_says_what_would_be_and_changes_nothing(here: tuple[Repository, Do, Path, Git]) -> None:
    repository, _, _, git = here
    before, state = git("rev-parse", "HEAD"), repository.read()
    wished = repository.source_with(Write("VirtualMachine/a", Change.CREATE, vm("a"), AUTHOR, "x"))
    assert wished.read().machines.keys() == {"a", "x", "y"}
    assert repository.read().machines.keys() == state.machines.keys()
    with pytest.raises(NotFoundError):
        repository.source_with(Write("VirtualMachine/a", Change.DELETE, None, AUTHOR, "x"))
    assert git("rev-parse", "HEAD") == before


def test_an_author_cannot_forge_a_commit(here: tuple[Repository, Do, Path, Git]) -> None:
    repository, _, _, git = here
    message = "from nobody\nM 100644 inline x\n\0\x1b[31m"
    wish = Write("VirtualMachine/a", Change.CREATE, vm("a"), AUTHOR, message)
    repository.write(wish)
    assert git("show", "--format=", "--name-only") == "api/virtualmachines/a.yaml"
    for author in ("x\ncommitter y <z>", "nobody", "<>"):
        with pytest.raises(Exception, match="is no author"):
            repository.write(Write("VirtualMachine/b", Change.CREATE, vm("b"), author, "x"))


def test_reading_again_starts_no_process(
    here: tuple[Repository, Do, Path, Git], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _do, root, git = here
    state = repository.read()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", fail)
        assert all(repository.read() is state for _ in range(100))
    git("pack-refs", "--all")
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", fail)
        assert repository.read() is state
    other = Repository(config(root), Path("/"))
    doer(other)("VirtualMachine/a", Change.CREATE, vm("a"))
    assert "a" in repository.read().machines
    assert repository.read().machines["x"] is state.machines["x"]
