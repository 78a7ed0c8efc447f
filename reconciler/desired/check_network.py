"""What can be wrong between networks, and between a machine's addresses and its networks. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping

from reconciler.desired.decode import Mistake
from reconciler.model.manifest import Interface, VirtualMachine, VirtualMachineSpec
from reconciler.model.network import IPAddress, Network, NetworkSpec
from reconciler.model.storage import Hosts

_AUTO = "auto"

Excuses = Callable[[str, str], bool]
"""True if an object, by kind and name, is missing because of a mistake that is told already."""


def fixed_addresses(machine: VirtualMachine) -> Iterator[tuple[tuple[str, str], int]]:
    """Network and address (in its usual spelling) of each interface that fixes one, with its index."""
    for index, interface in enumerate(machine.spec.interfaces):
        if interface.address in (None, _AUTO) or interface.network is None:
            continue
        address = _parsed(interface.address or "")
        if address is not None:
            yield (interface.network, str(address)), index


def check_addresses(
    spec: VirtualMachineSpec, networks: Mapping[str, Network], excuses: Excuses
) -> Iterator[Mistake]:
    """Every mistake in the addresses of a machine."""
    for index, interface in enumerate(spec.interfaces):
        if interface.address is None:
            continue
        path = ("spec", "interfaces", index, "address")
        for message in _wrong(interface, networks, excuses):
            yield Mistake(path, message)


def _wrong(interface: Interface, networks: Mapping[str, Network], excuses: Excuses) -> Iterator[str]:
    text = interface.address or ""
    address = _parsed(text)
    if address is None and text != _AUTO:
        yield f"{text!r} is neither an IP address nor auto"
        return
    name = interface.network
    if name is None:
        yield "an address belongs to a network: an interface on a bridge has none"
        return
    network = networks.get(name)
    if network is None:
        if not excuses("Network", name):
            yield f"an address needs a Network manifest: there is none called {name}"
        return
    if network.spec.net is None:
        yield f"the network {name} has no subnet, so nobody can have an address in it"
    elif network.spec.served and network.spec.net.version != 4:
        yield f"DHCP can reserve IPv4 addresses only, and the network {name} is IPv6"
    elif address is not None:
        yield from _unfit(address, name, network.spec)


def _unfit(address: IPAddress, name: str, spec: NetworkSpec) -> Iterator[str]:
    net = spec.net
    if net is None:
        return
    if address not in net:
        yield f"{address} is not in {net}, the subnet of {name}"
    elif int(address) in (int(net.network_address), int(net.broadcast_address)):
        yield f"{address} is an end of the subnet {net}, and no machine's"
    elif address == spec.router:
        yield f"{address} is the gateway of {name}"
    elif spec.dhcp is not None and address in spec.dhcp:
        both = f"{spec.dhcp.start} to {spec.dhcp.end}"
        yield f"{address} is in the dhcp range of {name} ({both}), where anybody may get it: choose another"
    elif any(ipaddress.ip_address(one.address) == address for one in spec.fixed):
        yield f"{address} is fixed for another MAC in {name}"


def check_network(network: Network, networks: Mapping[str, Network]) -> Iterator[Mistake]:
    """Every mistake of a network against those before it in the alphabet, so that each pair is told once."""
    if not network.spec.served:
        return
    for name in sorted(networks):
        other = networks[name]
        if name >= network.name or not other.spec.served or not _meet(network.spec.hosts, other.spec.hosts):
            continue
        if network.spec.bridge is not None and network.spec.bridge == other.spec.bridge:
            message = f"the bridge {network.spec.bridge} belongs to the network {name} too"
            yield Mistake(("spec", "bridge"), message)
        mine, theirs = network.spec.net, other.spec.net
        if (
            mine is not None
            and theirs is not None
            and mine.version == theirs.version
            and mine.overlaps(theirs)
        ):
            message = f"{mine} overlaps {theirs}, the subnet of {name}, and a host may have both"
            yield Mistake(("spec", "subnet"), message)


def _meet(one: Hosts, other: Hosts) -> bool:
    """True if a host may be meant by both."""
    if one.names and other.names and not set(one.names) & set(other.names):
        return False
    # Two values of one label are two hosts.
    return all(other.selector.get(key, value) == value for key, value in one.selector.items())


def _parsed(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
