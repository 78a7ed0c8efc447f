"""Members of pools: those that a lost store forgot, and those that a plan is about to delete."""

from __future__ import annotations

from reconciler.model.desired import DesiredState
from reconciler.model.placement import parse_key
from reconciler.model.plan import Blocked, Plan, Verb
from reconciler.model.pool import Member, MemberState, pool_slot
from reconciler.model.status import Condition, Event
from reconciler.planner import Survey
from reconciler.planner.hold import leave_out
from reconciler.planner.lent import report
from reconciler.planner.lent.life import UNWANTED
from reconciler.store.base import Store, Subject
from reconciler.store.base_leases import Checkout

UNKNOWN_HOLDER = "unknown (the store was lost)"
"""Who has a machine of a pool of which nothing is on record."""

_FREE = (MemberState.CREATING, MemberState.AVAILABLE, MemberState.CLEANING, MemberState.ERROR)
_NOT_LENT = (*_FREE, MemberState.RETIRING)


def note_found(store: Store, survey: Survey, now: float) -> None:
    """Take machines of pools that nothing is on record of for lent, until any lease must have ended.

    Whoever wrote down where they are without this would take their deletion for what people want.

    Args:
        store: Where; call it in the transaction that writes the whereabouts.
        survey: What was seen.
        now: Epoch seconds by the wall clock, for events.
    """
    pools = survey.situation.desired.machine_pools
    for vm in sorted(survey.index.ours.keys() - survey.situation.records.keys()):
        found = pool_slot(vm)
        if found is None or survey.situation.stray(vm) is None:
            continue
        pool, slot = found
        longest, time = pools[pool].spec.lease.max, store.lease_time()
        # Its slot may have been given away before the machine was seen.
        if not store.add_members([Member(pool, slot, MemberState.AVAILABLE, time)]) and not store.step_member(
            vm, _NOT_LENT, MemberState.AVAILABLE, time, template=""
        ):
            continue
        purpose = "it was found on a host, and nothing was on record of it"
        store.checkout_vm(vm, Checkout(pool, UNKNOWN_HOLDER, purpose, longest, longest), time)
        host = survey.index.ours[vm].host
        message = f"{purpose}: somebody may work with it, so it counts as lent for lease.max"
        store.add_events([Event(now, "LeaseUnknown", message, vm, host, warning=True)])


def claim(store: Store, plan: Plan) -> Plan:
    """The plan without members that are lent, after the others that it deletes are lent to nobody any more.

    Between the look and the push a machine may have been lent: whoever comes first has it.
    """
    going = {change.vm for change in plan.changes if change.verb in (Verb.DELETE, Verb.REPLACE)}
    members = {member.vm: member for member in store.members()} if going else {}
    lent: dict[str, Blocked] = {}
    for vm in sorted(going & members.keys()):
        if members[vm].state is MemberState.RETIRING:
            continue
        if not store.step_member(vm, _FREE, MemberState.RETIRING, store.lease_time(), message=UNWANTED):
            lent[vm] = Blocked(vm, "Leased", "it was lent in the meantime: it stays until it comes back")
    return leave_out(plan, lent)


def pool_conditions_of(store: Store, desired: DesiredState) -> dict[str, tuple[Condition, ...]]:
    """What was last said of pools that are still declared; a look at the machines says nothing of them."""
    if not desired.machine_pools:
        return {}
    return {
        key: said
        for key, said in store.conditions(Subject.VM).items()
        if key.startswith(f"{report.KIND}/") and parse_key(key)[1] in desired.machine_pools
    }
