"""The machines as an inventory for Ansible, with what a person should know about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from reconciler.engine import Rooms
from reconciler.errors import UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.domain import AddressSource, DomainState, GuestAddress, ObservedDomain
from reconciler.model.host import Fleet, Host
from reconciler.model.network import NetworkMode
from reconciler.model.placement import Phase, Record
from reconciler.observed.fleet import Observer
from reconciler.observed.uri import parse_uri
from reconciler.views.ansible import Guest, Jump, view
from reconciler.views.glance import Data, Glance

JUMPS = ("auto", "always", "never")
_SIDE_BY_SIDE = 16
_BEHIND_ITS_HOST = (NetworkMode.NAT, NetworkMode.ISOLATED)


def inventory(glance: Glance, jump: str = "") -> Data:
    """Of what a look saw; see `inventory_of`."""
    look = glance.look
    return inventory_of(glance.engine.rooms, (look.desired, look.hosts, look.fleet), jump)


def inventory_of(rooms: Rooms, seen: tuple[DesiredState, Mapping[str, Host], Fleet], jump: str = "") -> Data:
    """``listing`` for Ansible, and ``notes`` for people.

    Args:
        rooms: Its store and observer are asked for more.
        seen: What is desired, the hosts, and what they answered.
        jump: Who is reached through the ssh of their host: a word of `JUMPS`, or nothing for the first.

    Raises:
        UsageError: There is no such way.
    """
    way = jump or JUMPS[0]
    if way not in JUMPS:
        raise UsageError(f"{jump!r} is none of: {', '.join(JUMPS)}")
    desired, hosts, fleet = seen
    guests = list(_guests(desired, fleet, rooms.store.records()))
    made = view(_with_addresses(guests, rooms.observer, hosts, fleet), _jump(way, desired, hosts))
    silent = [
        f"host {unknown.name} does not answer: {unknown.message}"
        for unknown in fleet.values()
        if not unknown.known
    ]
    return {"listing": dict(made.listing), "notes": [*silent, *made.notes]}


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
