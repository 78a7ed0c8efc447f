"""Addresses that guests really have: leases read in bulk, and on demand the agent and the host's ARP table.

They are kept beside the fleet and not in it: a guest that gets an address makes nothing to be planned anew.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import libvirt

from reconciler.model.domain import AddressSource, GuestAddress, ObservedDomain
from reconciler.model.host import ObservedHost
from reconciler.model.network_config import Lease
from reconciler.observed.facts import raise_unless_unsupported

LEASES_AGE = 30.0
"""Seconds for which leases that were read are good enough."""

Leases = Mapping[str, tuple[GuestAddress, ...]]
"""By MAC."""

_ASKED = (
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, AddressSource.AGENT),
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, AddressSource.LEASE),
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, AddressSource.ARP),
)
_ORDER = {source: place for place, source in enumerate(AddressSource)}


class LeaseReader:
    """The leases of one host: one question for each network that serves DHCP, now and then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = 0.0
        self.leases: Leases = {}
        self.given: frozenset[Lease] = frozenset()

    def distrust(self) -> None:
        """Ask again next time."""
        self._due = 0.0

    def read(self, networks: Iterable[Any], serving: frozenset[str]) -> None:
        """Read them anew if they are old.

        Args:
            networks: libvirt's objects.
            serving: Names of those that answer DHCP.

        Raises:
            libvirt.libvirtError: The host does not answer.
        """
        now = self._clock()
        if now < self._due:
            return
        self._due = now + LEASES_AGE
        given = frozenset(
            Lease(str(network.name()), str(lease["ipaddr"]), str(lease.get("mac") or "").lower())
            for network in networks
            if network.name() in serving
            for lease in _leases(network)
        )
        found: dict[str, list[GuestAddress]] = defaultdict(list)
        for lease in given:
            found[lease.mac].append(GuestAddress(lease.address, AddressSource.LEASE, lease.mac))
        self.given = given
        leases = {mac: tuple(sorted(set(all_), key=_rank)) for mac, all_ in found.items() if mac}
        if leases != self.leases:
            self.leases = leases


def _leases(network: Any) -> list[dict[str, Any]]:
    try:
        return list(network.DHCPLeases())
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_OPERATION_INVALID):
            raise_unless_unsupported(error)
        return []


def known_addresses(host: ObservedHost, leases: Leases) -> dict[str, tuple[GuestAddress, ...]]:
    """What is known of the addresses of a host's domains, by UUID, without asking; only of those with any."""
    reserved = {
        entry.mac: GuestAddress(entry.address, AddressSource.RESERVATION, entry.mac)
        for network in host.network_configs.values()
        if network.config is not None
        for entry in network.config.hosts
    }
    known = {}
    for domain in host.domains.values():
        found = sorted(_of_domain(domain, reserved, leases), key=_rank)
        if found:
            known[domain.uuid] = tuple(dict.fromkeys(found))
    return known


def _of_domain(
    domain: ObservedDomain, reserved: Mapping[str, GuestAddress], leases: Leases
) -> Iterable[GuestAddress]:
    config = domain.live or domain.config
    for interface in config.interfaces or ():
        if interface.mac in reserved:
            yield reserved[interface.mac]
        if domain.live is not None:
            yield from leases.get(interface.mac, ())
    for interface in (domain.applied.config.interfaces if domain.applied else None) or ():
        if interface.address:
            yield GuestAddress(interface.address, AddressSource.RESERVATION, interface.mac)


def ask_domain(raw: libvirt.virConnect, uuid: str) -> tuple[GuestAddress, ...]:
    """Ask everybody who may know a domain's addresses: its agent, its networks' DHCP, the host's ARP table.

    Loopback and link-local addresses are left out.

    Raises:
        libvirt.libvirtError: The host does not answer.
    """
    found: list[GuestAddress] = []
    try:
        domain = raw.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ()
        raise
    for number, source in _ASKED:
        found += _told(domain, number, source)
    return tuple(dict.fromkeys(sorted(found, key=_rank)))


def _told(domain: Any, number: int, source: AddressSource) -> Iterable[GuestAddress]:
    try:
        told = domain.interfaceAddresses(number, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _BROKEN:
            raise
        # No agent, not running, a driver without the call: this source does not know, others may.
        return
    for name, interface in (told or {}).items():
        mac = str(interface.get("hwaddr") or "").lower()
        for entry in interface.get("addrs") or ():
            address = str(entry["addr"])
            if _tells_something(address):
                yield GuestAddress(
                    address, source, mac, "" if source is not AddressSource.AGENT else str(name)
                )


_BROKEN = (libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_NO_CONNECT)


def _tells_something(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local)


def _rank(entry: GuestAddress) -> tuple[str, int, str, str]:
    return entry.mac, _ORDER[entry.source], entry.address, entry.interface
