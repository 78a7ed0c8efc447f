"""A run's folder: private, read while it grows, removed when it is old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import PushError
from reconciler.push.run_dir import RunDirectory, new_path, prune, runs_folder, workers_lock


def test_a_file_for_each_host_whatever_it_is_called(tmp_path: Path) -> None:
    names = ["h1", "..", "a/b", "{{ x }}", "-rf"]
    run = RunDirectory.create(tmp_path / "run", {name: {"host": name} for name in names})
    files = list((run.path / "hosts").iterdir())
    assert sorted(json.loads(file.read_text())["host"] for file in files) == sorted(names)
    assert list(tmp_path.iterdir()) == [run.path]
    assert run.limit.read_text().splitlines() == names


def test_a_folder_is_never_written_over(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", {})
    with pytest.raises(PushError) as caught:
        RunDirectory.create(tmp_path / "run", {})
    assert caught.value.message == f"the folder {tmp_path / 'run'} holds a run already"
    assert "does not exist yet" in caught.value.hint
    (tmp_path / "file").write_text("")
    with pytest.raises(PushError, match="file/run cannot be written: Not a directory"):
        RunDirectory.create(tmp_path / "file" / "run", {})


def test_progress_is_read_as_it_grows(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    assert run.news() == []
    file = run.path / "progress.jsonl"
    file.write_text('{"id": "a"}\n{"id": "b"')
    assert run.news() == [{"id": "a"}]
    assert run.news() == []
    with file.open("a") as more:
        more.write("}\n")
    assert run.news() == [{"id": "b"}]


def test_the_oldest_runs_go_but_none_that_somebody_waits_for(tmp_path: Path) -> None:
    runs = [RunDirectory.create(new_path(tmp_path), {}) for _ in range(5)]
    workers_lock(tmp_path).touch()
    with runs[0].held():
        prune(tmp_path, 2)
        left = sorted(path for path in runs_folder(tmp_path).iterdir() if path.is_dir())
        assert left == [runs[0].path, runs[3].path, runs[4].path]
    prune(tmp_path, 0)
    assert list(runs_folder(tmp_path).iterdir()) == [workers_lock(tmp_path)]
