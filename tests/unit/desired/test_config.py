from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.desired import config as config_module
from reconciler.desired.config import load_config
from reconciler.errors import ConfigError
from reconciler.model.config import Config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.setattr(config_module, "SYSTEM_CONFIG", tmp_path / "etc.yaml")


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [str(problem).replace(str(path), path.name) for problem in caught.value.problems]


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config(None).config == Config()
    assert load_config(None).base == tmp_path
    for name in ("etc.yaml", "reconciler.yaml", "env/c.yaml", "option/c.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"owner: {Path(name).parts[0].removesuffix('.yaml')}\n")
        if name.startswith("env"):
            monkeypatch.setenv("RECONCILER_CONFIG", str(tmp_path / name))
        loaded = load_config(Path(name) if name.startswith("option") else None)
        assert loaded.config.owner == Path(name).parts[0].removesuffix(".yaml")
        assert loaded.base == (tmp_path / name).parent


def test_what_was_named_has_to_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone.yaml"
    assert problems(gone) == ["gone.yaml: the configuration cannot be read: No such file or directory"]
    monkeypatch.setenv("RECONCILER_CONFIG", str(gone))
    with pytest.raises(ConfigError) as caught:
        load_config(None)
    assert caught.value.message == f"{gone}: the configuration cannot be read: No such file or directory"


def test_mistakes_are_the_configurations_and_not_the_desired_states(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for text, heading in (
        ("owner: 1.10\nsorce: {}\n", "the configuration has 2 mistakes:"),
        ("a: [\n", "the configuration has 1 mistake:"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert caught.value.message.splitlines()[0] == heading
        assert caught.value.exit_code == 3


def test_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "owner: Me!\nsorce: {}\nsource:\n  path: 7\n  git: maybe\n"
        "limits: {deletionsPercent: 101}\nallocator: {algorithm: iallocator}\n"
        "daemon: {period: often, logFormat: xml}\n"
    )
    assert problems(path) == [
        "c.yaml:1:8: owner: write lower-case letters, digits and dashes, at most 63 of them",
        "c.yaml:2:1: sorce: unknown field `sorce`, did you mean `source`?",
        'c.yaml:4:9: source.path: expected text, found the number 7: write it in quotes, "7"',
        'c.yaml:5:8: source.git: expected true or false, found the text "maybe"',
        "c.yaml:6:28: limits.deletionsPercent: must be at most 100, found the number 101",
        "c.yaml:7:12: allocator: the algorithm 'iallocator' needs a command, for example [hail]",
        "c.yaml:8:18: daemon.period: 'often' is not a duration: write for example 90s, 5m or 1h30m",
        'c.yaml:8:36: daemon.logFormat: expected one of text, json, found the text "xml"',
    ]
    path.write_text("owner: a\n---\nowner: b\n")
    assert problems(path) == ["c.yaml:3:1: a configuration is one document; here a second begins"]
    path.write_text("# nothing\n")
    assert load_config(path).config == Config()
    path.write_text("- a\n")
    assert problems(path) == ["c.yaml:1:1: expected a mapping (lines of 'key: value'), found a list"]
