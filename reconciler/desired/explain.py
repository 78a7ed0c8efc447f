"""From a validation error to a sentence for people, with a suggestion where there is one."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from reconciler.desired.yaml_file import Path, quote
from reconciler.model.envelope import ContradictionError

_PATTERNS = {
    "machine": "a machine type is letters, digits, '.', '_' and '-', for example q35",
    "sha256": "a sha256 is 64 lower-case hexadecimal digits, as sha256sum prints them",
    "sha512": "a sha512 is 128 lower-case hexadecimal digits, as sha512sum prints them",
    "checksums": "the url of a checksum file begins with http://, https:// or ftp:// and has no spaces",
    "url": "a url begins with http://, https:// or ftp:// and has no spaces",
}


def suggest(word: str, options: Iterable[str]) -> str:
    """``, did you mean `memory`?`` for the option most like `word`; empty when none is."""
    lowered = {option.lower().replace("_", ""): option for option in options}
    close = difflib.get_close_matches(word.lower().replace("_", ""), lowered, n=1, cutoff=0.6)
    return f", did you mean `{lowered[close[0]]}`?" if close else ""


Explanation = tuple[Path, str, bool]
"""Path, sentence, and whether the sentence is about the key rather than its value."""

Written = Callable[[Path], "str | None"]
"""The scalar at a path as somebody wrote it, or None where that is not known."""


def explain(error: ErrorDetails, model: type[BaseModel], written: Written | None = None) -> list[Explanation]:
    """What an error says; a check of a whole object may have found several mistakes."""
    kind, path = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return [(path, _unknown_field(path, model), True)]
    if kind == "missing":
        return [(path, f"the field `{path[-1]}` is missing", False)]
    ctx: dict[str, Any] = dict(error.get("ctx", {}))
    cause = ctx.get("error")
    if isinstance(cause, ContradictionError):
        return [(_sharper(path, message, model), message, False) for message in cause.messages]
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        return [(path, error["msg"], False)]
    if written is not None and isinstance(error["input"], bool | int | float):
        ctx["written"] = written(path)
    message = sentence(error, ctx)
    return [(_sharper(path, message, model), message, False)]


def _sharper(path: Path, message: str, model: type[BaseModel]) -> Path:
    """A check of several fields names the culprit first: "maxCpus is less than cpus"."""
    first = message.partition(" ")[0]
    return (*path, first) if first in fields_at(model, path) else path


def _unknown_field(path: Path, model: type[BaseModel]) -> str:
    word = str(path[-1])
    known = fields_at(model, path[:-1])
    suggestion = suggest(word, known)
    if not suggestion:
        for home in ("spec", "metadata"):
            if path[0] != home and word in fields_at(model, (home,)):
                return f"unknown field `{word}`: it belongs under `{home}`"
    return f"unknown field `{word}`{suggestion}"


def fields_at(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The fields, as they stand in YAML, that the mapping at `path` may have."""
    here: type[BaseModel] | None = model
    for part in path:
        if here is not None and isinstance(part, str):
            names = {field.alias or name: field.annotation for name, field in here.model_fields.items()}
            here = _model_in(names.get(part))
    if here is None:
        return ()
    return tuple(field.alias or name for name, field in here.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in ``Model``, ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def found(value: object) -> str:
    """A value in words: ``the number 1``, ``a list``, ``nothing``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quote(value, 40)}"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _expected(what: str) -> Callable[[ErrorDetails, Mapping[str, Any]], str]:
    return lambda error, _: f"expected {what}, found {found(error['input'])}"


def _text(error: ErrorDetails, ctx: Mapping[str, Any]) -> str:
    value = error["input"]
    if isinstance(value, bool | int | float):
        written = ctx.get("written") or (str(value).lower() if isinstance(value, bool) else str(value))
        shown = found(value) if isinstance(value, bool) else f"the number {written}"
        return f'expected text, found {shown}: write it in quotes, "{written}"'
    return f"expected text, found {found(value)}"


def _one_of(error: ErrorDetails, ctx: Mapping[str, Any]) -> str:
    options = str(ctx["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
    value = error["input"]
    hint = suggest(value, options) if isinstance(value, str) else ""
    listed = f"one of {', '.join(options)}" if len(options) > 1 else options[0]
    return f"expected {listed}, found {found(value)}{hint}"


def _pattern(error: ErrorDetails, _: Mapping[str, Any]) -> str:
    field = str(error["loc"][-1])
    meaning = _PATTERNS.get(field, "it has characters that cannot stand here")
    return f"{found(error['input'])} does not fit: {meaning}".removeprefix("the text ")


def _bound(words: str, key: str) -> Callable[[ErrorDetails, Mapping[str, Any]], str]:
    return lambda error, ctx: f"must be {words} {ctx[key]}, found {found(error['input'])}"


_WHOLE = _expected("a whole number")
_NUMBER = _expected("a number")
_BOOL = _expected("true or false")
_LIST = _expected("a list (lines that begin with '- ')")
_MAPPING = _expected("a mapping (lines of 'key: value')")

_SENTENCES: dict[str, Callable[[ErrorDetails, Mapping[str, Any]], str]] = {
    "string_type": _text,
    "string_pattern_mismatch": _pattern,
    "string_too_long": lambda _, ctx: f"must have at most {ctx['max_length']} characters",
    "too_long": lambda _, ctx: f"must have at most {ctx['max_length']} entries",
    "too_short": lambda _, ctx: f"must have at least {ctx['min_length']} entry",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "enum": _one_of,
    "literal_error": _one_of,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "value_error": lambda _, ctx: str(ctx["error"]),
}
