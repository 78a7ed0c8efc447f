"""What is remembered of images: which we brought, and when each was needed last.

Only what we brought is ever on record, so nothing else is ever collected.  With the store lost, the images
from before stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.config import ImagesConfig
from reconciler.model.operations import DeleteImage, EnsureImage
from reconciler.model.placement import ImageKey, part_name
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.planner import Survey
from reconciler.planner.resources.images import image_volumes
from reconciler.store.base import Store

NOTED_EVERY = 3600.0
"""Seconds between two notes on what is needed, while nothing is done."""


def stale_images(store: Store, config: ImagesConfig, now: float) -> frozenset[ImageKey]:
    """Images that we brought and that nothing has needed for longer than they are kept."""
    keep = config.keep_unused_for
    if keep is None:
        return frozenset()
    return frozenset(key for key, needed in store.image_uses().items() if now - needed >= keep)


def note_images(
    store: Store, survey: Survey, plan: Plan, results: Iterable[ActionResult], now: float
) -> None:
    """Remember which of our images are needed, and forget those that are gone."""
    known = store.image_uses()
    brought, kept, gone = _done(plan, results)
    if not known and not brought:
        return
    seen = dict(image_volumes(survey.situation))
    needed = {key for key in known if seen.get(key)}
    missing = {key for key in known.keys() - seen.keys() if _is_gone(key, survey)}
    store.note_image_uses(brought | kept | (needed - gone), now)
    store.forget_images(gone | (missing - brought))


def _done(plan: Plan, results: Iterable[ActionResult]) -> tuple[set[ImageKey], set[ImageKey], set[ImageKey]]:
    """Images that a push brought, that it found to be needed after all, and that it deleted."""
    outcomes = {result.id: result.outcome for result in results}
    brought, kept, gone = set(), set(), set()
    for action in plan.actions:
        operation, outcome = action.operation, outcomes.get(action.id)
        if isinstance(operation, EnsureImage) and outcome in (Outcome.CHANGED, Outcome.FAILED):
            volume = operation.volume if outcome is Outcome.CHANGED else part_name(operation.volume)
            brought.add((action.host, operation.pool, volume))
        if isinstance(operation, DeleteImage):
            key = (action.host, operation.pool, operation.volume)
            if outcome is Outcome.CHANGED:
                gone.add(key)
            elif outcome is Outcome.OK:
                kept.add(key)
    return brought, kept, gone


def _is_gone(key: ImageKey, survey: Survey) -> bool:
    """True if a host that would show it does not, or is no longer in the inventory."""
    name, pool, _volume = key
    situation = survey.situation
    if not situation.listed(name):
        return True
    host = situation.fleet[name]
    return host.known and (pool not in host.pools or host.pools[pool].active)
