"""Manifest -> YAML as a person would write it: defaults left out, sizes with units, a stable order."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from reconciler.desired.yaml_file import is_text
from reconciler.model.manifest import Object
from reconciler.model.units import format_duration, format_size, parse_duration, parse_size

_FORMATS: dict[object, Callable[[int], str]] = {parse_size: format_size, parse_duration: format_duration}
_ALWAYS = ("api_version", "kind")


def to_yaml(one: Object) -> str:
    """The manifest as one YAML document, which reads back as an equal one."""
    return yaml.dump(
        to_plain(one),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )


def to_plain(model: BaseModel) -> dict[str, object]:
    """The fields that differ from their defaults, as plain data with camelCase keys."""
    plain: dict[str, object] = {}
    for name, alias, default, unit in _fields(type(model)):
        value = getattr(model, name)
        # The very default is what most fields have, and is found without a comparison.
        if value is not default and value != default:
            plain[alias] = _plain(value, unit)
    # A person names a thing before saying how large it is.
    return {"name": plain.pop("name"), **plain} if "name" in plain else plain


_NO_DEFAULT = object()


@cache
def _fields(model: type[BaseModel]) -> tuple[tuple[str, str, object, Callable[[int], str] | None], ...]:
    """Name, alias, default (`_NO_DEFAULT` for what is always written) and spelling of each field."""
    return tuple(
        (
            name,
            field.alias or name,
            _NO_DEFAULT
            if name in _ALWAYS or field.is_required()
            else field.get_default(call_default_factory=True),
            _unit(model, name),
        )
        for name, field in model.model_fields.items()
    )


def _plain(value: Any, unit: Callable[[int], str] | None) -> object:
    if isinstance(value, BaseModel):
        return to_plain(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item, unit) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    if unit is not None and isinstance(value, int):
        written = unit(value)
        return value if written.isdecimal() else written  # a plain number needs no quotes
    return value


@cache
def _unit(model: type[BaseModel], name: str) -> Callable[[int], str] | None:
    """How people write this field's number, if it is a size or a duration."""
    return next((_FORMATS[func] for func in _parsers(model.model_fields[name]) if func in _FORMATS), None)


def _parsers(field: FieldInfo) -> list[object]:
    """The functions that turn what people write into the field's value."""
    metadata = [*field.metadata]
    for part in typing.get_args(field.annotation):
        metadata += getattr(part, "__metadata__", ())
    return [each.func for each in metadata if isinstance(each, BeforeValidator)]


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, without aliases, quoting whatever we or others would not read as text."""

    def ignore_aliases(self, _data: object) -> bool:
        """Never write one."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists below their key, as most people write them."""
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text and text.replace("\n", "").isprintable():
        style: str | None = "|"
    elif not text.isprintable():
        style = '"'  # the only style that escapes: U+0085 and its like would be read as line breaks
    else:
        style = None if is_text(text) and text != "<<" else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)
