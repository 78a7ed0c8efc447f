"""JSON and YAML, in both directions: what a body says, and how an answer is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import falcon
import yaml
from falcon.asgi import Request, Response
from falcon.util import mediatypes

from api.body import read_body
from api.operation import BadQueryError
from reconciler.desired.writer import Dumper
from reconciler.desired.yaml_file import MAX_DEPTH, Document, documents, show_path, to_data
from reconciler.errors import DesiredStateError, Problem

JSON: Final = "application/json"
YAML: Final = "application/yaml"

_JSON_TYPES = frozenset({JSON, "application/merge-patch+json", "text/json"})
_YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})
_FILE = "body"

Place = tuple[str | int, ...]


class BadBodyError(BadQueryError):
    """A body that cannot be read at all, with what is wrong in it."""

    subject = "the body"


async def read_object(req: Request) -> dict[str, object]:
    """The one mapping that the body is.

    Raises:
        BadBodyError: It cannot be read, or is none.
        falcon.HTTPUnsupportedMediaType: It is neither JSON nor YAML.
    """
    data = await read_data(req)
    if not isinstance(data, dict):
        raise _bad("", f"the body is one mapping, this is {_shown(data)}")
    return data


async def read_data(req: Request) -> object:
    """What the body says, as plain data; None for an empty one. Raises as `read_object` does."""
    content = await read_body(req)
    kind = body_type(req)
    if not content.strip():
        return None
    return parse_json(content) if kind == JSON else parse_yaml(content)


def body_type(req: Request) -> str:
    """Whether the body is JSON or YAML; JSON where nothing is said.

    Raises:
        falcon.HTTPUnsupportedMediaType: It is something else.
    """
    said, _, options = (req.content_type or JSON).partition(";")
    name = said.strip().lower()
    charset = options.partition("charset=")[2].strip(' "').lower()
    if charset in ("", "utf-8", "utf8"):
        if name in _JSON_TYPES:
            return JSON
        if name in _YAML_TYPES:
            return YAML
    raise falcon.HTTPUnsupportedMediaType(description=f"write {JSON} or {YAML}, in UTF-8")


def parse_json(content: bytes) -> object:
    """Plain data of a JSON text (RFC 8259), within bounds.

    Raises:
        BadBodyError: It is no JSON, has a key twice, nests too deep, or has text that is no Unicode.
    """
    twice: list[str] = []

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) != len(pairs):
            twice.extend(sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1}))
        return made

    try:
        data = json.loads(content.decode(), object_pairs_hook=mapping, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise _bad("", f"byte 0x{content[error.start]:02x} is not UTF-8") from error
    except json.JSONDecodeError as error:
        problem = Problem(_FILE, error.lineno, error.colno, "", f"this is not JSON: {error.msg}")
        raise BadBodyError([problem]) from error
    except ValueError as error:
        raise _bad("", f"this is not JSON: {error}") from error
    if twice:
        raise BadBodyError([Problem(_FILE, 0, 0, key, f"the key `{key}` stands here twice") for key in twice])
    check(data)
    return data


def parse_yaml(content: bytes) -> object:
    """Plain data of a YAML text of one document, within the bounds of manifests.

    Raises:
        BadBodyError: It is no YAML, or more than one document.
    """
    problems: list[Problem] = []
    try:
        found: list[Document] = list(documents(content, _FILE))
    except DesiredStateError as error:
        raise BadBodyError(error.problems) from error
    if len(found) > 1:
        raise BadBodyError([Problem(_FILE, found[1].line, 1, "", "the body is one document, not several")])
    data = to_data(found[0], problems) if found else None
    if problems:
        raise BadBodyError(problems)
    check(data)
    return data


def check(data: object) -> None:
    """Refuse what no manifest can carry: nesting without end, numbers without end, text that is no Unicode.

    Raises:
        BadBodyError: Such a thing is in it.
    """
    left: list[tuple[Place, object]] = [((), data)]
    while left:
        place, one = left.pop()
        if len(place) > MAX_DEPTH:
            raise _too_deep()
        if isinstance(one, dict):
            left.extend(((*place, key), value) for key, value in one.items())
            left.extend((place, key) for key in one)
        elif isinstance(one, list):
            left.extend(((*place, index), value) for index, value in enumerate(one))
        elif isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError as error:
                raise _bad("", "there is text with half of a surrogate pair, which is no Unicode") from error
        elif isinstance(one, float) and not math.isfinite(one):
            raise _bad(show_path(place), "a number has an end")


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is no number of JSON")


def _too_deep() -> BadBodyError:
    return _bad("", f"lists and mappings are nested deeper than {MAX_DEPTH} levels")


def _bad(path: str, message: str) -> BadBodyError:
    return BadBodyError([Problem(_FILE, 0, 0, path, message)])


def _shown(data: object) -> str:
    words = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}
    return words.get(type(data), "a value")


def wanted(req: Request) -> str:
    """The media type that the caller would rather have: JSON, or YAML.

    Raises:
        falcon.HTTPNotAcceptable: Neither.
    """
    accept = req.accept
    if accept == "*/*":
        return JSON
    for one in _YAML_TYPES - {YAML}:
        accept = accept.replace(one, YAML)
    try:
        found = mediatypes.best_match((JSON, YAML), accept)
    except ValueError:
        found = ""
    if not found:
        raise falcon.HTTPNotAcceptable(description=f"this is given as {JSON} or {YAML}")
    return found


def say(req: Request, resp: Response, data: Mapping[str, Any] | list[Any], kind: str | None = None) -> None:
    """Answer with data, in the caller's media type."""
    kind = kind or wanted(req)
    resp.data = dump(data, kind)
    resp.content_type = kind


def dump(data: object, kind: str) -> bytes:
    """Data as JSON or YAML."""
    if kind == YAML:
        return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100).encode()
    return to_json(data).encode(errors="replace")


def to_json(data: object) -> str:
    """Data as JSON without spaces."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
