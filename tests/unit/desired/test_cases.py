"""Every scenario of tests/cases/desired: the files of a source, and exactly what is said about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.desired.source import open_source
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig

CASES = Path(__file__).parents[2] / "cases" / "desired"


def load() -> list[Any]:
    return [
        pytest.param(case, id=f"{file.stem}: {case['name']}")
        for file in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(file.read_text())
    ]


def content(described: Any) -> bytes:
    if isinstance(described, str):
        return described.encode()
    if "hex" in described:
        return bytes.fromhex(described["hex"])
    return described["repeat"].encode() * described["times"]


@pytest.mark.parametrize("case", load())
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    for name, described in case["files"].items():
        (tmp_path / name).write_bytes(content(described))
    problems: list[str] = []
    objects: list[str] = []
    try:
        objects = list(open_source(SourceConfig(path=str(tmp_path)), tmp_path).read().origins)
    except DesiredStateError as error:
        problems = [str(problem).replace(str(tmp_path), "SOURCE") for problem in error.problems]
    assert problems == case.get("problems", [])
    assert objects == case.get("objects", [])


def test_there_are_enough_kinds_of_wrong_yaml() -> None:
    assert sum(bool(case.values[0].get("problems")) for case in load()) >= 25
