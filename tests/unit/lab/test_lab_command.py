"""What can be said of the lab without building one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli import lab as command
from reconciler.lab import Lab


def standing(folder: Path, *names: str) -> Path:
    (folder / "lab.json").write_text(json.dumps({"prefix": "lab", "subnet": "10.211.9.0/24"}))
    for name in names:
        (folder / "hosts" / name).mkdir(parents=True)
        (folder / "hosts" / name / "host_key.pub").write_text("ssh-ed25519 AAAA x\n")
    return folder


def test_a_standing_lab_keeps_its_number_of_hosts(tmp_path: Path) -> None:
    assert Lab(tmp_path / "new").size == 3
    assert Lab(standing(tmp_path, "lab1", "lab2")).size == 2


@pytest.mark.parametrize(
    "words", [("df", "-h"), ("ls", "--help"), ("sh", "-c", "true"), ("--", "df", "-h"), ("cat", "--dir", "x")]
)
def test_the_options_of_a_command_are_its_own(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(command.os, "execvp", lambda _, argv: called.append(argv))
    monkeypatch.setattr("reconciler.lab.host.LabHost.enter", lambda _: ["enter"])
    folder = str(standing(tmp_path, "lab1"))
    result = CliRunner().invoke(command.lab, ["run", "--dir", folder, "lab1", *words])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(command.lab, ["run", "--dir", folder, "lab1", "--"]).exit_code == 1
    assert called == [["enter", *(word for word in words if word != "--")]]
