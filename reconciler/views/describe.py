"""Everything about one object: wanted, applied, observed, conditions, events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from reconciler.engine import Engine, Look
from reconciler.errors import UsageError
from reconciler.model.domain import ObservedDomain
from reconciler.model.status import Condition, Event
from reconciler.model.units import format_size
from reconciler.views.events import event_data, event_lines
from reconciler.views.glance import Addresses, Data, Glance, ago, domains_by_name
from reconciler.views.machine_pools import describe_pool
from reconciler.views.machines import condition_data, machine_data
from reconciler.views.networks import describe_network
from reconciler.views.storage import describe_volume
from reconciler.views.tables import table

DESCRIBERS: Mapping[str, Callable[[Look, str], list[str]]] = {
    "volume": describe_volume,
    "network": describe_network,
}
"""By kind in lower case: how an object that is no machine is described."""

_EVENTS = 10


def describe(glance: Glance, about: str) -> Data:
    """``data`` for programs, and ``lines`` for people.

    Args:
        glance: What was seen.
        about: A machine, or ``KIND/NAME``.

    Raises:
        UsageError: There is none of this name.
    """
    kind, slash, name = about.partition("/")
    if slash and kind.lower() == "virtualmachinepool":
        return _object(glance, f"VirtualMachinePool/{name}", describe_pool(glance, name))
    other = DESCRIBERS.get(kind.lower()) if slash else None
    if other is not None:
        return _object(glance, f"{kind.capitalize()}/{name}", other(glance.look, name))
    return _machine(glance, about)


def _object(glance: Glance, key: str, lines: list[str]) -> Data:
    conditions = glance.engine.conditions(glance.look).get(key, ())
    told = glance.engine.rooms.store.events(vm=key, limit=_EVENTS)
    return {
        "data": {
            "object": key,
            "described": lines,
            "conditions": [condition_data(condition) for condition in conditions],
            "events": [event_data(event) for event in told],
        },
        "lines": [*lines, *_condition_lines(conditions), *_event_lines(told)],
    }


def _machine(glance: Glance, vm: str) -> Data:
    engine, look = glance.engine, glance.look
    machine, domain = look.desired.machines.get(vm), domains_by_name(look).get(vm)
    if machine is None and domain is None:
        message = f"there is no machine {vm!r}, neither desired nor on a host"
        raise UsageError(message, hint="see: reconciler get vms")
    conditions = engine.conditions(look).get(vm, ())
    known = _asked(engine, look, domain)
    told = engine.rooms.store.events(vm=vm, limit=_EVENTS)
    described: Data = {"metadata": {"name": vm}, "status": {}}
    if machine is not None:
        described = machine_data(machine, domain, conditions, known)
    observed = asdict(domain) if domain else None
    lines = [*_lines(look, vm, domain), *_address_lines(domain, known), *_condition_lines(conditions)]
    return {
        "data": {**described, "observed": observed, "events": [event_data(event) for event in told]},
        "lines": [*lines, *_event_lines(told)],
    }


def _event_lines(told: Iterable[Event]) -> list[str]:
    found = event_lines(event_data(event) for event in reversed(tuple(told)))
    return ["Events:", *("  " + line.strip() for line in found or ["none"])]


def _asked(engine: Engine, look: Look, domain: ObservedDomain | None) -> Addresses:
    """What is known of one machine's addresses, with what its agent, its DHCP and its host say now."""
    if domain is None:
        return {}
    known = engine.rooms.observer.addresses({domain.host: look.fleet[domain.host]}).get(domain.uuid, ())
    told = engine.rooms.observer.ask_addresses(look.hosts[domain.host], domain.uuid) if domain.live else ()
    return {domain.uuid: tuple(dict.fromkeys([*told, *known]))}


def _address_lines(domain: ObservedDomain | None, known: Addresses) -> Iterable[str]:
    for one in known.get(domain.uuid, ()) if domain is not None else ():
        where = f" {one.interface}" if one.interface else ""
        yield f"Address:   {one.address} ({one.source},{where} {one.mac})"


def _lines(look: Look, vm: str, domain: ObservedDomain | None) -> Iterable[str]:
    origin = look.desired.origins.get(f"VirtualMachine/{vm}")
    yield f"Name:      {vm}"
    where = f"{origin.file}:{origin.line}" if origin else "no longer"
    yield f"Declared:  {where} at {look.desired.revision[:12]}"
    if domain is None:
        record = look.records.get(vm)
        yield f"Host:      {f'{record.host} ({record.phase})' if record else 'none yet'}"
    else:
        yield f"Host:      {domain.host}"
        yield f"Uid:       {domain.uuid}"
        yield f"State:     {domain.state}" + (f" ({domain.state_reason})" if domain.state_reason else "")
        yield from _config_lines(domain)


def _condition_lines(conditions: Iterable[Condition]) -> Iterable[str]:
    yield "Conditions:"
    rows = [(c.type, str(c.status), c.reason, ago(c.last_transition_time), c.message) for c in conditions]
    yield from ("  " + line for line in table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows))


def _config_lines(domain: ObservedDomain) -> Iterable[str]:
    config = domain.live or domain.config
    memory = format_size(config.memory) if config.memory is not None else "?"
    yield f"Size:      {config.cpus} cpus (up to {config.max_cpus}), {memory} memory"
    for disk in config.disks or ():
        yield f"Disk:      {disk.name or disk.target} {disk.path}"
    for interface in config.interfaces or ():
        yield f"Interface: {interface.name or '-'} {interface.mac} on {interface.network or interface.bridge}"
    if domain.applied:
        yield f"Applied:   generation {domain.applied.generation}"
