"""Structured logs on the standard library: one line a record, as text for people or JSON for machines.

    _log = logging.getLogger(__name__)
    _log.info("placed", extra=fields(vm="web-1", host="alpha"))

    2026-01-31T12:00:00.123Z info    placed vm=web-1 host=alpha

Nothing that comes from outside can forge a line: every character that does not print is escaped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

ROOTS = {"reconciler": logging.INFO, "api": logging.INFO, "uvicorn.error": logging.WARNING}
"""Whose logs are ours, and from which level on at least."""

_PLAIN = re.compile(r"[^\s=\"'\\]+")


def fields(**values: object) -> dict[str, Any]:
    """The `extra` of a log call: named values that stand apart from the message."""
    return {"fields": values}


def set_up(form: Literal["text", "json"], *, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send our own logs, and the API server's, to `stream` (standard error). Others' are left alone.

    Calling it again replaces what it set up before.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for root, least in ROOTS.items():
        logger = logging.getLogger(root)
        logger.handlers[:] = [handler]
        logger.setLevel(max(level, least))
        logger.propagate = False


def printable(text: str) -> str:
    """`text` with every character escaped that does not print: control, line and direction marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class TextFormatter(logging.Formatter):
    """``time level message key=value``; a value that is not one plain word is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        parts = [_time(record), f"{record.levelname.lower():7}", printable(record.getMessage())]
        parts += [f"{printable(key)}={_quote(value)}" for key, value in _fields(record, self).items()]
        return " ".join(parts)


class JsonFormatter(logging.Formatter):
    """One JSON object: ``time``, ``level``, ``logger``, ``message``, and the named values beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told = {
            **_fields(record, self),
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(told, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> Mapping[str, object]:
    found = dict(getattr(record, "fields", {}))
    if record.exc_info:
        found["exception"] = formatter.formatException(record.exc_info)
    return found


def _quote(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return printable(text)
    return printable(json.dumps(text, ensure_ascii=False))
