"""Machines: what is desired of them, and how they are."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from reconciler.bookkeeping.statuses import machine_status
from reconciler.desired.writer import to_plain
from reconciler.model.domain import ObservedDomain
from reconciler.model.manifest import VirtualMachine
from reconciler.model.status import Condition
from reconciler.views.glance import Addresses, Data, Glance, domains_by_name, stamp


def machines(glance: Glance) -> list[Data]:
    """Every desired machine with its status, by name."""
    look = glance.look
    conditions = glance.engine.conditions(look)
    known = glance.engine.rooms.observer.addresses(look.fleet)
    found = domains_by_name(look)
    return [
        machine_data(machine, found.get(name), conditions.get(name, ()), known)
        for name, machine in sorted(look.desired.machines.items())
    ]


def manifest_data(manifest: BaseModel) -> Data:
    """An object as it stands in YAML."""
    return to_plain(manifest)


def machine_data(
    machine: VirtualMachine,
    domain: ObservedDomain | None,
    conditions: Iterable[Condition],
    known: Addresses,
) -> Data:
    """A machine's manifest with a status; sizes in bytes, as it has them while it runs."""
    nowhere: Data = {"host": None, "uid": None, "state": None, "generation": 0, "addresses": []}
    seen = machine_status(domain, known.get(domain.uuid, ())) if domain else nowhere
    status = {**dict(sorted(seen.items())), "conditions": _by_type(conditions)}
    return {**manifest_data(machine), "status": status}


def _by_type(conditions: Iterable[Condition]) -> list[Data]:
    return [condition_data(one) for one in sorted(conditions, key=lambda one: one.type)]


def condition_data(condition: Condition) -> Data:
    """A condition, in Kubernetes' words."""
    return {
        "type": condition.type,
        "status": str(condition.status),
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": stamp(condition.last_transition_time),
        "observedGeneration": condition.observed_generation,
    }
