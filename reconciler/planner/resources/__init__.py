"""Objects that are no machines: pools and networks of hosts, volumes, images.

They go through the same plan as machines do. Where machines need them in the same plan, `planner.pending`
shows them as if they were there, and `dependencies` makes the machines' actions wait for theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reconciler.model.placement import Decision
from reconciler.planner.outcome import Outcome
from reconciler.planner.resources.images import plan_images
from reconciler.planner.resources.networks import plan_networks
from reconciler.planner.resources.pools import plan_pools
from reconciler.planner.resources.volumes import plan_volumes
from reconciler.planner.survey import Survey


def plan_resources(survey: Survey, decisions: Mapping[str, Decision]) -> list[Outcome]:
    """One outcome for each object on each host that is not as it shall be, by kind, then by key.

    Args:
        survey: The situation, sorted.
        decisions: Where new machines go; a volume is made where its machine will be.
    """
    parts = [outcome for part in _PARTS for outcome in part(survey)]
    return [*parts, *plan_volumes(survey, decisions)]


_PARTS: tuple[Callable[[Survey], Iterable[Outcome]], ...] = (plan_pools, plan_networks, plan_images)
