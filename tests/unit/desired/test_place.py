"""The files of the state repository, as a playbook finds them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from reconciler.desired.source import open_source
from reconciler.model.config import SourceConfig


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_commit_is_laid_out_privately_and_without_links(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "site" / "files").mkdir(parents=True)
    (repo / "machines").mkdir()
    (repo / "machines" / "none.yaml").write_text("")
    (repo / "site" / "web.yml").write_text("one")
    (repo / "site" / "files" / "x").write_bytes(b"\x00\xff")
    (repo / "site" / "out").symlink_to("/etc/passwd")
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    source = open_source(SourceConfig(path="repo", git=True, folder="machines"), tmp_path)
    revision = git(repo, "rev-parse", "HEAD")
    (repo / "site" / "web.yml").write_text("two, not committed")
    placed = source.place(revision, tmp_path / "private")
    assert (placed / "site" / "web.yml").read_text() == "one"
    assert (placed / "site" / "files" / "x").read_bytes() == b"\x00\xff"
    assert not (placed / "site" / "out").is_symlink()
    assert placed.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in placed.rglob("*") if path.is_file()} == {0}


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    source = open_source(SourceConfig(path=".", folder="machines"), tmp_path)
    assert source.place("any", tmp_path / "private") == tmp_path
    assert not (tmp_path / "private").exists()
