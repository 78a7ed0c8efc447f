from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.desired.decode import decode_data
from reconciler.desired.schema import DIALECT, json_schema
from reconciler.desired.yaml_file import documents, to_data
from reconciler.errors import DesiredStateError, Problem
from reconciler.settings import data_dir

CASES = Path(__file__).parents[2] / "cases" / "desired"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def manifests(content: bytes) -> list[object]:
    problems: list[Problem] = []
    try:
        found = [to_data(document, problems) for document in documents(content, "f")]
    except DesiredStateError:
        return []
    return [] if problems else found


def examples() -> list[object]:
    found: list[object] = []
    for path in sorted(data_dir("examples").rglob("*.y*ml")):
        if path.name != "reconciler.yaml":
            found += manifests(path.read_bytes())
    return found


def test_every_example_fits(validator: jsonschema.Draft202012Validator) -> None:
    assert len(examples()) >= 9
    for manifest in examples():
        validator.validate(manifest)


def test_what_the_schema_refuses_is_refused_by_us_too(validator: jsonschema.Draft202012Validator) -> None:
    """An editor that complains about a right manifest would be worse than none."""
    seen = 0
    for file in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            for text in case["files"].values():
                for manifest in manifests(text.encode()) if isinstance(text, str) else []:
                    seen += 1
                    made, _ = decode_data(manifest)
                    assert made is None or validator.is_valid(manifest), manifest
    assert seen > 50


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Image"},
        {"apiVersion": "v1"},
        {"extra": 1},
        {"spec": {"cpus": 1, "memory": "1Gi", "memroy": "1Gi"}},
        {"spec": {"cpus": "1", "memory": "1Gi"}},
        {"spec": {"cpus": 1, "memory": "1GB"}},
        {"spec": {"cpus": 1, "memory": "1Gi", "protect": "yes"}},
        {"spec": {"cpus": 1, "memory": "1Gi", "runStrategy": "always"}},
        {"metadata": {"name": "a/b"}},
        {"metadata": {"name": "a", "labels": {"a": 1}}},
    ],
)
def test_an_editor_sees_the_common_mistakes(
    validator: jsonschema.Draft202012Validator, change: dict[str, Any]
) -> None:
    right: dict[str, Any] = {
        "apiVersion": "reconciler/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "a"},
        "spec": {"cpus": 1, "memory": "1Gi"},
    }
    validator.validate(right)
    assert not validator.is_valid({**right, **change})
    for name in ("apiVersion", "kind", "metadata", "spec"):
        assert not validator.is_valid({key: value for key, value in right.items() if key != name})


def test_it_is_strict_and_every_field_is_described() -> None:
    schema = json_schema()
    assert schema["$schema"] == DIALECT
    for name, definition in schema["$defs"].items():
        assert definition["description"], name
        if definition["type"] == "object":
            assert definition["additionalProperties"] is False, name
            undescribed = [
                field for field, about in definition["properties"].items() if "description" not in about
            ]
            assert undescribed == [], name
