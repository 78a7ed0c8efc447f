"""`reconciler get`, `describe` and `events`: what is, and what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from reconciler.cli.app import App, options, output_option, print_json, table
from reconciler.cli.completion import complete_host, complete_machine
from reconciler.engine import Engine, Look
from reconciler.errors import UsageError
from reconciler.model.domain import GuestAddress, ObservedDomain
from reconciler.model.host import ObservedHost
from reconciler.model.manifest import VirtualMachine
from reconciler.model.placement import parse_volume_name
from reconciler.model.status import Condition, Event
from reconciler.model.units import format_duration, format_size
from reconciler.planner.resolve import volume_path

Row = tuple[str, ...]
Addresses = Mapping[str, Sequence[GuestAddress]]
"""What is known, by domain UUID."""


@click.group(
    name="get",
    epilog="""\b
Examples:
  reconciler get vms
  reconciler get hosts -o json
  reconciler get vms -l app=web""",
)
def get() -> None:
    """List machines, hosts, images or instance types."""


@get.command("vms")
@click.option("-l", "--selector", default="", metavar="KEY=VALUE,…", help="Only machines with these labels.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json"]),
    default="text",
    show_default=True,
    help="How to print; wide shows addresses too.",
)
@options
def get_vms(app: App, selector: str, output: str) -> None:
    """Machines: where they are and how they are."""
    wanted = parse_selector(selector)
    with app.engine() as engine:
        look = engine.look()
        conditions = engine.conditions(look)
        known = engine.rooms.observer.addresses(look.fleet)
    machines = [
        machine
        for name, machine in sorted(look.desired.machines.items())
        if all(machine.metadata.labels.get(key) == value for key, value in wanted.items())
    ]
    found = domains_by_name(look)
    if output == "json":
        print_json([_vm_json(machine, found.get(machine.name), conditions, known) for machine in machines])
        return
    rows = [
        _vm_row(machine, found.get(machine.name), conditions.get(machine.name, ())) for machine in machines
    ]
    headings: Row = ("NAME", "HOST", "STATE", "CPUS", "MEMORY", "READY", "REASON")
    if output == "wide":
        headings = (*headings, "ADDRESSES")
        rows = [(*row, _wide(found.get(row[0]), known)) for row in rows]
    _print(headings, rows, "no machines are desired")


def _wide(domain: ObservedDomain | None, known: Addresses) -> str:
    """A machine's addresses, each with who says so."""
    told = known.get(domain.uuid, ()) if domain is not None else ()
    by_address: dict[str, list[str]] = {}
    for one in told:
        by_address.setdefault(one.address, []).append(str(one.source))
    return ",".join(f"{address}({'+'.join(sources)})" for address, sources in by_address.items()) or "-"


def domains_by_name(look: Look) -> Mapping[str, ObservedDomain]:
    """Our domains by their machine's name."""
    return {
        domain.applied.name: domain
        for host in look.fleet.values()
        for domain in host.domains.values()
        if domain.applied is not None
    }


def _vm_row(machine: VirtualMachine, domain: ObservedDomain | None, conditions: Iterable[Condition]) -> Row:
    by_type = {condition.type: condition for condition in conditions}
    ready = by_type.get("Ready")
    worst = next(
        (c for c in (by_type.get("Placed"), by_type.get("RestartRequired"), ready) if _speaks(c)), ready
    )
    status = (str(ready.status) if ready else "Unknown", worst.reason if worst else "NotSeenYet")
    if domain is None:
        return (machine.name, "-", "-", "-", "-", *status)
    config = domain.live or domain.config
    memory = format_size(config.memory) if config.memory is not None else "-"
    return (machine.name, domain.host, str(domain.state), str(config.cpus or "-"), memory, *status)


def _speaks(condition: Condition | None) -> bool:
    """True for a condition that a person should look at first."""
    if condition is None:
        return False
    return condition.status == ("True" if condition.type == "RestartRequired" else "False")


def _vm_json(
    machine: VirtualMachine,
    domain: ObservedDomain | None,
    conditions: Mapping[str, Iterable[Condition]],
    known: Addresses,
) -> dict[str, object]:
    applied = domain.applied if domain else None
    addresses = known.get(domain.uuid, ()) if domain else ()
    return {
        **machine.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "status": {
            "host": domain.host if domain else None,
            "uid": domain.uuid if domain else None,
            "state": str(domain.state) if domain else None,
            "generation": applied.generation if applied else 0,
            "addresses": [asdict(address) for address in addresses],
            "conditions": [_condition_json(condition) for condition in conditions.get(machine.name, ())],
        },
    }


def _condition_json(condition: Condition) -> dict[str, object]:
    return {
        "type": condition.type,
        "status": str(condition.status),
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": stamp(condition.last_transition_time),
        "observedGeneration": condition.observed_generation,
    }


@get.command("hosts")
@output_option
@options
def get_hosts(app: App, output: str) -> None:
    """Hosts: whether they answer, and what is free."""
    with app.engine() as engine:
        look = engine.look()
    if output == "json":
        print_json([_host_json(look, host) for _, host in sorted(look.fleet.items())])
        return
    rows = [_host_row(look, host) for _, host in sorted(look.fleet.items())]
    headings = ("NAME", "STATUS", "DOMAINS", "OURS", "CPUS", "MEMORY", "LIBVIRT", "TYPES", "LABELS")
    _print(headings, rows, "the inventory has no hosts")


def _host_row(look: Look, host: ObservedHost) -> Row:
    described = look.hosts[host.name]
    status = str(host.status) + (",Maintenance" if described.maintenance else "")
    labels = ",".join(f"{key}={value}" for key, value in sorted(described.labels.items())) or "-"
    if not host.known:
        return (host.name, status, "?", "?", "?", "?", "?", "?", labels)
    ours = sum(domain.applied is not None for domain in host.domains.values())
    memory = f"{host.memory / (1 << 30):.1f}Gi"
    types = ",".join(sorted(host.virt_types))
    return (
        host.name,
        status,
        str(len(host.domains)),
        str(ours),
        str(host.cpus),
        memory,
        host.libvirt_version,
        types,
        labels,
    )


def _host_json(look: Look, host: ObservedHost) -> dict[str, object]:
    described = look.hosts[host.name]
    return {
        "name": host.name,
        "uri": described.uri,
        "status": str(host.status),
        "message": host.message,
        "maintenance": described.maintenance,
        "labels": dict(described.labels),
        "arch": host.arch,
        "cpus": host.cpus,
        "memory": host.memory,
        "libvirtVersion": host.libvirt_version,
        "hypervisorVersion": host.hypervisor_version,
        "virtTypes": sorted(host.virt_types),
        "networks": sorted(host.networks),
        "pools": [
            {
                "name": p.name,
                "path": p.path,
                "active": p.active,
                "capacity": p.capacity,
                "available": p.available,
            }
            for _, p in sorted(host.pools.items())
        ],
        "domains": [
            {"name": d.name, "uuid": d.uuid, "state": str(d.state), "ours": d.applied is not None}
            for d in sorted(host.domains.values(), key=lambda domain: domain.name)
        ],
    }


@get.command("images")
@output_option
@options
def get_images(app: App, output: str) -> None:
    """Images of the desired state."""
    images = [image for _, image in sorted(app.source.read().images.items())]
    if output == "json":
        print_json([image.model_dump(mode="json", by_alias=True, exclude_defaults=True) for image in images])
        return
    rows = [(i.name, str(i.spec.format), i.spec.digest[:16] or "unknown", i.spec.source) for i in images]
    _print(("NAME", "FORMAT", "DIGEST", "SOURCE"), rows, "no images are desired")


@get.command("instancetypes")
@output_option
@options
def get_instance_types(app: App, output: str) -> None:
    """Instance types of the desired state."""
    types = [kind for _, kind in sorted(app.source.read().instance_types.items())]
    if output == "json":
        print_json([kind.model_dump(mode="json", by_alias=True, exclude_defaults=True) for kind in types])
        return
    rows = [(kind.name, str(kind.spec.cpus), format_size(kind.spec.memory)) for kind in types]
    _print(("NAME", "CPUS", "MEMORY"), rows, "no instance types are desired")


@get.command(
    "disks",
    epilog="""\b
Examples:
  reconciler get disks
  reconciler get disks --kept     # whose machine is gone; `reconciler discard` deletes them""",
)
@click.option("--kept", is_flag=True, help="Only those that no machine has any more.")
@output_option
@options
def get_disks(app: App, kept: bool, output: str) -> None:
    """Disks that were made for machines, and those that were kept when their machine went."""
    with app.engine() as engine:
        look = engine.look()
    found = [disk for disk in disks_of(look) if disk["used"] == "no" or not kept]
    if output == "json":
        print_json(found)
        return
    rows = [(d["machine"], d["disk"], d["host"], d["pool"], d["used"], d["volume"]) for d in found]
    _print(("MACHINE", "DISK", "HOST", "POOL", "USED", "VOLUME"), rows, "no disks were found")


def disks_of(look: Look) -> list[dict[str, str]]:
    """Every disk of ours in the pools of the hosts that answer; ``used`` says whether a domain has it."""
    found = []
    for host in look.fleet.values():
        paths = {
            disk.path
            for domain in host.domains.values()
            for config in (domain.config, domain.live)
            for disk in (config.disks if config else None) or ()
        }
        for pool in host.pools.values():
            for volume in pool.volumes:
                parsed = parse_volume_name(volume)
                if parsed is not None:
                    machine, uid, disk = parsed
                    used = "yes" if volume_path(pool, volume) in paths else "no"
                    place = {"host": host.name, "pool": pool.name, "volume": volume}
                    found.append({"machine": machine, "uid": uid, "disk": disk, "used": used, **place})
    return sorted(found, key=lambda disk: (disk["machine"], disk["host"], disk["disk"]))


DESCRIBERS: dict[str, Callable[[Look, str], list[str]]] = {}
"""By kind in lower case: how an object that is no machine is described."""


@click.command(
    epilog="""\b
Examples:
  reconciler describe web-1
  reconciler describe volume/data"""
)
@click.argument("vm", metavar="VM|KIND/NAME", shell_complete=complete_machine)
@output_option
@options
def describe(app: App, vm: str, output: str) -> None:
    """Everything about one machine or volume: wanted, applied, observed, conditions, events."""
    kind, slash, name = vm.partition("/")
    other = DESCRIBERS.get(kind.lower()) if slash else None
    vm = f"{kind.capitalize()}/{name}" if other is not None else vm
    with app.engine() as engine:
        look = engine.look()
        store = engine.rooms.store
        conditions = engine.conditions(look)
        events_of = store.events(vm=vm, limit=10)
        domain = domains_by_name(look).get(vm) if other is None else None
        known = _asked(engine, look, domain)
    if other is not None:
        _tell([*other(look, name), *_condition_lines(conditions.get(vm, ()))], events_of)
        return
    machine = look.desired.machines.get(vm)
    if machine is None and domain is None:
        raise UsageError(
            f"there is no machine {vm!r}, neither desired nor on a host", hint="see: reconciler get vms"
        )
    if output == "json":
        described = (
            _vm_json(machine, domain, conditions, known)
            if machine
            else {"metadata": {"name": vm}, "status": {}}
        )
        print_json(
            {
                **described,
                "observed": asdict(domain) if domain else None,
                "events": [_event_json(e) for e in events_of],
            }
        )
        return
    lines = list(_describe_lines(look, vm, domain, conditions.get(vm, ())))
    at = lines.index("Conditions:")
    _tell([*lines[:at], *_address_lines(domain, known), *lines[at:]], events_of)


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


def _tell(lines: Iterable[str], events_of: Sequence[Event]) -> None:
    for line in lines:
        click.echo(line)
    click.echo("Events:")
    for line in event_lines(reversed(events_of)) or ["  none"]:
        click.echo("  " + line.strip())


def _describe_lines(
    look: Look, vm: str, domain: ObservedDomain | None, conditions: Iterable[Condition]
) -> Iterable[str]:
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
    yield from _condition_lines(conditions)


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


@click.command(
    epilog="""\b
Examples:
  reconciler events
  reconciler events --vm web-1
  reconciler events --follow"""
)
@click.option("--vm", help="Only this machine.", shell_complete=complete_machine)
@click.option("--host", help="Only this host.", shell_complete=complete_host)
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1))
@click.option("-f", "--follow", is_flag=True, help="Go on printing events as they happen.")
@output_option
@options
def events(app: App, vm: str | None, host: str | None, limit: int, follow: bool, output: str) -> None:
    """What happened, oldest first. With -o json a line is a document, so that a follower can read it."""
    show: Callable[[Iterable[Event]], list[str]] = event_lines if output == "text" else _json_lines
    found = tuple(reversed(app.store.events(vm=vm, host=host, limit=limit)))
    for line in show(found):
        click.echo(line)
    last = found[-1].id if found else 0
    while follow:
        time.sleep(0.5)
        new = app.store.events(after=last, vm=vm, host=host, limit=1000, oldest_first=True)
        for line in show(new):
            click.echo(line)
        last = new[-1].id if new else last


def event_lines(events_: Iterable[Event]) -> list[str]:
    """One line an event."""
    return [
        f"{stamp(e.time)}  {'Warning' if e.warning else 'Normal ':7}  {e.reason:<18} "
        f"{e.vm or e.host}{f' on {e.host}' if e.vm and e.host else ''}: {e.message}"
        for e in events_
    ]


def _json_lines(events_: Iterable[Event]) -> list[str]:
    return [json.dumps(_event_json(event)) for event in events_]


def _event_json(event: Event) -> dict[str, object]:
    return {**asdict(event), "time": stamp(event.time)}


def parse_selector(text: str) -> dict[str, str]:
    """Labels of ``app=web,tier=1``.

    Raises:
        UsageError: Not such a list.
    """
    wanted = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise UsageError(f"{part!r} is not a selector such as app=web")
        wanted[key] = value
    return wanted


def stamp(seconds: float) -> str:
    """RFC 3339, UTC, seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float) -> str:
    """How long ago, in the largest units."""
    return format_duration(max(0, int(time.time() - seconds))) if seconds else "-"


def _print(headings: Row, rows: Sequence[Row], nothing: str) -> None:
    if not rows:
        click.echo(nothing, err=True)
        return
    for line in table(headings, rows):
        click.echo(line)
