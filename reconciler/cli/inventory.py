"""`reconciler inventory`: the machines as an inventory for Ansible, so that a playbook configures them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import click

from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.inventory_view import Guest, Jump, host_name, view
from reconciler.errors import UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.domain import AddressSource, DomainState, GuestAddress, ObservedDomain
from reconciler.model.host import Fleet, Host
from reconciler.model.network import NetworkMode
from reconciler.model.placement import Phase, Record
from reconciler.observed.fleet import Observer
from reconciler.observed.uri import parse_uri
from reconciler.settings import data_dir

_SIDE_BY_SIDE = 16
_BEHIND_ITS_HOST = (NetworkMode.NAT, NetworkMode.ISOLATED)


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
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Reach guests through ssh to their host: auto does it for those on a NAT or isolated network.",
)
@click.option(
    "--plugin-path", is_flag=True, help="Print the folder of the inventory plugin, and nothing else."
)
@options
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
    with app.engine() as engine:
        rooms = engine.rooms
        desired = rooms.source.read()
        hosts = rooms.inventory.hosts()
        fleet = rooms.observer.observe(hosts)
        guests = list(_guests(desired, fleet, rooms.store.records()))
        guests = _with_addresses(guests, rooms.observer, hosts, fleet)
    made = view(guests, _jump(jump, desired, hosts))
    for unknown in (seen for seen in fleet.values() if not seen.known):
        click.echo(f"note: host {unknown.name} does not answer: {unknown.message}", err=True)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    if host is None:
        click.echo(json.dumps(made.listing, indent=2))
        return
    found = made.host(host) or made.host(host_name(host))
    if found is None:
        raise UsageError(f"there is no machine {host!r} on any host", hint="see: reconciler get vms")
    click.echo(json.dumps(found, indent=2))


def _guests(desired: DesiredState, fleet: Fleet, records: Mapping[str, Record]) -> Iterator[Guest]:
    """The desired machines that exist, as far as one can know."""
    domains: dict[str, ObservedDomain] = {
        domain.applied.name: domain
        for seen in fleet.values()
        for domain in seen.domains.values()
        if domain.applied is not None
    }
    for name, vm in desired.machines.items():
        domain, record = domains.get(name), records.get(name)
        if domain is not None:
            yield Guest(vm, domain.host, domain.uuid, domain)
        elif record is not None and record.phase is Phase.PLACED and not _known(fleet, record.host):
            yield Guest(vm, record.host, record.uid, None)


def _with_addresses(
    guests: Iterable[Guest], observer: Observer, hosts: Mapping[str, Host], fleet: Fleet
) -> list[Guest]:
    """The guests with their addresses: what leases and reservations tell, and what a question does.

    Agents and ARP tables cost a question a guest, so only those that run without a lease are asked for.
    """
    known = observer.addresses(fleet)

    def find(guest: Guest) -> Guest:
        addresses = known.get(guest.uid, ())
        leased = any(each.source is AddressSource.LEASE for each in addresses)
        if guest.domain is not None and guest.domain.state is DomainState.RUNNING and not leased:
            addresses += observer.ask_addresses(hosts[guest.host], guest.uid)
        return replace(guest, addresses=addresses)

    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="inventory") as pool:
        return list(pool.map(find, guests))


def _known(fleet: Fleet, host: str) -> bool:
    return host in fleet and fleet[host].known


def _jump(wish: str, desired: DesiredState, hosts: Mapping[str, Host]) -> Jump:
    """Who is reached through the ssh of which host."""

    def jump(guest: Guest, address: GuestAddress) -> Sequence[str] | None:
        if wish == "never" or guest.host not in hosts:
            return None
        route = parse_uri(hosts[guest.host].uri)
        if not route.over_ssh or (wish == "auto" and not _behind(guest, address, desired)):
            return None
        return route.ssh_command()

    return jump


def _behind(guest: Guest, address: GuestAddress, desired: DesiredState) -> bool:
    """True if only the guest's host has a way to it: its network is known for that, or unknown.

    Networks that nobody declared are most often libvirt's own ``default``, which is one of NAT.
    """
    config = guest.domain.live or guest.domain.config if guest.domain else None
    nics = config.interfaces or () if config else ()
    network = next((nic.network for nic in nics if nic.mac == address.mac), None)
    if network is None:
        return False
    declared = desired.networks.get(network)
    return declared is None or declared.spec.mode in _BEHIND_ITS_HOST
