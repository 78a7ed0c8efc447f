"""Whatever people wrote and however: an edit makes its change, and no other, and loses no comment."""

from __future__ import annotations

import copy
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.edit import END, REMOVE, Path, edit, read

KEY = "VirtualMachine/web-1"
HEAD = "kind: VirtualMachine\nmetadata: {name: web-1}\n"
WORDS = st.sampled_from(
    ["a", "cpus", "run-strategy", "x.y", "true", "1", "ä ö", "on", "#no", "- x", "k: v", ""]
)
SCALARS = st.one_of(
    st.integers(-5, 5000),
    st.booleans(),
    st.none(),
    WORDS,
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        ["two\nlines", "tab\there", "it's", 'so "said"', " blank ", "2024-01-01", "010", "52:54"]
    ),
)
KEYS = st.text(st.sampled_from("abcdef"), min_size=1, max_size=2)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


class Writer:
    """Writes data in a style that is drawn anew at every turn, with numbered comments."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.comments = 0

    def _comment(self, chance: int = 3) -> str:
        if self._draw(st.integers(0, chance)):
            return ""
        self.comments += 1
        return f" # note {self.comments}."

    def block(self, value: Any, indent: int) -> str:
        """The text behind a colon or a dash, line end included."""
        pad = " " * indent
        if not isinstance(value, dict | list) or not value or self._draw(st.booleans()):
            return f" {self.flow(value)}{self._comment()}\n"
        text = f"{self._comment()}\n"
        for item in value.items() if isinstance(value, dict) else [(None, each) for each in value]:
            key, inner = item
            line = self._comment(6).strip()
            text += f"{pad}{line}\n" if line else ""
            label = "-" if key is None else f"{key}:"
            text += pad + label + self.block(inner, indent + self._draw(st.integers(1, 3)))
        return text + self._draw(st.sampled_from(["", "", "\n"]))

    def flow(self, value: Any) -> str:
        space = self._draw(st.sampled_from(["", " "]))
        if isinstance(value, dict):
            return (
                "{" + f",{space or ' '}".join(f"{k}: {self.flow(v)}" for k, v in value.items()) + space + "}"
            )
        if isinstance(value, list):
            return "[" + space + ", ".join(map(self.flow, value)) + "]"
        if isinstance(value, str):
            return '"' + "".join(_escaped(c) for c in value) + '"'
        return (
            {None: "null", True: "true", False: "false"}.get(value, str(value))
            if not _number(value)
            else str(value)
        )


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _escaped(c: str) -> str:
    return f"\\U{ord(c):08x}" if c in '"\\' or not c.isprintable() else c


@st.composite
def written(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A text of three documents, and the data of the one in the middle."""
    spec = draw(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
    writer = Writer(draw)
    body = f"{HEAD}spec:{writer.block(spec, draw(st.integers(1, 4)))}"
    other = "kind: Image\nmetadata: {name: web-1}\nspec: {a: 1} # other\n"
    text = f"# first.\n{other}---\n{body}---\n{other}"
    return text if draw(st.booleans()) else text.replace("\n", "\r\n"), {"spec": spec}


@st.composite
def places(draw: st.DrawFn, data: Any) -> Path:
    """A path that is there, or that could be."""
    path: list[str | int] = ["spec"]
    value = data["spec"]
    while isinstance(value, dict | list) and (len(path) < 2 or draw(st.booleans())):
        if isinstance(value, list):
            part: str | int = draw(st.sampled_from([*range(len(value)), END]))
        else:
            part = draw(st.sampled_from([*value, "new"]))
        path.append(part)
        if part in (END, "new"):
            break
        value = value[part]  # type: ignore[index,call-overload]
    return tuple(path)


def changed(data: Any, path: Path, value: Any) -> Any:
    whole = copy.deepcopy(data)
    place = whole
    for part in path[:-1]:
        place = place[part]
    last: Any = path[-1]
    if value is REMOVE:
        if not isinstance(place, dict) or last in place:
            del place[last]
    elif last == END:
        place.append(value)
    else:
        place[last] = value
    return whole


def notes(text: str) -> list[str]:
    return re.findall(r"# (?:note \d+\.|other|first\.)", text)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_change_is_made_and_nothing_else(drawn: st.DataObject) -> None:
    text, data = drawn.draw(written())
    path = drawn.draw(places(data))
    value = drawn.draw(VALUES)
    made = edit(text, KEY, {path: value})
    assert read(made, KEY)["spec"] == changed(data, path, value)["spec"]
    old = data
    for part in path:
        old = None if part in (END, "new") else old[part]  # type: ignore[index,call-overload]
    if not isinstance(old, dict | list):  # what stood inside of something replaced goes with it
        assert notes(made) == notes(text)
    if path[-1] != END:
        assert edit(made, KEY, {path: value}) == made
    assert ("\r\n" in made) == ("\r\n" in text)
    assert not re.search(r"(?<!\r)\n", made) or "\r\n" not in text


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_removed_is_gone_and_nothing_else(drawn: st.DataObject) -> None:
    text, data = drawn.draw(written())
    path = drawn.draw(places(data).filter(lambda p: p[-1] != END and len(p) > 1))
    made = edit(text, KEY, {path: REMOVE})
    assert read(made, KEY)["spec"] == changed(data, path, REMOVE)["spec"]
    assert set(notes(made)) <= set(notes(text))
