"""What the store remembers of machines' addresses: what their marks say, and what is about to be pushed.

So that nobody else gets the address of a machine that cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.operations import Define, Redefine
from reconciler.model.placement import AddressRecord, Phase
from reconciler.model.plan import Plan
from reconciler.planner import Survey
from reconciler.planner.addressing import marked_addresses
from reconciler.store.base import Store


def note_addresses(store: Store, survey: Survey) -> None:
    """Bring the store to what the marks of visible machines say, and forget machines that are gone."""
    known = store.addresses()
    seen: set[AddressRecord] = set()
    visible = set(survey.index.ours) | set(survey.index.twins)
    for name, domain in survey.index.ours.items():
        seen.update(marked_addresses(name, domain))
    for name, twins in survey.index.twins.items():
        for domain in twins:
            seen.update(marked_addresses(name, domain))
    if not known and not seen:
        return
    living = {vm for vm, record in store.records().items() if record.phase is not Phase.RETAINED}
    unseen = {record for record in known if record.vm not in visible and record.vm in living}
    store.put_addresses(seen)
    store.drop_addresses(known - seen - unseen)


def promise_addresses(store: Store, plan: Plan) -> None:
    """Remember the addresses of what is about to be pushed, beside those that are there."""
    store.put_addresses(_promised(plan))


def _promised(plan: Plan) -> Iterable[AddressRecord]:
    for action in plan.actions:
        if not isinstance(action.operation, (Define, Redefine)):
            continue
        for interface in action.operation.config.interfaces or ():
            if interface.address and interface.network and interface.name:
                yield AddressRecord(action.vm, interface.name, interface.network, interface.address)
