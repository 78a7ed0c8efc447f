"""Label selectors in Kubernetes' words: ``app=web,tier!=db,env in (a,b),!old``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.operation import BadQueryError, Query
from reconciler.errors import Problem

LABEL_SELECTOR = Query(
    "labelSelector",
    {"type": "string", "maxLength": 4096},
    "Only objects whose labels fit: `app=web,tier!=db,env in (a,b),owner,!old`, all of which must hold.",
)

_NAME = r"[^\s,=!()]+"
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_COMPARED = re.compile(rf"({_NAME})\s*(==|=|!=)\s*([^\s,=!()]*)")
_NAMED = re.compile(rf"(!?)\s*({_NAME})")

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selector:
    """What labels must be like.

    Attributes:
        text: As it was written, for people and digests.
        tests: All of them must hold.
    """

    text: str
    tests: tuple[Callable[[Labels], bool], ...]

    def fits(self, labels: Labels) -> bool:
        """True if the labels are so."""
        return all(test(labels) for test in self.tests)


def parse_selector(text: str | None) -> Selector | None:
    """The selector that a text is; None for no text.

    As in Kubernetes, ``!=`` and ``notin`` hold for what has no such label.

    Raises:
        BadQueryError: It is none.
    """
    if text is None or not text.strip():
        return None
    return Selector(text, tuple(_test(part) for part in _parts(text)))


def _parts(text: str) -> list[str]:
    """Split at commas, but for those in parentheses."""
    parts, depth, begin = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [part.strip() for part in (*parts, text[begin:])]


def _test(part: str) -> Callable[[Labels], bool]:
    found = _SET.fullmatch(part)
    if found:
        key, word, listed = found.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    found = _COMPARED.fullmatch(part)
    if found:
        key, sign, value = found.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    found = _NAMED.fullmatch(part)
    if found:
        key, absent = found[2], bool(found[1])
        return lambda labels: (key in labels) is not absent
    message = (
        f"{part!r} is no selector: write key=value, key!=value, key in (a,b), key notin (a,b), key, !key"
    )
    raise BadQueryError([Problem("query", 0, 0, "labelSelector", message)])
