"""`reconciler inventory`: the machines as an inventory for Ansible, so that a playbook configures them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import click

from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.settings import data_dir
from reconciler.views.ansible import host_name
from reconciler.views.inventory import JUMPS, inventory_of


@click.command(
    epilog="""\b
Examples:
  reconciler inventory --list
  reconciler inventory --host web-1
\b
As an inventory script, two lines in an executable file:
  #!/bin/sh
  exec reconciler inventory --config /etc/reconciler/reconciler.yaml "$@"
\b
As an inventory plugin, with a file reconciler.yml that says `plugin: reconciler`:
  export ANSIBLE_INVENTORY_PLUGINS=$(reconciler inventory --plugin-path)
  ansible-playbook -i reconciler.yml site.yml"""
)
@click.option("--list", "listing", is_flag=True, help="Every machine, with groups and variables. [default]")
@click.option("--host", metavar="NAME", shell_complete=complete_machine, help="The variables of one machine.")
@click.option(
    "--jump",
    type=click.Choice(JUMPS),
    default=JUMPS[0],
    show_default=True,
    help="Reach guests through ssh to their host: auto does it for those on a NAT or isolated network.",
)
@click.option(
    "--plugin-path", is_flag=True, help="Print the folder of the inventory plugin, and nothing else."
)
@options
@remotely
def inventory(app: App, listing: bool, host: str | None, jump: str, plugin_path: bool) -> None:
    """Print the machines as an Ansible inventory (JSON, the protocol of inventory scripts).

    A machine is in the groups on_HOST, state_STATE, type_INSTANCETYPE and label_KEY_VALUE. Stopped
    machines are listed too, and so are those whose host does not answer, in the group state_unknown.
    """
    if plugin_path:
        click.echo(data_dir("playbooks") / "inventory_plugins")
        return
    if listing and host is not None:
        raise UsageError("give either --list or --host NAME")
    if app.environment.reads_inventory:
        raise UsageError(
            "this inventory is one of those that reconciler itself reads its hosts from: it would ask itself",
            hint="keep the hosts and the machines in inventories of different folders",
        )
    made = app.remote.view("inventory", jump) if app.remote else _local(app, jump)
    for note in made["notes"]:
        click.echo(f"note: {note}", err=True)
    listing_ = made["listing"]
    if host is None:
        click.echo(json.dumps(listing_, indent=2))
        return
    known: Mapping[str, Any] = listing_["_meta"]["hostvars"]
    found = known.get(host) or known.get(host_name(host))
    if found is None:
        raise UsageError(f"there is no machine {host!r} on any host", hint="see: reconciler get vms")
    click.echo(json.dumps(found, indent=2))


def _local(app: App, jump: str) -> dict[str, Any]:
    with app.engine() as engine:
        rooms = engine.rooms
        desired = rooms.source.read()
        hosts = rooms.inventory.hosts()
        return cast(
            "dict[str, Any]", inventory_of(rooms, (desired, hosts, rooms.observer.observe(hosts)), jump)
        )
