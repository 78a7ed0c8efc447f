from __future__ import annotations

import pytest

from reconciler.desired.yaml_file import MAX_ALIASED, MAX_DEPTH, documents, show_path, to_data
from reconciler.errors import DesiredStateError, Problem


def read(text: str | bytes) -> tuple[list[object], list[Problem]]:
    problems: list[Problem] = []
    raw = text.encode() if isinstance(text, str) else text
    return [to_data(document, problems) for document in documents(raw, "f.yaml")], problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("7", 7),
        ("-3", -3),
        ("010", "010"),
        ("0o10", "0o10"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("52:54:00:11:22:33", "52:54:00:11:22:33"),
        ("10:30", "10:30"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 5000, "9" * 5000),
        ("=", "="),
        ("'7'", "7"),
        ('"true"', "true"),
        ("!!str 7", "7"),
        ("|-\n  a\n  b", "a\nb"),
    ],
)
def test_what_a_scalar_means(written: str, value: object) -> None:
    data, problems = read(f"a: {written}\n")
    assert (data, problems) == ([{"a": value}], [])
    assert type(data[0]["a"]) is type(value)  # type: ignore[index]


def test_keys_are_always_text() -> None:
    assert read("1: a\ntrue: b\nnull: c\n2.50: d\n") == (
        [{"1": "a", "true": "b", "null": "c", "2.50": "d"}],
        [],
    )


def test_empty_documents_are_left_out_and_a_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbf# only a comment\n---\n---\na: 1\n---\n...\n") == ([{"a": 1}], [])


def test_merge_keys() -> None:
    data, problems = read("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd: {'<<': 1}\n")
    assert problems == []
    assert data[0]["c"] == {"x": 9, "y": 2, "z": 4}  # type: ignore[index]
    assert data[0]["d"] == {"<<": 1}  # type: ignore[index]


def test_nesting_up_to_the_bound_is_read() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read(deep)[1] == []
    with pytest.raises(DesiredStateError, match="deeper than 64"):
        read("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_aliases_up_to_the_bound_are_expanded() -> None:
    hundred = f"[{', '.join('x' * 100)}]"
    below = f"a: &a {hundred}\nb: [{', '.join(['*a'] * 90)}]\n"
    data, problems = read(below)
    assert problems == []
    assert sum(len(each) for each in data[0]["b"]) == 9000  # type: ignore[index]
    _, problems = read(f"a: &a {hundred}\nb: [{', '.join(['*a'] * 110)}]\n")
    assert [problem.message for problem in problems] == [
        f"aliases (*name) expand to more than {MAX_ALIASED} values; write them out"
    ]


def test_many_values_without_aliases_are_no_bomb() -> None:
    assert read("a: [" + "x, " * 30_000 + "x]")[1] == []


def test_places() -> None:
    text = "a:\n  - b: 1\n    größe: 2\n  - &x {c: 3}\nd:\n  <<: *x\n"
    document = next(documents(text.encode(), "f.yaml"))
    assert document.place(("a", 0, "b")) == (2, 8)
    assert document.place(("a", 0, "b"), key=True) == (2, 5)
    assert document.place(("a", 0, "größe")) == (3, 12)
    assert document.place(("d", "c")) == (4, 12), "a merged value stands where it was written"
    assert document.place(("a", 0, "missing")) == (2, 5), "of what is missing, the place where it would stand"
    assert document.place(("a", 7)) == (2, 3)


def test_paths_as_they_are_shown() -> None:
    assert show_path(("spec", "interfaces", 0, "mac")) == "spec.interfaces[0].mac"
    assert show_path(("metadata", "labels", "a.b/c", "x-y")) == 'metadata.labels["a.b/c"].x-y'
    assert show_path(()) == ""


def test_what_stands_before_a_syntax_error_is_still_read() -> None:
    found = []
    with pytest.raises(DesiredStateError) as caught:
        found.extend(documents(b"a: 1\n---\nb: 2\n---\nc: [\n", "f.yaml"))
    assert len(found) == 2
    assert caught.value.problems[0].file == "f.yaml"


def test_every_character_is_read_or_refused_with_its_place() -> None:
    """libyaml itself tells no line for a character that it refuses."""
    places = []
    for code in [*range(1, 0x3000), 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF]:
        try:
            read(f'# {chr(code)}\na: "x{chr(code)}"\n')
        except DesiredStateError as error:
            places.append((code, error.problems[0].line))
    assert len(places) > 60
    assert [code for code, line in places if line < 1] == []
