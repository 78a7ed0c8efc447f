"""What the documents say can be typed: YAML that is accepted, fields that exist under that name."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from reconciler.desired.config import load_config
from reconciler.desired.decode import decode_text
from reconciler.model.config import Config

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".yaml", ".yml"))
CONFIG_FIELDS = {field.alias or name for name, field in Config.model_fields.items()}


def blocks() -> Iterator[tuple[str, str]]:
    """Where it stands, and each fenced YAML block."""
    for path in DOCUMENTS:
        for match in re.finditer(r"^( *)```yaml\n(.*?)^\1```", path.read_text(), re.MULTILINE | re.DOTALL):
            yield f"{path.relative_to(ROOT)}: {match[2].strip().splitlines()[0]}", textwrap.dedent(match[2])


def is_manifest(text: str) -> bool:
    return any(isinstance(one, dict) and "apiVersion" in one for one in yaml.safe_load_all(text))


def is_config(text: str) -> bool:
    whole = list(yaml.safe_load_all(text))
    return len(whole) == 1 and isinstance(whole[0], dict) and bool(whole[0].keys() & CONFIG_FIELDS)


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in blocks()])
def test_yaml_in_the_documents_is_accepted(text: str, tmp_path: Path) -> None:
    if is_manifest(text):
        assert decode_text(text, "block.yaml")
    elif is_config(text):
        (tmp_path / "reconciler.yaml").write_text(text)
        load_config(tmp_path / "reconciler.yaml")


def test_there_is_something_to_look_at() -> None:
    found = [text for _, text in blocks()]
    assert any(is_manifest(text) for text in found)
    assert any(is_config(text) for text in found)


def snake_case_fields(model: type[BaseModel]) -> Iterator[str]:
    """Fields of the configuration that are spelt otherwise in YAML."""
    for name, field in model.model_fields.items():
        if field.alias and field.alias != name:
            yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from snake_case_fields(field.annotation)


MISSPELT = re.compile(rf"\b({'|'.join(snake_case_fields(Config))})\b")


@pytest.mark.parametrize("path", [*DOCUMENTS, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_spell_the_configuration_as_yaml_does(path: Path) -> None:
    assert MISSPELT.findall(path.read_text()) == []


def test_messages_spell_the_configuration_as_yaml_does() -> None:
    """A sentence has a space; what has none is a name in the code."""
    wrong = []
    for path in (ROOT / "reconciler").rglob("*.py"):
        tree = ast.parse(path.read_text())
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if id(node) not in documentation and " " in node.value and MISSPELT.search(node.value):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert wrong == []
