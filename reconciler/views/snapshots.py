"""The snapshots of a machine or volume."""

from __future__ import annotations

from dataclasses import asdict

from reconciler.engine import Look
from reconciler.requests import known_snapshots
from reconciler.views.glance import Data, stamp


def snapshots(look: Look, key: str) -> list[Data]:
    """Of a machine, or of ``Volume/NAME``; oldest first.

    Raises:
        UsageError: There is no such thing.
        HostError: Its host does not answer.
    """
    return [{**asdict(one), "created": stamp(one.created)} for one in known_snapshots(look, key)]
