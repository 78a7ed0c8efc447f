from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from reconciler.cli.schema import schema
from reconciler.cli.validate import validate
from reconciler.desired.schema import json_schema
from reconciler.errors import DesiredStateError

from .conftest import machine


def run(root: Path, *options: str) -> tuple[object, str]:
    result = CliRunner().invoke(validate, ["-s", str(root), *options], standalone_mode=False)
    return result.exception or result.return_value, result.output


def test_validate(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(machine("a"))
    outcome, said = run(tmp_path)
    assert outcome == 0
    assert said.startswith("Valid: 1 machine, 0 instance types, 0 images at folder:")
    (tmp_path / "b.yaml").write_text(machine("b", memroy="1Gi"))
    outcome, _ = run(tmp_path)
    assert isinstance(outcome, DesiredStateError)
    outcome, said = run(tmp_path, "-o", "json")
    assert outcome == 3
    assert json.loads(said) == {
        "valid": False,
        "problems": [
            {
                "file": "b.yaml",
                "line": 8,
                "column": 3,
                "path": "spec.memroy",
                "message": "unknown field `memroy`, did you mean `memory`?",
                "object": "VirtualMachine/b",
            }
        ],
    }


def test_schema() -> None:
    assert json.loads(CliRunner().invoke(schema, []).output) == json_schema()
