"""Every field as Markdown: of the manifests from their schema, of the configuration from its types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import model_json_schema

from reconciler.desired.schema import json_schema
from reconciler.model import config as configuration
from reconciler.model.manifest import KINDS

_ATTRIBUTE = re.compile(r"^(\w+): (.+?)(?=^\w+: |\Z)", re.MULTILINE | re.DOTALL)


def reference() -> str:
    """The whole document. It is generated: a test compares it with ``docs/reference.md``."""
    definitions = json_schema()["$defs"]
    lines = [
        "# Reference",
        "",
        "Made by `reconciler schema --output markdown`; `reconciler schema` has the same words, and your",
        "editor reads. A field left out: the host may choose, or the instance type says it.",
        "",
    ]
    for kind in KINDS:
        lines += _section(f"{kind}: spec", definitions[f"{kind}Spec"], definitions)
    for part in _parts(definitions):
        lines += _section(part, definitions[part], definitions)
    lines += ["# reconciler.yaml", ""]
    for model in _configuration():
        lines += _section(model.__name__, _described(model), {})
    return "\n".join(lines).rstrip() + "\n"


def _parts(definitions: dict[str, Any]) -> list[str]:
    """What specs are made of, by name: everything with fields that is neither a kind nor its spec."""
    kinds = {name for kind in KINDS for name in (kind, f"{kind}Spec")}
    return sorted(name for name, about in definitions.items() if "properties" in about and name not in kinds)


def _section(title: str, definition: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    required = set(definition.get("required", ()))
    fields = {
        name: about
        for name, about in definition.get("properties", {}).items()
        if name not in ("apiVersion", "kind", "metadata")
    }
    rows = [
        f"| `{name}`{' *' if name in required else ''} | {_type(about, definitions)} | {_default(about)} "
        f"| {_cell(_camel(about.get('description', '')))} |"
        for name, about in fields.items()
    ]
    head = ["| field (* required) | type | default | |", "| --- | --- | --- | --- |"]
    return [f"## {title}", "", _camel(definition.get("description", "")), "", *head, *rows, ""]


def _camel(text: str) -> str:
    """Field names as they stand in YAML: ``max_memory`` as ``maxMemory``."""
    return re.sub(r"`([a-z]+(?:_[a-z]+)+)`", lambda match: f"`{to_camel(match[1])}`", text)


def _type(about: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A field's type in a word or two."""
    name = about.get("$ref", "").rpartition("/")[2]
    values = about.get("enum") or definitions.get(name, {}).get("enum")
    if values:
        return " or ".join(f"`{value}`" for value in values)
    if "examples" in about:
        return f"such as `{about['examples'][-1]}`"
    if "anyOf" in about:
        choices = [_type(choice, definitions) for choice in about["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(choices))
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}), definitions)}"
    return name or ("map" if about.get("type") == "object" else str(about.get("type", "")))


def _default(about: dict[str, Any]) -> str:
    value = about.get("default")
    if value in (None, [], {}, "") or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _configuration() -> Iterator[type[BaseModel]]:
    """The configuration's types, the outermost first, in the order in which it names them."""
    yield configuration.Config
    for field in configuration.Config.model_fields.values():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            yield field.annotation


def _described(model: type[BaseModel]) -> dict[str, Any]:
    """A type's schema with its docstring taken apart: what it is, and what each field is."""
    schema = model_json_schema(model)
    text, _, attributes = inspect.getdoc(model).partition("Attributes:")  # type: ignore[union-attr]
    told = dict(_ATTRIBUTE.findall(inspect.cleandoc(attributes)))
    for name, field in model.model_fields.items():
        about = schema["properties"][field.alias or name]
        if name in told:
            about["description"] = told[name].replace("``", "`")
    return {**schema, "description": re.sub(r"\s+", " ", text.replace("``", "`")).strip()}
