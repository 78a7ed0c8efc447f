"""What happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from reconciler.model.status import Event
from reconciler.views.glance import Data, stamp


def event_data(event: Event) -> Data:
    """An event, its time in RFC 3339."""
    first = {"id": event.id, "time": stamp(event.time)}
    return first | {name: value for name, value in asdict(event).items() if name not in first}


def event_lines(events: Iterable[Mapping[str, object]]) -> list[str]:
    """One line an event, of `event_data`."""
    return [
        f"{e['time']}  {'Warning' if e['warning'] else 'Normal ':7}  {e['reason']!s:<18} "
        f"{_subject(e)}{e['message']}"
        for e in events
    ]


def _subject(event: Mapping[str, object]) -> str:
    """What an event is about, with a colon; nothing for what is about nothing in particular."""
    parts = [str(event[key]) for key in ("vm", "host") if event[key]]
    return f"{' on '.join(parts)}: " if parts else ""
