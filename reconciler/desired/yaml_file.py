"""YAML bytes to plain data, within bounds, with the place of everything.

The words of YAML 1.1 that surprise people are left out: only ``true`` and ``false`` are booleans (not
``on``, ``yes``), ``52:54:00:11:22:33`` is text and not a number to the base of sixty, ``010`` is text and
not eight, ``2024-01-01`` is text.  What remains is a subset of YAML 1.2's core schema, so editors agree.

Bounds: nesting (the C composer would overflow its stack), what aliases expand to (the "billion laughs"),
and no tags but the core ones.  The size of a file is bounded by whoever reads it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.desired.syntax import syntax_problem
from reconciler.errors import DesiredStateError, Problem

MAX_DEPTH = 64
"""Nested lists and mappings; a manifest has seven."""

MAX_ALIASED = 10_000
"""Values that a document's aliases may expand to, in all."""

Path = Sequence[str | int]
"""Where a value stands in its document: ``("spec", "interfaces", 0, "model")``."""

_TAG = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT, _BOOL, _NULL = (_TAG + name for name in ("str", "int", "float", "bool", "null"))
_COLLECTIONS = {None, "!", _TAG + "map", _TAG + "seq"}

_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,3})?")
_MAYBE_NUMBER = frozenset("+-0123456789")

# What YAML 1.1 leaves out of its character set: controls, and two that Unicode will never assign.
_REFUSED_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def plain_tag(text: str) -> str:
    """The tag of a plain (unquoted) scalar: what YAML takes it for."""
    if text[:1] in _MAYBE_NUMBER:
        if _INTEGER.fullmatch(text):
            return _INT
        return _FLOAT if _NUMBER.fullmatch(text) else _STR
    if text in _BOOLS:
        return _BOOL
    return _NULL if text in _NULLS else _STR


def is_text(text: str) -> bool:
    """True if `text`, written without quotes, is read as text."""
    return plain_tag(text) == _STR


class _TooDeepError(Exception):
    """Nesting beyond the bound, raised from inside the composer."""


class _Composer(CParser):
    """libyaml's parser and composer with our resolver.

    PyYAML calls the three methods below for every node, which makes them the place to count and to
    stop: the composer recurses in C, and a million open brackets would end the process.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.depth = 0
        self.nodes = 0

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str | None:
        """The tag of a node that states none."""
        if kind is ScalarNode and implicit[0] and value is not None:
            return plain_tag(value)
        return _STR if kind is ScalarNode else None

    def descend_resolver(self, *_: object) -> None:
        """A node begins."""
        self.nodes += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooDeepError

    def ascend_resolver(self) -> None:
        """A node ends."""
        self.depth -= 1


class Document:
    """One YAML document.

    Attributes:
        file: Name of its file, for messages.
        node: Its root.
        nodes: How many nodes were written (aliases not expanded).
    """

    __slots__ = ("file", "node", "nodes")

    def __init__(self, file: str, node: Node, nodes: int) -> None:
        self.file = file
        self.node = node
        self.nodes = nodes

    @property
    def line(self) -> int:
        """1-based line where it begins."""
        return int(self.node.start_mark.line) + 1

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """1-based line and column of the value at `path`, or of its key; of the deepest part that exists."""
        node = self.node
        mark = node.start_mark
        for index, part in enumerate(path):
            found = _child(node, part)
            if found is None:
                break
            key_node, node = found
            last = index == len(path) - 1
            mark = key_node.start_mark if key and last and key_node is not None else node.start_mark
        return int(mark.line) + 1, int(mark.column) + 1

    def written(self, path: Path) -> str | None:
        """The scalar at `path` as it stands in the file: ``1.10``, which as a number is 1.1."""
        node = self.node
        for part in path:
            found = _child(node, part)
            if found is None:
                return None
            node = found[1]
        return str(node.value) if isinstance(node, ScalarNode) else None

    def problem(self, path: Path, message: str, *, key: bool = False, owner: str = "") -> Problem:
        """A problem at `path`."""
        line, column = self.place(path, key=key)
        return Problem(self.file, line, column, show_path(path), message, owner)


def _child(node: Node, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(node, SequenceNode):
        at = isinstance(part, int) and part < len(node.value)
        return (None, node.value[part]) if at else None
    if isinstance(node, MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == part:
                return key_node, value_node
        merged = (value for key, value in node.value if key.value == "<<")
        return next((found for each in merged if (found := _child(each, part))), None)
    return None


def show_path(path: Path) -> str:
    """``spec.interfaces[0].model``; a part that is no plain word is quoted: ``metadata.labels["a.b"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{quote(part)}]"
    return text


def quote(text: str, limit: int = 60) -> str:
    """Text in double quotes for a message: one line, and not longer than `limit` characters."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown) + '"'


def documents(content: bytes, file: str) -> Iterator[Document]:
    """The documents of a file, one after the other; empty ones are left out.

    Raises:
        DesiredStateError: Not UTF-8, a syntax error, or beyond a bound.  What came before it was yielded.
    """
    composer = _Composer(_checked(content, file))
    try:
        while composer.check_node():
            before = composer.nodes
            node = composer.get_node()
            if node is not None and node.tag != _NULL:
                yield Document(file, node, composer.nodes - before)
    except yaml.MarkedYAMLError as error:
        raise DesiredStateError([syntax_problem(error, content, file)]) from error
    except yaml.YAMLError as error:
        raise DesiredStateError([Problem(file, 0, 0, "", f"this is not YAML: {error}")]) from error
    except _TooDeepError as error:
        raise DesiredStateError([_depth_problem(composer, file)]) from error
    finally:
        composer.dispose()


def _depth_problem(composer: _Composer, file: str) -> Problem:
    event = composer.peek_event()
    mark = event.start_mark if event is not None else None
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    return Problem(file, line, column, "", f"lists and mappings are nested deeper than {MAX_DEPTH} levels")


def _checked(content: bytes, file: str) -> bytes:
    """`content` without a byte order mark, known to be text that YAML can carry."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            message = "the file is UTF-16; save it as UTF-8"
        else:
            message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise DesiredStateError([_problem_at(content[: error.start].decode(), file, message)]) from error
    refused = _REFUSED_CHARACTER.search(text)
    if refused:
        escape = "write it as an escape in double quotes"
        message = f"the character U+{ord(refused[0]):04X} cannot stand in YAML; {escape}"
        raise DesiredStateError([_problem_at(text[: refused.start()], file, message)])
    return content


def _problem_at(before: str, file: str, message: str) -> Problem:
    line = before.count("\n")
    return Problem(file, line + 1, len(before) - (before.rfind("\n") + 1) + 1, "", message)


def to_data(document: Document, problems: list[Problem]) -> object:
    """Plain data (dict, list, str, int, float, bool, None) of a document.

    Mistakes are appended to `problems`; the data is then incomplete.  Keys are always text.
    """
    reader = _DataReader(document, problems)
    try:
        return reader.read(document.node, ())
    except _TooMuchError as error:
        problems.append(error.problem)
        return None


class _TooMuchError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _DataReader:
    """Turns nodes into data. An alias is the very node of its anchor, so reading is what expands it."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self._file = document.file
        self._problems = problems
        self._left = document.nodes + MAX_ALIASED
        self._depth = 0

    def read(self, node: Node, path: tuple[str | int, ...]) -> object:
        kind = type(node)
        if kind is ScalarNode:
            # Half of all values are equal to some other: one copy of each is enough.
            return sys.intern(node.value) if node.tag == _STR else self._scalar(node, path)
        self._enter(node, path)
        data = self._mapping(node, path) if kind is MappingNode else self._sequence(node, path)
        self._depth -= 1
        return data

    def _enter(self, node: Node, path: tuple[str | int, ...]) -> None:
        self._left -= 1 + len(node.value)
        self._depth += 1
        if self._left < 0:
            message = f"aliases (*name) expand to more than {MAX_ALIASED} values; write them out"
            raise _TooMuchError(self._problem(node, path, message))
        if self._depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels: does an alias contain itself?"
            raise _TooMuchError(self._problem(node, path[:4], message))
        if node.tag not in _COLLECTIONS:
            self._problems.append(self._problem(node, path, _tag_message(node.tag)))

    def _sequence(self, node: Node, path: tuple[str | int, ...]) -> list[object]:
        return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: Node, path: tuple[str | int, ...]) -> dict[str, object]:
        data: dict[str, object] = {}
        merged: list[dict[str, object]] = []
        for key_node, value_node in node.value:
            if type(key_node) is not ScalarNode:
                message = "a key is plain text: put text with '{' or '[' in quotes"
                self._problems.append(self._problem(key_node, path, message))
                continue
            key = sys.intern(key_node.value)
            if key == "<<" and not key_node.style:
                merged += self._merged(value_node, path)
            elif key in data:
                first = next(k for k, _ in node.value if k.value == key).start_mark.line + 1
                message = f"the key `{key}` stands here twice (first on line {first})"
                self._problems.append(self._problem(key_node, (*path, key), message))
            else:
                data[key] = self.read(value_node, (*path, key))
        for other in merged:
            data = {**other, **data}
        return data

    def _merged(self, node: Node, path: tuple[str | int, ...]) -> list[dict[str, object]]:
        """The mappings of ``<<: *anchor`` or ``<<: [*one, *two]``; the first one wins."""
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        if not all(isinstance(each, MappingNode) for each in nodes):
            self._problems.append(
                self._problem(node, (*path, "<<"), "'<<' takes a mapping, or a list of them")
            )
            return []
        found = [self.read(each, path) for each in nodes]
        return [each for each in found if isinstance(each, dict)]

    def _scalar(self, node: Node, path: tuple[str | int, ...]) -> object:
        tag, value = node.tag, node.value
        if tag == _BOOL and value in _BOOLS:
            return _BOOLS[value]
        if tag == _NULL and value in _NULLS:
            return None
        if tag == _INT and _INTEGER.fullmatch(value):
            return int(value)
        if tag == _FLOAT and _NUMBER.fullmatch(value):
            return float(value)
        self._problems.append(self._problem(node, path, _tag_message(tag)))
        return None

    def _problem(self, node: Node, path: Path, message: str) -> Problem:
        mark = node.start_mark
        return Problem(self._file, mark.line + 1, mark.column + 1, show_path(path), message)


def _tag_message(tag: str) -> str:
    short = tag.replace(_TAG, "!!")
    return f"the tag {short} does not fit here; tags are not used in manifests"
