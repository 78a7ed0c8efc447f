from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.desired.source import Source, open_source
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig

from .conftest import Git, machine


def repository(path: Path, **config: object) -> Source:
    return open_source(SourceConfig.model_validate({"path": str(path), "git": True, **config}), Path("/"))


def commit(git: Git, root: Path, **files: str) -> str:
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text)
    git("add", "--all", at=root)
    git("commit", "--quiet", "--message=x", at=root)
    return git("rev-parse", "HEAD", at=root)


def test_the_committed_tree_is_read_and_never_the_work_tree(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    first = commit(git, root, a=machine("a"), b=machine("b"))
    (root / "a.yaml").write_text("wrong: [")
    (root / "c.yaml").write_text(machine("c"))
    git("add", "c.yaml")
    source = repository(root)
    state = source.read()
    assert state.revision == first
    assert list(state.machines) == ["a", "b"]
    assert source.read() is state
    second = commit(git, root, a=machine("a", description="new"))
    now = source.read()
    assert now.revision == second
    assert now.machines["b"] is state.machines["b"]
    assert now.machines["a"].spec.description == "new"


def test_refs(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    first = commit(git, root, a=machine("a"))
    git("tag", "--annotate", "v1", "--message=x")
    git("checkout", "--quiet", "-b", "next")
    commit(git, root, b=machine("b"))
    for ref, names in {
        "main": ["a"],
        "v1": ["a"],
        first: ["a"],
        "next": ["a", "b"],
        "HEAD": ["a", "b"],
    }.items():
        assert list(repository(root, ref=ref).read().machines) == names
    for ref in ("gone", "--output=/tmp/x", "main:a.yaml"):
        with pytest.raises(DesiredStateError, match="no branch, tag or commit"):
            repository(root, ref=ref).read()


def test_a_bare_repository_a_folder_of_a_work_tree_and_one_folder_only(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    (root / "prod").mkdir()
    commit(git, root, **{"prod/a": machine("a"), "other": "wrong"})
    bare = tmp_path / "bare.git"
    git("clone", "--quiet", "--bare", str(root), str(bare))
    assert list(repository(bare, folder="prod").read().machines) == ["a"]
    assert repository(root / "prod").read().origins["VirtualMachine/a"].file == "a.yaml"
    with pytest.raises(DesiredStateError, match="no folder stage"):
        repository(root, folder="stage").read()


def test_no_repository_no_commit_no_manifest(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    with pytest.raises(DesiredStateError, match="has no commit yet"):
        repository(root).read()
    with pytest.raises(DesiredStateError, match="does not exist"):
        repository(tmp_path / "gone").read()
    (tmp_path / "plain").mkdir()
    with pytest.raises(DesiredStateError, match="not a git repository"):
        repository(tmp_path / "plain").read()
    (root / "readme.md").write_text("x")
    commit(git, root)
    with pytest.raises(DesiredStateError, match="no manifest"):
        repository(root).read()


def test_a_hook_environment_does_not_lead_elsewhere(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "repo"
    commit(git, root, a=machine("a"))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    assert list(repository(root).read().machines) == ["a"]


def test_links_and_large_files_are_refused(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    (root / "link.yaml").symlink_to("/etc/passwd")
    commit(git, root, a=machine("a"), large="# padding\n" * 200)
    with pytest.raises(DesiredStateError) as caught:
        repository(root, maxFileSize=1000).read()
    assert [(problem.file, problem.message.split(",")[0]) for problem in caught.value.problems] == [
        ("large.yaml", "the file has 2000 bytes"),
        ("link.yaml", "a symbolic link"),
    ]


def test_mistakes_have_their_place(git: Git, tmp_path: Path) -> None:
    commit(git, tmp_path / "repo", a=machine("a", image="debian", cpux="1"))
    commit(git, tmp_path / "repo", b=machine("b", image="debian"))
    with pytest.raises(DesiredStateError) as caught:
        repository(tmp_path / "repo").read()
    assert [str(problem)[:34] for problem in caught.value.problems] == [
        "a.yaml:8:10: spec.image: unknown I",
        "a.yaml:9:3: spec.cpux: unknown fie",
        "b.yaml:8:10: spec.image: unknown I",
    ]


def test_a_named_inventory_is_no_manifest(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    for folder in ("group_vars", "machines", "hosts"):
        (root / folder).mkdir()
    hosts = "all: {hosts: {kvm1: {}}}"
    commit(git, root, **{"h": hosts, "group_vars/all": hosts, "hosts/x": hosts, "machines/a": machine("a")})
    config = SourceConfig(path=str(root), git=True)
    for named in ([root / "h.yaml", root / "hosts"], [Path("h.yaml"), Path("hosts")]):
        assert list(open_source(config, Path("/"), exclude=named).read().origins) == ["VirtualMachine/a"]
    with pytest.raises(DesiredStateError, match=r"hosts/x\.yaml.*source\.folder"):
        open_source(config, Path("/"), exclude=[root / "h.yaml"]).read()


def test_templates_come_from_the_commit(git: Git, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    (root / "t.j2").write_text("<one/>")
    commit(git, root, a=machine("a", xmlTemplate="t.j2"))
    (root / "t.j2").write_text("<two/>")
    assert repository(root).read().templates == {"t.j2": "<one/>"}


def test_following_a_remote(git: Git, tmp_path: Path) -> None:
    origin = tmp_path / "repo"
    commit(git, origin, a=machine("a"))
    mirror = repository(tmp_path / "mirror.git", remote=str(origin), ref="main")
    assert list(mirror.read().machines) == ["a"], "the first read fetches by itself"
    assert mirror.fetch() is False
    second = commit(git, origin, b=machine("b"))
    assert list(mirror.read().machines) == ["a"], "only fetch follows"
    assert mirror.fetch() is True
    assert mirror.read().revision == second
    origin.rename(tmp_path / "away")
    assert mirror.fetch() is False
    assert "cannot fetch main from" in mirror.warnings[0]
    assert mirror.read().revision == second, "what was fetched stays in force"
    (tmp_path / "away").rename(origin)
    assert mirror.fetch() is False
    assert mirror.warnings == ()


def test_a_rewritten_history_is_followed_and_the_work_tree_left_alone(git: Git, tmp_path: Path) -> None:
    origin = tmp_path / "repo"
    commit(git, origin, a=machine("a"))
    clone = tmp_path / "clone"
    git("clone", "--quiet", str(origin), str(clone))
    source = repository(clone, remote="origin", ref="main")
    source.read()
    git("commit", "--quiet", "--amend", "--message=other")
    assert source.fetch() is True
    assert source.read().revision == git("rev-parse", "HEAD")
    assert git("status", "--porcelain", at=clone) == ""
    assert git("rev-parse", "main", at=clone) != git("rev-parse", "HEAD")


def test_a_remote_that_was_never_reached_is_not_empty(tmp_path: Path) -> None:
    source = repository(tmp_path / "mirror.git", remote="https://u:secret@127.0.0.1:9/x.git", ref="main")
    with pytest.raises(DesiredStateError, match="nothing was fetched") as caught:
        source.read()
    assert "secret" not in str(caught.value)


def test_a_remote_cannot_name_a_program(tmp_path: Path) -> None:
    source = repository(tmp_path / "mirror.git", remote=f"ext::touch {tmp_path}/pwned", ref="main")
    assert source.fetch() is False
    assert not (tmp_path / "pwned").exists()
