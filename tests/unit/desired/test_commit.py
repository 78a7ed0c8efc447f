"""A change arrives where the desired state lives, alone, or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.desired.commit import NewText, save
from reconciler.desired.draft import Draft
from reconciler.errors import DesiredStateError, ReconcilerError
from reconciler.model.config import SourceConfig

from .conftest import Git, machine

KEY = "VirtualMachine/a"
AUTHOR = "Ann Other <ann@example.org>"
HALT = {("spec", "runStrategy"): "Halted"}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Git of this machine knows nobody."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))


def config(path: Path, **more: object) -> SourceConfig:
    return SourceConfig.model_validate({"path": str(path), **more})


def repository(git: Git, folder: Path) -> Path:
    (folder / "vms").mkdir()
    (folder / "vms/a.yaml").write_text("# kept\n" + machine("a"))
    (folder / "vms/b.yaml").write_text(machine("b"))
    git("add", "--all", at=folder)
    git("commit", "--quiet", "--message=x", at=folder)
    return folder


def halt(source: SourceConfig, file: str = "vms/a.yaml", author: str | None = AUTHOR) -> str:
    draft = Draft(source, Path("/"))
    draft.edit(file, KEY, HALT)
    assert draft.source().read().machines["a"].spec.run_strategy == "Halted"
    return draft.save("reconciler stop a", author)


def changed(git: Git, at: Path, old: str, new: str) -> list[str]:
    return git("diff", "--name-only", old, new, at=at).splitlines()


def test_a_folder_gets_the_file_at_once_with_its_mode_and_through_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("# kept\n" + machine("a"))
    real.chmod(0o640)
    (tmp_path / "a.yaml").symlink_to("real.yaml")
    source = config(tmp_path)
    assert halt(source, "real.yaml") == str(real)
    assert real.read_text() == "# kept\n" + machine("a", runStrategy="Halted")
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "real.yaml"]
    with pytest.raises(ReconcilerError, match="was changed meanwhile"):
        save(source, Path("/"), NewText("a.yaml", "new", "old", "x"))
    with pytest.raises(ReconcilerError, match="exists already"):
        save(source, Path("/"), NewText("a.yaml", "new", None, "x"))
    assert (tmp_path / "a.yaml").is_symlink()
    assert save(source, Path("/"), NewText("new/b.yaml", "new", None, "x")) == str(tmp_path / "new/b.yaml")


def test_a_work_tree_gets_a_commit_of_that_file_alone(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    before = git("rev-parse", "HEAD")
    (root / "vms/b.yaml").write_text("# in the middle of something\n")
    git("add", "vms/b.yaml")
    told = halt(config(root, git=True))
    head = git("rev-parse", "HEAD")
    assert told == f"{head[:12]} on main"
    assert changed(git, root, before, head) == ["vms/a.yaml"]
    assert (root / "vms/a.yaml").read_text() == "# kept\n" + machine("a", runStrategy="Halted")
    assert git("log", "-1", "--format=%an <%ae> %s") == f"{AUTHOR} reconciler stop a"
    assert git("status", "--porcelain") == "M  vms/b.yaml"


def test_a_file_with_changes_of_people_is_left_alone(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    (root / "vms/a.yaml").write_text("# mine\n")
    with pytest.raises(ReconcilerError, match=r"a\.yaml has changes that are not committed"):
        halt(config(root, git=True))
    assert (root / "vms/a.yaml").read_text() == "# mine\n"


def test_a_hook_that_refuses_undoes_it_all(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    hook = root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho not on a Friday >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ReconcilerError, match="not on a Friday"):
        halt(config(root, git=True))
    assert git("status", "--porcelain") == ""
    with pytest.raises(ReconcilerError, match="not on a Friday"):
        save(config(root, git=True), Path("/"), NewText("vms/new.yaml", "x", None, "x", AUTHOR))
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("kind", ["bare", "other branch", "folder of the tree"])
def test_where_nobody_works_the_commit_needs_no_work_tree(git: Git, tmp_path: Path, kind: str) -> None:
    root = repository(git, tmp_path / "repo")
    before = git("rev-parse", "main")
    if kind == "bare":
        git("clone", "--quiet", "--bare", str(root), str(tmp_path / "bare.git"))
        root = tmp_path / "bare.git"
    else:
        git("checkout", "--quiet", "-b", "elsewhere")
    at = root / "vms" if kind == "folder of the tree" else root
    file = "a.yaml" if kind == "folder of the tree" else "vms/a.yaml"
    told = halt(config(at, git=True, ref="main"), file)
    after = git("rev-parse", "main", at=root)
    assert told == f"{after[:12]} on main"
    assert changed(git, root, before, after) == ["vms/a.yaml"]
    assert git("show", "main:vms/a.yaml", at=root) + "\n" == "# kept\n" + machine("a", runStrategy="Halted")
    if kind != "bare":
        assert git("status", "--porcelain") == ""
        assert "Halted" not in (root / "vms/a.yaml").read_text()


def test_a_linked_work_tree_on_the_branch_is_where_it_happens(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    git("checkout", "--quiet", "-b", "elsewhere")
    git("worktree", "add", "--quiet", str(tmp_path / "linked"), "main")
    halt(config(root, git=True, ref="main"))
    assert "Halted" in (tmp_path / "linked/vms/a.yaml").read_text()
    assert git("status", "--porcelain", at=tmp_path / "linked") == ""


def remote(git: Git, tmp_path: Path) -> tuple[SourceConfig, Path]:
    """A source that follows `main` of a bare repository, and that repository."""
    root = repository(git, tmp_path / "repo")
    server = tmp_path / "server.git"
    git("clone", "--quiet", "--bare", str(root), str(server))
    return config(tmp_path / "mirror.git", git=True, ref="main", remote=str(server)), server


def test_a_remote_gets_it_and_is_followed(git: Git, tmp_path: Path) -> None:
    source, server = remote(git, tmp_path)
    before = git("rev-parse", "main", at=server)
    told = halt(source)
    after = git("rev-parse", "main", at=server)
    assert told == f"{after[:12]} on main of {server}"
    assert changed(git, server, before, after) == ["vms/a.yaml"]
    draft = Draft(source, Path("/"))
    draft.edit("vms/a.yaml", KEY, HALT)
    assert draft.changes_nothing


def test_what_a_remote_refuses_has_not_happened(git: Git, tmp_path: Path) -> None:
    source, server = remote(git, tmp_path)
    draft = Draft(source, Path("/"))
    draft.edit("vms/a.yaml", KEY, HALT)
    # Somebody else is quicker.
    git("commit", "--quiet", "--allow-empty", "--message=first")
    git("push", "--quiet", str(server), "main")
    quicker = git("rev-parse", "main")
    with pytest.raises(ReconcilerError, match=r"does not take the change.*rejected") as refused:
        draft.save("reconciler stop a", AUTHOR)
    assert "again" in refused.value.hint
    assert git("rev-parse", "main", at=server) == quicker
    assert "on main of" in halt(source)  # on what was fetched then


def test_a_remote_that_does_not_answer_is_no_place_for_a_change(git: Git, tmp_path: Path) -> None:
    source, server = remote(git, tmp_path)
    halt(source)
    server.rename(tmp_path / "gone")
    with pytest.raises(ReconcilerError, match="cannot fetch"):
        Draft(source, Path("/"))


@pytest.mark.parametrize(("ref", "says"), [("v1", "is no branch"), ("HEAD", "no branch checked out")])
def test_what_is_no_branch_cannot_move(git: Git, tmp_path: Path, ref: str, says: str) -> None:
    root = repository(git, tmp_path / "repo")
    git("tag", "v1")
    git("checkout", "--quiet", "--detach")
    with pytest.raises(ReconcilerError, match=says):
        halt(config(root, git=True, ref=ref))


def test_a_branch_that_moved_meanwhile_is_not_overwritten(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    git("checkout", "--quiet", "-b", "elsewhere")
    draft = Draft(config(root, git=True, ref="main"), Path("/"))
    draft.edit("vms/a.yaml", KEY, HALT)
    (root / "vms/a.yaml").write_text("# another\n" + machine("a"))
    git("commit", "--quiet", "--all", "--message=y")
    git("branch", "--force", "main", "elsewhere")
    with pytest.raises(ReconcilerError, match="was changed meanwhile"):
        draft.save("x", AUTHOR)


def test_somebody_has_to_be_the_author(git: Git, tmp_path: Path) -> None:
    root = repository(git, tmp_path / "repo")
    source = config(root, git=True)
    with pytest.raises(ReconcilerError, match="in whose name") as refused:
        halt(source, author=None)
    assert "--author" in refused.value.hint
    with pytest.raises(ReconcilerError, match="is no author"):
        halt(source, author="Ann")
    for key, value in {"user.name": "Config", "user.email": "c@example.org"}.items():
        subprocess.run(["git", "-C", str(root), "config", key, value], check=True)
    halt(source, author=None)
    assert git("log", "-1", "--format=%an/%cn", at=root) == "Config/Config"


def test_a_change_touches_one_file_and_one_that_is_valid(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(machine(name))
    draft = Draft(config(tmp_path), Path("/"))
    draft.edit("a.yaml", KEY, {("spec", "cpus"): 0})
    with pytest.raises(DesiredStateError, match=r"a\.yaml:6:9: spec.cpus"):
        draft.source().read()
    with pytest.raises(ReconcilerError, match="changes two files"):
        draft.edit("b.yaml", "VirtualMachine/b", HALT)
