"""Addresses of all machines, from what the manifests wish, the marks say and the store remembers.

A machine's own mark is the truth about what it has. The store speaks for those that no host shows: out of
sight, or begun and not finished.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from reconciler.model.desired import DesiredState
from reconciler.model.domain import ObservedDomain
from reconciler.model.identity import derived_mac, interface_name
from reconciler.model.network import IPAddress
from reconciler.model.placement import AddressRecord, Phase
from reconciler.model.plan import Blocked
from reconciler.planner.addresses import AUTO, Place, Space, Wish, allocate
from reconciler.planner.diff import mark_of
from reconciler.planner.index import FleetIndex
from reconciler.planner.networks import is_ours, reserves
from reconciler.planner.situation import Memo, Situation


@dataclass(frozen=True, slots=True)
class Addresses:
    """What every machine shall have.

    Attributes:
        granted: Machine to interface name to address, in its usual spelling; machines without are left out.
        refused: Machines that cannot get what they ask for.
    """

    granted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refused: Mapping[str, Blocked] = field(default_factory=dict)


def addresses(situation: Situation, index: FleetIndex, memo: Memo) -> Addresses:
    """Give every machine its addresses."""
    desired = situation.desired
    if not desired.networks:
        return Addresses()
    if memo.wishes is None or memo.wishes[0] is not desired:
        memo.wishes = (desired, tuple(_wishes(desired)))
    wishes = memo.wishes[1]
    if not wishes:
        return Addresses()
    known = _Known(situation, index)
    spaces = {name: Space(network.spec) for name, network in desired.networks.items()}
    asked = [
        Wish(vm, interface, network, fixed, known.kept.get((vm, interface, network)))
        for vm, interface, network, fixed in wishes
    ]
    leased = _leased(situation)
    if leased:
        asked = [_with_mac(situation, index, wish) for wish in asked]
    allocation = allocate(spaces, asked, known.held, _uncertain(situation), leased)
    granted = {
        vm: {interface: str(address) for interface, address in found.items()}
        for vm, found in allocation.granted.items()
    }
    refused = {
        refusal.wish.vm: Blocked(refusal.wish.vm, refusal.reason, refusal.message)
        for refusal in reversed(allocation.refused)
    }
    return Addresses(granted, {**refused, **dict(_not_ours(situation, index, wishes))})


@lru_cache(maxsize=1 << 16)
def _parsed(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


def _wishes(desired: DesiredState) -> Iterator[tuple[str, str, str, IPAddress | None]]:
    for name, vm in desired.machines.items():
        for at, interface in enumerate(vm.spec.interfaces):
            if interface.address is not None and interface.network is not None:
                fixed = None if interface.address == AUTO else ipaddress.ip_address(interface.address)
                yield name, interface_name(interface, at), interface.network, fixed


def _promised(situation: Situation) -> Iterator[AddressRecord]:
    """Addresses of slots of pools, whether or not there is a machine yet."""
    for pool in situation.desired.machine_pools.values():
        first = pool.spec.template.spec.interfaces[:1]
        if pool.spec.addresses and first and first[0].network is not None:
            name, network = interface_name(first[0], 0), first[0].network
            for slot, address in enumerate(pool.spec.addresses, 1):
                yield AddressRecord(f"{pool.name}-{slot}", name, network, address)


def _uncertain(situation: Situation) -> str:
    if not situation.never_seen:
        return ""
    host = min(situation.never_seen)
    return f"{situation.why_unknown(host)} and was never seen, so a machine there may have any address"


def _leased(situation: Situation) -> Mapping[Place, Collection[str]]:
    found: dict[Place, set[str]] = defaultdict(set)
    for lease in situation.leases:
        if lease.network in situation.desired.networks:
            try:
                found[(lease.network, _parsed(lease.address))].add(lease.mac)
            except ValueError:
                continue  # not worth a plan
    return found


def _with_mac(situation: Situation, index: FleetIndex, wish: Wish) -> Wish:
    """The wish of who has no address yet with the MAC that the interface has, or gets (as `resolve` says)."""
    if wish.kept is not None or wish.address is not None:
        return wish
    interfaces = situation.desired.machines[wish.vm].spec.interfaces
    fixed = next(one.mac for at, one in enumerate(interfaces) if interface_name(one, at) == wish.interface)
    domain = index.ours.get(wish.vm)
    mark = mark_of(domain) if domain is not None else None
    kept = {one.name: one.mac for one in (mark.config.interfaces if mark else None) or ()}
    return replace(wish, mac=fixed or kept.get(wish.interface) or derived_mac(wish.vm, wish.interface))


class _Known:
    """Who has what.

    Attributes:
        held: Network and address to the machines that hold it.
        kept: Machine, interface and network to the address that it has.
    """

    def __init__(self, situation: Situation, index: FleetIndex) -> None:
        self.held: dict[Place, list[str]] = defaultdict(list)
        self.kept: dict[tuple[str, str, str], IPAddress] = {}
        visible = set()
        for name, domain in _marked(index):
            visible.add(name)
            for record in marked_addresses(name, domain):
                self._note(record)
        for record in sorted(situation.addresses):
            if record.vm not in visible and _holds(situation, record.vm):
                self._note(record)
        for record in _promised(situation):
            # Whoever has it already keeps it: the manifest came later.
            if not self.held.get((record.network, _parsed(record.address))):
                self._note(record)

    def _note(self, record: AddressRecord) -> None:
        try:
            address = _parsed(record.address)
        except ValueError:
            return  # a mark that somebody wrote by hand
        self.held[(record.network, address)].append(record.vm)
        self.kept.setdefault((record.vm, record.interface, record.network), address)


def _marked(index: FleetIndex) -> Iterator[tuple[str, ObservedDomain]]:
    yield from index.ours.items()
    for name, twins in index.twins.items():
        yield from ((name, domain) for domain in twins)


def _holds(situation: Situation, vm: str) -> bool:
    """True if what the store says of a machine's addresses still means something."""
    record = situation.records.get(vm) or situation.dead.get(vm)
    return record is not None and record.phase is not Phase.RETAINED


def marked_addresses(vm: str, domain: ObservedDomain) -> Iterable[AddressRecord]:
    """The addresses in a domain's mark."""
    mark = mark_of(domain)
    for interface in (mark.config.interfaces if mark else None) or ():
        if interface.address and interface.network and interface.name:
            yield AddressRecord(vm, interface.name, interface.network, interface.address)


def _not_ours(
    situation: Situation, index: FleetIndex, wishes: Iterable[tuple[str, str, str, IPAddress | None]]
) -> Iterator[tuple[str, Blocked]]:
    """Machines on a host where their network is somebody else's, so that nothing can be reserved in it."""
    for vm, _, network, _ in wishes:
        domain = index.ours.get(vm)
        if domain is not None:
            refusal = foreign_network(situation, vm, network, domain.host)
            if refusal is not None:
                yield vm, refusal


def foreign_network(situation: Situation, vm: str, network: str, host: str) -> Blocked | None:
    """Why a machine cannot have an address on this host, or None."""
    manifest = situation.desired.networks.get(network)
    present = situation.fleet[host].network_configs.get(network)
    if manifest is None or present is None or not reserves(manifest.spec):
        return None
    if is_ours(present, situation.owner, host):
        return None
    message = (
        f"the network {network} on {host} was not made by us, so no address can be reserved in it: remove it "
        "there (`virsh net-undefine`), or give the manifest another name"
    )
    return Blocked(vm, "NetworkNotOurs", message, host)
