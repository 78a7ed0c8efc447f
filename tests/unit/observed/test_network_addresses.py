"""What is known of guests' addresses: who says so, in which order, and whom it does not disturb."""

from __future__ import annotations

from dataclasses import replace

import libvirt

from reconciler.model.domain import (
    AddressSource,
    Applied,
    DomainConfig,
    DomainState,
    GuestAddress,
    InterfaceConfig,
    ObservedDomain,
)
from reconciler.model.host import HostStatus, ObservedHost, ObservedNetwork
from reconciler.model.network_config import Lease, NetworkConfig, Reservation
from reconciler.observed.addresses import LeaseReader, ask_domain, known_addresses

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
CONFIG = DomainConfig("a", UID, interfaces=(InterfaceConfig(MAC, "lan", None, name="net0"),))


def domain(*, running: bool = True, address: str | None = None) -> ObservedDomain:
    marked = replace(CONFIG, interfaces=(InterfaceConfig(MAC, "lan", None, name="net0", address=address),))
    mark = Applied("default", UID, "a", 1, "", marked)
    live = CONFIG if running else None
    return ObservedDomain("h1", CONFIG, live, DomainState.RUNNING, applied=mark)


def host(of: ObservedDomain, *hosts: Reservation) -> ObservedHost:
    network = ObservedNetwork("lan", "", True, config=NetworkConfig("nat", hosts=hosts))
    return ObservedHost("h1", HostStatus.READY, domains={UID: of}, network_configs={"lan": network})


def lease(address: str, mac: str = MAC) -> GuestAddress:
    return GuestAddress(address, AddressSource.LEASE, mac)


def told(known: dict[str, tuple[GuestAddress, ...]]) -> list[str]:
    return [f"{one.source} {one.address}" for one in known.get(UID, ())]


def test_a_lease_comes_before_a_reservation() -> None:
    seen = host(domain(), Reservation(MAC, "10.9.0.2"), Reservation(OTHER, "10.9.0.3"))
    leases = {MAC: (lease("10.9.0.2"),), OTHER: (lease("10.9.0.3", OTHER),)}
    assert told(known_addresses(seen, leases)) == ["lease 10.9.0.2", "reservation 10.9.0.2"]


def test_a_machine_that_is_off_has_no_lease_but_a_promise() -> None:
    seen = host(domain(running=False), Reservation(MAC, "10.9.0.2"))
    assert told(known_addresses(seen, {MAC: (lease("10.9.0.2"),)})) == ["reservation 10.9.0.2"]


def test_on_a_bridge_the_mark_promises() -> None:
    assert told(known_addresses(host(domain(address="10.9.0.7")), {})) == ["reservation 10.9.0.7"]


def test_who_has_none_is_left_out() -> None:
    assert known_addresses(host(domain()), {}) == {}


def test_a_driver_that_cannot_tell_is_no_trouble() -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    conn = libvirt.open("test:///default")
    try:
        reader = LeaseReader(lambda: 0.0)
        reader._due = -1.0
        reader.read(conn.listAllNetworks(0), frozenset({"default"}))
        assert reader.leases == {}
        assert ask_domain(conn, UID) == ()
    finally:
        conn.close()


def test_what_a_running_domain_says_is_asked_of_everybody() -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    conn = libvirt.open("test:///default")
    try:
        uuid = conn.lookupByName("test").UUIDString()
        found = ask_domain(conn, uuid)
    finally:
        conn.close()
    # The test driver makes addresses up for every source.
    assert {one.source for one in found} <= set(AddressSource)
    assert all(one.interface == "" for one in found if one.source is not AddressSource.AGENT)


class Net:
    """A network that gave one address away."""

    def __init__(self, name: str, mac: str) -> None:
        self._name, self._mac = name, mac

    def name(self) -> str:
        return self._name

    def DHCPLeases(self) -> list[dict[str, str]]:  # noqa: N802
        return [{"ipaddr": "10.9.0.2", "mac": self._mac}]


def test_a_lease_is_known_with_its_network() -> None:
    reader = LeaseReader(lambda: 0.0)
    reader.read([Net("lan", MAC.upper()), Net("dmz", OTHER), Net("silent", OTHER)], frozenset({"lan", "dmz"}))
    assert reader.given == {Lease("lan", "10.9.0.2", MAC), Lease("dmz", "10.9.0.2", OTHER)}
    assert reader.leases == {MAC: (lease("10.9.0.2"),), OTHER: (lease("10.9.0.2", OTHER),)}
