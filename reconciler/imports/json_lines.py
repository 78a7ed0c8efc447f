"""JSON whose objects know on which line they begin, so that a mistake in them can be shown."""

from __future__ import annotations

import json
from json import decoder, scanner
from typing import Any


class Located(dict[str, Any]):
    """A JSON object.

    Attributes:
        line: Where it begins, 1-based.
    """

    line: int = 0


class _Decoder(json.JSONDecoder):
    """The library's own decoder in Python, which tells where an object begins."""

    def __init__(self) -> None:
        super().__init__()
        self.parse_object = self._object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    @staticmethod
    def _object(begin: tuple[str, int], *rest: Any) -> tuple[Any, int]:
        found, end = decoder.JSONObject(begin, *rest)  # type: ignore[attr-defined]
        located = Located(found)
        located.line = begin[0].count("\n", 0, begin[1]) + 1
        return located, end


def load(text: str) -> Any:
    """The document, with a `Located` for each object.

    Raises:
        json.JSONDecodeError: It is no JSON; it has the line.
        RecursionError: It is nested beyond all measure.
    """
    return json.loads(text, cls=_Decoder)
