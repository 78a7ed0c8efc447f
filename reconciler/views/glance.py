"""What a view is made from, and the words that several views share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.engine import Engine, Look
from reconciler.model.domain import GuestAddress, ObservedDomain
from reconciler.model.units import format_duration

Addresses = Mapping[str, Sequence[GuestAddress]]
"""What is known, by domain UUID."""

Data = dict[str, object]


@dataclass(frozen=True, slots=True)
class Glance:
    """One look, and the engine whose rooms may be asked for more."""

    engine: Engine
    look: Look


def domains_by_name(look: Look) -> Mapping[str, ObservedDomain]:
    """Our domains by their machine's name."""
    return {
        domain.applied.name: domain
        for host in look.fleet.values()
        for domain in host.domains.values()
        if domain.applied is not None
    }


def stamp(seconds: float) -> str:
    """RFC 3339, UTC, seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float) -> str:
    """How long ago, in the largest units."""
    return format_duration(max(0, int(time.time() - seconds))) if seconds else "-"
