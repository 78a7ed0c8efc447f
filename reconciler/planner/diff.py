"""Desired against observed, field by field, only over what the desired state sets.

A running domain is compared twice: its persistent configuration (which any difference can be written
into at once) and its live one (which takes some changes live and others only at its next start).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from reconciler.model.domain import Applied, DomainConfig, ObservedDomain
from reconciler.model.plan import FieldChange, Impact
from reconciler.planner import devices
from reconciler.planner.blueprint import Blueprint, image_name
from reconciler.planner.difference import Difference
from reconciler.planner.fields import SCALARS, Field, enough_memory, same_memory
from reconciler.planner.ignore import ignored
from reconciler.planner.runstate import state_difference


def mark_of(domain: ObservedDomain) -> Applied | None:
    """Our mark on a domain; None means that it is not ours.

    A domain that was undefined while it runs has only the mark of its running instance left.  A mark whose
    uid is not the domain's UUID was copied along with a clone.
    """
    mark = domain.applied or (None if domain.persistent else domain.applied_live)
    return mark if mark is not None and mark.uid == domain.config.uuid else None


def diff(plan: Blueprint, wanted: DomainConfig, domain: ObservedDomain) -> tuple[Difference, ...]:
    """Every difference between a machine and its domain, in the order of the table.

    Args:
        plan: The machine and what it names.
        wanted: What `domain_config` made of it.
        domain: Its domain; it carries our mark.

    Raises:
        ValueError: The domain is not ours.
    """
    mark = mark_of(domain)
    if mark is None:
        raise ValueError(f"domain {domain.name!r} on {domain.host} is not ours")
    seen = Sides(wanted, domain, mark)
    found = [
        *_persistence(domain),
        *_host(plan, domain),
        *_image(plan, mark),
        *(difference for field in SCALARS if (difference := _scalar(field, seen)) is not None),
        *devices.disks(wanted, domain, mark),
        *devices.interfaces(wanted, domain, mark),
        *state_difference(plan.vm.spec.run_strategy, domain),
    ]
    covered = ignored(plan.vm.spec.ignore)
    return tuple(difference for difference in found if difference.covers not in covered)


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared with what."""

    wanted: DomainConfig
    domain: ObservedDomain
    mark: Applied


def _scalar(field: Field, seen: Sides) -> Difference | None:
    wanted = getattr(seen.wanted, field.name)
    if wanted is None:
        return None
    live = seen.domain.live if field.in_live else None
    kept = getattr(seen.domain.config, field.name)
    persistent = not field.equal(wanted, kept)
    running = _running(field, seen)
    hot = live is not None and not field.satisfied(wanted, running)
    if not (persistent or hot):
        return None
    if hot and not persistent and field.name == "memory" and _balloon_is_told(seen):
        return None
    return Difference(
        change=FieldChange(
            path=field.name,
            before=running if hot else kept,
            after=wanted,
            impact=_impact(field, seen, hot),
            drift=_drifted(field, seen, persistent),
        ),
        covers=field.name,
        persistent=persistent and field.name != "autostart",
        live=hot,
        reported=field.reported,
    )


def _running(field: Field, seen: Sides) -> Any:
    """The running instance's value; for the template, which no XML shows, what it was started with."""
    if field.name == "template":
        started = seen.domain.applied_live
        return started.config.template if started else seen.wanted.template
    return getattr(seen.domain.live, field.name) if seen.domain.live else None


def _impact(field: Field, seen: Sides, hot: bool) -> Impact:
    if field.reported:
        return Impact.NONE
    if field.impact is Impact.REPLACE:
        moved = not field.equal(getattr(seen.wanted, field.name), getattr(seen.mark.config, field.name))
        # What somebody changed on the host is changed back; only a new wish is worth a new machine.
        return Impact.REPLACE if moved else Impact.RESTART if hot else Impact.NONE
    if not hot or seen.domain.live is None:
        return Impact.NONE
    return Impact.LIVE if field.hot(seen.wanted, seen.domain.live) else field.impact


def _drifted(field: Field, seen: Sides, persistent: bool) -> bool:
    """The host moved away from what was applied, while the desired state stayed where it was."""
    wanted = getattr(seen.wanted, field.name)
    if not field.equal(wanted, getattr(seen.mark.config, field.name)):
        return False
    started = seen.domain.applied_live
    if persistent or started is None:
        return True
    # The persistent side is right and the running one is not: was it ever told?
    return field.satisfied(wanted, getattr(started.config, field.name))


def _balloon_is_told(seen: Sides) -> bool:
    """The running guest was started with this wish, and has more memory than that.

    It starts with its maximum and gives back what is too much within seconds, or never if it has no balloon
    driver.  Asking again every tick would never end, and is no use either way: `conditions` tells of it.
    Nobody can tell this from a ``setmem --live`` by hand to more, which is therefore left alone too.
    """
    live, started = seen.domain.live, seen.domain.applied_live
    return (
        live is not None
        and started is not None
        and seen.wanted.memory is not None
        and started.config.memory is not None
        and same_memory(seen.wanted.memory, started.config.memory)
        and enough_memory(seen.wanted.memory, live.memory or 0)
    )


def _persistence(domain: ObservedDomain) -> Iterable[Difference]:
    if not domain.persistent:
        change = FieldChange("persistent", before=False, after=True, impact=Impact.NONE, drift=True)
        yield Difference(change, covers="persistent", persistent=True)


def _host(plan: Blueprint, domain: ObservedDomain) -> Iterable[Difference]:
    pinned = plan.vm.spec.placement.host
    if pinned is not None and pinned != domain.host:
        change = FieldChange("host", before=domain.host, after=pinned, impact=Impact.NONE)
        yield Difference(change, covers="host", reported=True)


def _image(plan: Blueprint, mark: Applied) -> Iterable[Difference]:
    wanted, applied = plan.vm.spec.image, image_name(mark.image)
    # The name counts, not the content: a new build of an image is for new machines.
    if wanted is not None and wanted != applied:
        change = FieldChange("image", before=applied or None, after=wanted, impact=Impact.REPLACE)
        yield Difference(change, covers="image")
