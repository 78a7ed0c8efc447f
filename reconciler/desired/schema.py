"""JSON Schema of the manifests, for editors and for other programs."""

from __future__ import annotations

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from reconciler.desired.descriptions import DESCRIPTIONS
from reconciler.model.envelope import API_VERSION
from reconciler.model.manifest import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One schema for a manifest of any kind (draft 2020-12). Unknown fields are refused, as by `decode`.

    What it cannot say (that a name exists, that two fields contradict each other) `validate` finds.
    """
    mapping, whole = models_json_schema([(model, "validation") for model in KINDS.values()], by_alias=True)
    definitions = {name: _described(name, each) for name, each in whole["$defs"].items()}
    for kind in KINDS:
        definition = definitions[kind]
        definition["required"] = ["apiVersion", "kind", *definition["required"]]
    return {
        "$schema": DIALECT,
        "title": f"{API_VERSION} manifest",
        "description": "A virtual machine, an instance type or an image.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"enum": list(KINDS)}},
        "oneOf": [mapping[(model, "validation")] for model in KINDS.values()],
        "$defs": definitions,
    }


def _described(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """A definition in the words of people: no generated titles, every field described."""
    cleaned: dict[str, Any] = _without_titles(definition)
    if "description" in cleaned:
        cleaned["description"] = _prose(cleaned["description"])
    described = DESCRIPTIONS.get(name, {})
    for field, about in cleaned.get("properties", {}).items():
        if field in described:
            about["description"] = described[field]
    return cleaned


def _without_titles(value: Any) -> Any:
    """A copy without ``title`` and without ``default: null``, which say nothing."""
    if isinstance(value, list):
        return [_without_titles(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: each
        for key, each in value.items()
        if not (key == "title" and isinstance(each, str)) and not (key == "default" and each is None)
    }
    return {key: _without_titles(each) for key, each in kept.items()}


def _prose(docstring: str) -> str:
    """A docstring as running text: reST's double quotes become single, wrapped lines are joined."""
    # Every field has a line of its own in the schema.
    about = docstring.partition("\nAttributes:\n")[0]
    paragraphs = about.replace("``", "`").strip().split("\n\n")
    return "\n\n".join(re.sub(r"\s+", " ", paragraph).strip() for paragraph in paragraphs)
