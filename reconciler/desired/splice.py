"""Where in a YAML text a value stands, and how another one is put there. Nothing else of the text moves."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from reconciler.desired.writer import Dumper

_WIDE = 100
"""Columns beyond which a list or mapping is written over several lines."""

_END = "-"
_MERGE = "<<"
_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)*")
_ALIAS_VALUE = re.compile(r"\s*:\s*\*[^\s,\]}]+")
_COLON = re.compile(r"\s*:")
_COMMENTS = re.compile(r"(?:\s|#[^\r\n]*)*")
_REST_OF_LINE = re.compile(r"[ \t]*(#[^\r\n]*)?(?=\r?\n|\Z)")


class UnfitError(Exception):
    """The text is written such that this change cannot be made in it; the message says why."""


class Splicer:
    """One document of a text.

    Args:
        text: The whole text.
        root: The document's root node; its marks count characters of the text.
    """

    def __init__(self, text: str, root: Node) -> None:
        self._text = text
        self._root = root
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._uses = Counter(id(node) for node in _visits(root))

    def change(self, path: tuple[str | int, ...], value: object, remove: bool) -> str:
        """The text with the value at `path` set, appended or removed.

        Raises:
            UnfitError: It cannot be done here.
        """
        parent: CollectionNode | None = None
        key: Node | None = None
        node = self._root
        for at, part in enumerate(path):
            self._own(node)
            if not isinstance(node, CollectionNode):
                if node.tag != "tag:yaml.org,2002:null" or remove:
                    raise UnfitError("what is there is no mapping")
                return self._replace(parent, key, node, _nested(path[at:], value))
            index = self._index(node, part)
            if index is None:
                return self._text if remove else self._insert(node, part, _nested(path[at + 1 :], value))
            parent, (key, node) = node, _entries(node)[index]
            if remove and at == len(path) - 1:
                return self._remove(parent, index)
        self._own(node)
        return self._replace(parent, key, node, value)

    # -- finding ------------------------------------------------------------------------------------

    def _own(self, node: Node) -> None:
        if self._uses[id(node)] > 1:
            raise UnfitError("it is shared with other places through an anchor (&name, *name)")

    def _index(self, node: CollectionNode, part: str | int) -> int | None:
        """Which entry it is; None if it has to be added."""
        if isinstance(node, SequenceNode):
            return part if isinstance(part, int) else None
        merged = False
        for index, (key, value) in enumerate(node.value):
            if key.value == part:
                return index
            merged |= key.value == _MERGE and not key.style and _provides(value, part)
        if merged:
            raise UnfitError("it comes from elsewhere, through a merge key (<<)")
        return None

    def _end(self, node: Node, key: Node | None = None) -> int:
        """Where the text of a node ends, without the comments and empty lines that follow it."""
        if key is not None and self._uses[id(node)] > 1:
            alias = _ALIAS_VALUE.match(self._text, key.end_mark.index)
            if alias:
                return alias.end()
        elif self._uses[id(node)] > 1:
            raise UnfitError("it stands beside an alias (*name)")
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        if isinstance(node, ScalarNode):
            if node.style not in ("|", ">"):
                return end
            header = self._text[start:end].partition("\n")[0]
            return end if "+" in header else start + len(self._text[start:end].rstrip())
        if not isinstance(node, CollectionNode) or node.flow_style:
            return end
        last_key, last = _entries(node)[-1]
        return self._end(last, last_key)

    def _content(self, node: CollectionNode) -> int:
        """Where the first entry of a block collection begins, behind anchors and comments."""
        key, _first = _entries(node)[0]
        if key is not None:
            return int(key.start_mark.index)
        return self._past_comments(self._after_properties(node))

    def _past_comments(self, at: int) -> int:
        found = _COMMENTS.match(self._text, at)
        return found.end() if found else at

    def _after_properties(self, node: Node) -> int:
        found = _PROPERTIES.match(self._text, node.start_mark.index, node.end_mark.index)
        return found.end() if found else int(node.start_mark.index)

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _alone_before(self, at: int) -> bool:
        """True if only blanks stand before it on its line."""
        return not self._text[self._line_start(at) : at].strip()

    def _line_end(self, at: int) -> int:
        rest = _REST_OF_LINE.match(self._text, at)
        if rest is None:
            raise UnfitError("something else follows it on its line")
        return rest.end()

    def _splice(self, start: int, end: int, new: str) -> str:
        return self._text[:start] + new + self._text[end:]

    # -- setting ------------------------------------------------------------------------------------

    def _replace(self, parent: CollectionNode | None, key: Node | None, node: Node, value: object) -> str:
        flow = parent is not None and bool(parent.flow_style)
        if isinstance(node, CollectionNode) and not node.flow_style:
            return self._replace_block(key, node, value)
        start = self._after_properties(node)
        new = _flow(value)
        if isinstance(node, ScalarNode) and node.style in ("'", '"') and isinstance(value, str):
            new = _quoted(value, node.style)
        if not flow and key is not None and isinstance(value, dict | list) and len(new) > _WIDE:
            new = self._block(value, key.start_mark.column + 2)
            return self._splice(start, self._end(node, key), new)
        if start == node.end_mark.index and self._text[start - 1 : start] not in (" ", "\t", ""):
            new = " " + new
        return self._splice(start, self._end(node, key), new)

    def _replace_block(self, key: Node | None, node: CollectionNode, value: object) -> str:
        begin, end = self._content(node), self._end(node)
        new = _flow(value)
        if key is None or not self._alone_before(begin):
            return self._splice(begin, end, new)
        colon = _COLON.match(self._text, key.end_mark.index)
        if colon is None:
            raise UnfitError("it is written with an explicit key (?)")
        after = colon.end()
        if node.start_mark.index < begin:  # anchors and tags stay where they are
            after = len(self._text[: self._after_properties(node)].rstrip())
        comment = self._text[after:begin].rstrip()
        if isinstance(value, dict | list) and len(new) > _WIDE:
            return self._splice(after, end, comment + self._block(value, key.start_mark.column + 2))
        gap = " " if comment.startswith("#") else ""
        return self._splice(after, end, f" {new}{gap}{comment}")

    def _insert(self, node: CollectionNode, part: str | int, value: object) -> str:
        is_list = isinstance(node, SequenceNode)
        if is_list and part != _END:
            raise UnfitError(f"the list has no item {part}")
        if not is_list and not isinstance(part, str):
            raise UnfitError("what is there is no list")
        label = "" if is_list else f"{_flow(part)}:"
        if node.flow_style:
            new = f"{label} {_flow(value)}".strip()
            if not node.value:
                return self._splice(node.end_mark.index - 1, node.end_mark.index - 1, new)
            key, last = _entries(node)[-1]
            end = self._end(last, key)
            return self._splice(end, end, f", {new}")
        column = self._text[self._line_start(self._content(node)) : self._content(node)]
        indent = len(column)
        new = _flow(value)
        written = f"- {new}" if is_list else f"{label} {new}"
        if len(new) > _WIDE and isinstance(value, dict | list) and value:
            block = self._block(value, indent + 2)
            written = f"-{block[len(self._newline) + indent + 1 :]}" if is_list else label + block
        return self._add_line(self._end(node), " " * indent + written)

    def _add_line(self, at: int, line: str) -> str:
        """A line of its own below the one that holds `at`."""
        if self._text[at - 1 : at] == "\n":
            return self._splice(at, at, line + self._newline)
        end = self._line_end(at)
        return self._splice(end, end, self._newline + line)

    def _block(self, value: object, indent: int) -> str:
        """A list or mapping over several lines, each with its line break before it."""
        text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)
        return "".join(
            self._newline + (" " * indent + line if line else "") for line in text.rstrip("\n").split("\n")
        )

    # -- removing -----------------------------------------------------------------------------------

    def _remove(self, parent: CollectionNode, index: int) -> str:
        entries = _entries(parent)
        key, node = entries[index]
        begin = int((key or node).start_mark.index)
        if len(entries) == 1:
            return self._empty(parent)
        if parent.flow_style:
            if index + 1 < len(entries):
                following = entries[index + 1]
                return self._splice(begin, int((following[0] or following[1]).start_mark.index), "")
            before = entries[index - 1]
            return self._splice(self._end(before[1], before[0]), self._end(node, key), "")
        if key is None:
            begin = self._past_comments(self._end(entries[index - 1][1])) if index else self._content(parent)
        if not self._alone_before(begin):
            return self._remove_first(parent, begin)
        end = self._line_end(self._end(node, key))
        if self._text.startswith(("\r\n", "\n"), end):
            end += 2 if self._text[end] == "\r" else 1
        return self._splice(self._line_start(begin), end, "")

    def _remove_first(self, parent: CollectionNode, begin: int) -> str:
        """The first key of a mapping that begins behind a dash: the next one takes its place."""
        key, node = _entries(parent)[1]
        following = int((key or node).start_mark.index)
        if "#" in self._text[self._end(*reversed(_entries(parent)[0])) : following]:  # type: ignore[arg-type]
            raise UnfitError("a comment follows it, which would be lost")
        return self._splice(begin, following, "")

    def _empty(self, parent: CollectionNode) -> str:
        """The only entry goes: what remains is an empty mapping or list."""
        new = "[]" if isinstance(parent, SequenceNode) else "{}"
        if parent.flow_style:
            return self._splice(self._after_properties(parent), int(parent.end_mark.index), new)
        begin, end = self._content(parent), self._end(parent)
        if not self._alone_before(begin):
            return self._splice(begin, end, new)
        # A flow collection has to be indented deeper than its key, a block list need not be.
        return self._splice(begin, end, f"  {new}" if isinstance(parent, SequenceNode) else new)


def _entries(node: CollectionNode) -> list[tuple[Node | None, Node]]:
    """Keys (None in a list) and values."""
    return [(None, item) for item in node.value] if isinstance(node, SequenceNode) else node.value


def _visits(root: Node) -> Iterator[Node]:
    """Every node as often as the text refers to it; what an alias brings along counts once."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        yield node
        if id(node) in seen or not isinstance(node, CollectionNode):
            continue
        seen.add(id(node))
        for key, value in _entries(node):
            waiting += [value] if key is None else [key, value]


def _provides(node: Node, part: str | int) -> bool:
    """True if a merged mapping has the key."""
    if isinstance(node, SequenceNode):
        return any(_provides(each, part) for each in node.value)
    if not isinstance(node, MappingNode):
        return False
    return any(
        key.value == part or (key.value == _MERGE and _provides(value, part)) for key, value in node.value
    )


def _nested(path: tuple[str | int, ...], value: object) -> object:
    for part in reversed(path):
        if isinstance(part, int):
            raise UnfitError(f"there is no list with an item {part}")
        value = [value] if part == _END else {part: value}
    return value


def _flow(value: object) -> str:
    """A value on one line."""
    text = yaml.dump(
        [value],
        Dumper=Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return text.strip()[1:-1]


def _quoted(value: str, style: str) -> str:
    """Text in the quotes that were there before, where they can hold it."""
    if not value.isprintable():
        return _flow(value)
    text = yaml.dump(
        [value],
        Dumper=yaml.SafeDumper,
        default_style=style,
        default_flow_style=True,
        allow_unicode=True,
        width=sys.maxsize,
    )
    return text.strip()[1:-1]
