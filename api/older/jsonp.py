"""JSONP: an answer as a call of a function of the page that asked for it.

Whoever chooses the callback chooses text of a script that comes from us.  So it is a plain name and nothing
else, the script begins with a comment (which is no header of any other format), and no browser may take it
for something else.
"""

from __future__ import annotations

import json
import re
from typing import Final

PARAMETER: Final = "jsonp_callback"

MEDIA_TYPE: Final = "application/javascript"

LONGEST: Final = 128
"""Characters of a callback's name."""

_WORD = r"[A-Za-z_$][A-Za-z0-9_$]*"
_CALLBACK = re.compile(rf"{_WORD}(?:\.{_WORD})*")
# ECMA-262, "Reserved Words", also those of strict mode, and its literals.
_RESERVED = frozenset(
    re.findall(
        "[a-z]+",
        "arguments await break case catch class const continue debugger default delete do else enum eval "
        "export extends false finally for function if implements import in instanceof interface let new "
        "null package private protected public return static super switch this throw true try typeof var "
        "void while with yield",
    )
)


def is_callback(name: str) -> bool:
    """True for an identifier, or several with dots between, as libraries make them (``callbacks._0``)."""
    words = name.split(".")
    return (
        len(name) <= LONGEST and _CALLBACK.fullmatch(name) is not None and not _RESERVED.intersection(words)
    )


def wrap(callback: str, value: object) -> str:
    """The script that hands the value to the callback.

    Args:
        callback: A name that `is_callback`.
        value: Plain data.
    """
    return f"/**/{callback}({to_json(value)})"


def to_json(value: object) -> str:
    """Plain data as JSON that is the same in JavaScript (no U+2028), and never looks like a tag."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
