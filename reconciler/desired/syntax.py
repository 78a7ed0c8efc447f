"""What libyaml says about a syntax error, in words for someone who does not know its grammar."""

from __future__ import annotations

import yaml

from reconciler.errors import Problem

_NEIGHBOURS = "this line is indented differently from its neighbours"
_MEANING = {
    "mapping values are not allowed": "a ':' cannot stand here: check the indentation, or use quotes",
    "could not find expected ':'": f"a ':' is missing after this key, or {_NEIGHBOURS}",
    "did not find expected key": f"{_NEIGHBOURS}, or text goes on after a closing quote",
    "did not find expected '-' indicator": f"{_NEIGHBOURS}, or lacks the '- ' of a list item",
    "did not find expected ',' or ']'": "the list that begins here with '[' is not closed, or lacks a ','",
    "did not find expected ',' or '}'": "the mapping that begins here with '{' is not closed, or lacks a ','",
    "did not find expected node content": "a value is missing here",
    "did not find expected alphabetic": "'*' and '&' begin aliases and anchors: put the text in quotes",
    "did not find expected <document start>": "this text belongs to no document: check the indentation",
    "block sequence entries are not": "a '- ' cannot stand here: a list begins on a line of its own",
    "found unexpected end of stream": "this quote is never closed",
    "found unexpected document indicator": "this quote is not closed before the next '---'",
    "found unknown escape character": "unknown escape in double quotes: write '\\\\' for a backslash",
    "found undefined alias": "this alias names an anchor that does not exist",
    "second occurrence": "this anchor (&name) is defined twice",
    "found undefined tag handle": "tags ('!') are not used in manifests: put the text in quotes",
    "found a tab character": "a tab stands here: indent with spaces",
}

# Of these the place where it began helps more than the place, often the end of the file, where it failed.
_OPENED = ("expected ',' or", "unexpected end of stream", "unexpected document indicator")


def syntax_problem(error: yaml.MarkedYAMLError, content: bytes, file: str) -> Problem:
    """The error of PyYAML as a problem with its place."""
    said = str(error.problem or error.context or "not understood")
    opened = any(words in said for words in _OPENED)
    mark = (opened and error.context_mark) or error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if "cannot start any token" in said:
        meaning = _wrong_beginning(content, line, column)
    else:
        meaning = next((text for words, text in _MEANING.items() if words in said), f"not YAML: {said}")
    return Problem(file, line + 1, column + 1, "", meaning)


def _wrong_beginning(content: bytes, line: int, column: int) -> str:
    lines = content.decode(errors="replace").split("\n")
    character = lines[line][column : column + 1] if line < len(lines) else ""
    if character == "\t":
        return "a tab stands here: indent with spaces"
    return f"text cannot begin with '{character}': put it in quotes"
