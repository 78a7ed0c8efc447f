"""What one look at the world says of each member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.plan import Plan
from reconciler.model.pool import Member
from reconciler.model.readiness import Guests
from reconciler.model.status import ConditionStatus
from reconciler.planner.conditions import ready_of
from reconciler.planner.lent.expand import HELD
from reconciler.planner.survey import Survey


class Trace(StrEnum):
    """What is there of a machine.

    ``DOMAIN`` is seen.  ``DISKS`` are seen, and no domain.  ``HIDDEN``: it may be on a host that does not
    answer.  ``NOTHING``: neither domain nor disk, on any host that might have them.
    """

    DOMAIN = "domain"
    DISKS = "disks"
    HIDDEN = "hidden"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Seen:
    """One member at one look.

    Attributes:
        trace: What is there of it.
        ready: As its condition Ready; Unknown if its host does not answer.
        reason: CamelCase word for that.
        message: In words.
        busy: Something is about to be done to it.
        unready_for: Seconds for which it has not been ready; 0 if it is.
    """

    trace: Trace = Trace.NOTHING
    ready: ConditionStatus = ConditionStatus.FALSE
    reason: str = "NotCreated"
    message: str = "it does not exist"
    busy: bool = False
    unready_for: float = 0.0

    @property
    def usable(self) -> bool:
        """It can be lent: it is there, ready, and nobody works on it."""
        return self.trace is Trace.DOMAIN and self.ready is ConditionStatus.TRUE and not self.busy


def look_at_members(
    survey: Survey, plan: Plan, guests: Guests, members: Iterable[Member], now: float
) -> dict[str, Seen]:
    """Each member by its machine's name.

    Args:
        survey: What was seen, sorted.
        plan: What follows.
        guests: What is known of the guests.
        members: Those that are asked about.
        now: Epoch seconds by the wall clock, as guests are recorded.
    """
    acting = {action.vm for action in plan.actions}
    blocked = {refusal.vm: refusal for refusal in plan.blocked}
    found = {}
    for member in members:
        vm = member.vm
        trace, refusal = trace_of(survey, vm), blocked.get(vm)
        domain = survey.index.ours.get(vm)
        if domain is not None and (refusal is None or refusal.reason in HELD):
            wanted = survey.situation.desired.machines.get(vm)
            status, reason, message = ready_of(vm, wanted, domain, guests, now)
        elif trace is Trace.HIDDEN:
            record = survey.situation.records[vm]
            status, reason = ConditionStatus.UNKNOWN, "HostUnknown"
            message = survey.situation.why_unknown(record.host)
        elif refusal is not None:
            status, reason, message = ConditionStatus.FALSE, refusal.reason, refusal.message
        else:
            nothing = Seen()
            status, reason, message = nothing.ready, nothing.reason, nothing.message
        found[vm] = Seen(trace, status, reason, message, vm in acting)
    return found


def trace_of(survey: Survey, vm: str) -> Trace:
    """What is there of a machine."""
    index, situation = survey.index, survey.situation
    if vm in index.ours or vm in index.twins:
        return Trace.DOMAIN
    record = situation.records.get(vm)
    if record is not None and not situation.known(record.host):
        return Trace.HIDDEN
    return Trace.DISKS if index.kept.get(vm) else Trace.NOTHING


def occupied(survey: Survey, vm: str) -> bool:
    """True if a slot cannot be used for a new machine: something of that name is there, or may be."""
    situation = survey.situation
    return (
        vm in situation.desired.machines
        or vm in situation.records
        or vm in survey.index.by_domain_name
        or trace_of(survey, vm) is not Trace.NOTHING
    )
