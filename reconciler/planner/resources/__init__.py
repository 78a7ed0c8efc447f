"""Objects that are no machines: pools and networks of hosts, volumes, images.

They go through the same plan as machines do. Where machines need them in the same plan, `planner.pending`
shows them as if they were there, and `dependencies` makes the machines' actions wait for theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reconciler.planner.outcome import Outcome
from reconciler.planner.survey import Survey


def plan_resources(survey: Survey) -> list[Outcome]:
    """One outcome for each object on each host that is not as it shall be, by kind, then by key."""
    return [outcome for part in _PARTS for outcome in part(survey)]


_PARTS: tuple[Callable[[Survey], Iterable[Outcome]], ...] = ()
