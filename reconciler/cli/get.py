"""`reconciler get`, `describe` and `events`: what is, and what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.completion import complete_host, complete_machine
from reconciler.cli.listing import Item, Listing, Row, print_list, seen
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.model.units import format_size, parse_size
from reconciler.views.events import event_data, event_lines
from reconciler.views.machines import manifest_data


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
@remotely
def get_vms(app: App, selector: str, output: str) -> None:
    """Machines: where they are and how they are."""
    wanted = parse_selector(selector)
    found = [
        one
        for one in seen(app, "vms")
        if all(one["metadata"].get("labels", {}).get(key) == value for key, value in wanted.items())
    ]
    print_list(found, _WIDE_VMS if output == "wide" else _VMS, output)


def _vm(one: Item) -> Row:
    status = one.get("status") or {}
    by_type = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = by_type.get("Ready")
    worst = next(
        (c for c in (by_type.get("Placed"), by_type.get("RestartRequired"), ready) if _speaks(c)), ready
    )
    how = (ready["status"] if ready else "Unknown", worst["reason"] if worst else "NotSeenYet")
    name = one["metadata"]["name"]
    if not status.get("host"):
        return (name, "-", "-", "-", "-", *how)
    memory = format_size(status["memory"]) if status.get("memory") is not None else "-"
    return (name, status["host"], status["state"] or "-", str(status.get("cpus") or "-"), memory, *how)


def _speaks(condition: Item | None) -> bool:
    """True for a condition that a person should look at first."""
    if condition is None:
        return False
    return bool(condition["status"] == ("True" if condition["type"] == "RestartRequired" else "False"))


def _addresses(one: Item) -> str:
    """A machine's addresses, each with who says so."""
    by_address: dict[str, list[str]] = {}
    for told in (one.get("status") or {}).get("addresses") or ():
        by_address.setdefault(told["address"], []).append(str(told["source"]))
    return ",".join(f"{address}({'+'.join(sources)})" for address, sources in by_address.items()) or "-"


_VMS = Listing(("NAME", "HOST", "STATE", "CPUS", "MEMORY", "READY", "REASON"), _vm, "no machines are desired")
_WIDE_VMS = Listing((*_VMS.headings, "ADDRESSES"), lambda one: (*_vm(one), _addresses(one)), _VMS.nothing)


@get.command("hosts")
@output_option
@options
@remotely
def get_hosts(app: App, output: str) -> None:
    """Hosts: whether they answer, and what is free."""
    print_list(seen(app, "hosts"), _HOSTS, output)


def _host(one: Item) -> Row:
    status = one["status"] + (",Maintenance" if one["maintenance"] else "")
    labels = ",".join(f"{key}={value}" for key, value in sorted(one["labels"].items())) or "-"
    if one["status"] != "Ready":
        return (one["name"], status, "?", "?", "?", "?", "?", "?", labels)
    return (
        one["name"],
        status,
        str(len(one["domains"])),
        str(sum(domain["ours"] for domain in one["domains"])),
        str(one["cpus"]),
        f"{one['memory'] / (1 << 30):.1f}Gi",
        one["libvirtVersion"],
        ",".join(one["virtTypes"]),
        labels,
    )


_HOSTS = Listing(
    ("NAME", "STATUS", "DOMAINS", "OURS", "CPUS", "MEMORY", "LIBVIRT", "TYPES", "LABELS"),
    _host,
    "the inventory has no hosts",
)


@get.command("images")
@output_option
@options
@remotely
def get_images(app: App, output: str) -> None:
    """Images of the desired state."""
    print_list(_declared(app, "images"), _IMAGES, output)


def _image(one: Item) -> Row:
    spec = one["spec"]
    digest = spec.get("sha256") or spec.get("sha512") or ""
    volume = spec.get("volume")
    source = (
        spec.get("path") or spec.get("url") or (f"volume {volume['pool']}/{volume['name']}" if volume else "")
    )
    return (one["metadata"]["name"], spec.get("format", "qcow2"), digest[:16] or "unknown", source)


_IMAGES = Listing(("NAME", "FORMAT", "DIGEST", "SOURCE"), _image, "no images are desired")


@get.command("instancetypes")
@output_option
@options
@remotely
def get_instance_types(app: App, output: str) -> None:
    """Instance types of the desired state."""
    print_list(_declared(app, "instancetypes"), _INSTANCE_TYPES, output)


def _instance_type(one: Item) -> Row:
    spec = one["spec"]
    return (one["metadata"]["name"], str(spec["cpus"]), format_size(parse_size(spec["memory"])))


_INSTANCE_TYPES = Listing(("NAME", "CPUS", "MEMORY"), _instance_type, "no instance types are desired")


def _declared(app: App, collection: str) -> list[Any]:
    """The objects of the desired state, which no host need be asked for."""
    if app.remote is not None:
        return list(app.remote.objects(collection))
    state = app.source.read()
    found: Mapping[str, Any] = state.images if collection == "images" else state.instance_types
    return [manifest_data(one) for _, one in sorted(found.items())]


@click.command(
    epilog="""\b
Examples:
  reconciler describe web-1
  reconciler describe volume/data"""
)
@click.argument("vm", metavar="VM|KIND/NAME", shell_complete=complete_machine)
@output_option
@options
@remotely
def describe(app: App, vm: str, output: str) -> None:
    """Everything about one machine or volume: wanted, applied, observed, conditions, events."""
    found = seen(app, "describe", vm)
    if output == "json":
        print_json(found["data"])
        return
    for line in found["lines"]:
        click.echo(line)


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
@remotely
def events(app: App, vm: str | None, host: str | None, limit: int, follow: bool, output: str) -> None:
    """What happened, oldest first. With -o json a line is a document, so that a follower can read it."""
    if app.remote is not None:
        told = app.remote.events(vm=vm, host=host, limit=limit, follow=follow)
        for event in told:
            _tell([event], output)
        return
    found = tuple(reversed(app.store.events(vm=vm, host=host, limit=limit)))
    _tell(map(event_data, found), output)
    last = found[-1].id if found else 0
    while follow:
        time.sleep(0.5)
        new = app.store.events(after=last, vm=vm, host=host, limit=1000, oldest_first=True)
        _tell(map(event_data, new), output)
        last = new[-1].id if new else last


def _tell(events_: Iterable[Item], output: str) -> None:
    for line in event_lines(events_) if output == "text" else map(json.dumps, events_):
        click.echo(line)


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
