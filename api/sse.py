"""Server-sent events (WHATWG HTML, section 9.2), as bytes that are made once and sent to many."""

from __future__ import annotations

import json
from typing import Any

MEDIA_TYPE = "text/event-stream"

_BREAKS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}

AGAIN_AFTER = 2000
"""Milliseconds after which a client that was cut off comes back."""


def message(data: object, *, event: str = "", id_: str = "") -> bytes:
    """One message.

    Args:
        data: What is written as JSON, on one line.
        event: Its type; empty for the usual one.
        id_: What a client that comes back tells it had last; empty leaves that as it is.
    """
    return raw_message(json.dumps(data, separators=(",", ":")), event=event, id_=id_)


def raw_message(text: str, *, event: str = "", id_: str = "") -> bytes:
    """The same with data that is JSON already: one line, since JSON escapes every line break.

    Many clients take Unicode's line breaks for such, which JSON does not.
    """
    if not text.isascii():
        text = text.translate(_BREAKS)
    head = (f"id: {id_}\n" if id_ else "") + (f"event: {event}\n" if event else "")
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


def position(id_: str) -> bytes:
    """No message: it only moves what the client tells when it comes back, and shows that we live."""
    return f": here\nid: {id_}\n\n".encode()


def greeting(id_: str) -> bytes:
    """How a stream begins."""
    return f"retry: {AGAIN_AFTER}\nid: {id_}\n\n".encode()


class Sent:
    """Bytes that Falcon sends as they are, where it expects an ``SSEvent``.

    Falcon watches for the end of the connection only where it sends events.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self, _handler: Any = None) -> bytes:
        """The bytes."""
        return self._data
