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
        f"{e['vm'] or e['host']}{_place(e)}: {e['message']}"
        for e in events
    ]


def _place(event: Mapping[str, object]) -> str:
    return f" on {event['host']}" if event["vm"] and event["host"] else ""
