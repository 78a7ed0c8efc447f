"""What a `Network` means on one host: its configuration, whose it is, and what stands in its way. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from reconciler.model.domain import InterfaceConfig
from reconciler.model.host import ObservedHost, ObservedNetwork
from reconciler.model.identity import object_uuid
from reconciler.model.network import Network, NetworkMode, NetworkSpec
from reconciler.model.network_config import NetworkConfig, Reservation

KIND = "Network"

_VLAN_ON_LINUX = (11, 0)
"""The libvirt that can tag the ports of a Linux bridge."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What DNS takes as a name; another machine's name goes into no reservation."""


def network_uuid(owner: str, name: str, host: str) -> str:
    """The UUID of a network of ours."""
    return object_uuid(KIND, owner, name, host)


def is_ours(network: ObservedNetwork, owner: str, host: str) -> bool:
    """True if we made it; whatever else has its name is used, and never changed."""
    return network.uuid == network_uuid(owner, network.name, host)


def network_config(manifest: Network) -> NetworkConfig:
    """What the manifest says, without the machines' reservations."""
    spec = manifest.spec
    net = spec.net if spec.served else None
    return NetworkConfig(
        mode=str(spec.mode),
        bridge=spec.bridge,
        domain=spec.domain if spec.served else None,
        address=str(spec.router) if net is not None else None,
        prefix=net.prefixlen if net is not None else None,
        dhcp=((str(spec.dhcp.first), str(spec.dhcp.last)),) if spec.dhcp is not None else (),
        dns=tuple(sorted((str(ipaddress.ip_address(one.address)), one.name) for one in spec.dns)),
        vlan=spec.vlan,
        mtu=spec.mtu,
        hosts=tuple(
            sorted(
                Reservation(one.mac, str(ipaddress.ip_address(one.address)), one.name or "")
                for one in spec.fixed
            )
        ),
    )


def reserves(spec: NetworkSpec) -> bool:
    """True if the host's DHCP makes a machine's address real; else the guest has to be told."""
    return spec.served and spec.net is not None and spec.net.version == 4


def reservations(
    vm: str, interfaces: Iterable[InterfaceConfig], networks: Mapping[str, Network]
) -> list[tuple[str, Reservation]]:
    """What has to be reserved for a machine, with the network.

    Its name goes with the first interface on each network: libvirt takes a name once.
    """
    found: list[tuple[str, Reservation]] = []
    for interface in interfaces:
        manifest = networks.get(interface.network or "")
        if interface.address is None or manifest is None or not reserves(manifest.spec):
            continue
        taken = {one.name for one in manifest.spec.fixed} | {
            one.name for n, one in found if n == manifest.name
        }
        name = vm if _LABEL.fullmatch(vm) and vm not in taken else ""
        found.append((manifest.name, Reservation(interface.mac, interface.address, name)))
    return found


def obstacle(manifest: Network, observed: ObservedHost) -> tuple[str, str] | None:
    """Why this host cannot have the network: a CamelCase word and a sentence; None if nothing is known."""
    spec = manifest.spec
    if spec.mode is not NetworkMode.BRIDGE:
        return None
    if spec.vlan is not None and _version(observed.libvirt_version) < _VLAN_ON_LINUX:
        return (
            "VlanUnsupported",
            f"libvirt {observed.libvirt_version} cannot tag the ports of a Linux bridge, version 11 can: "
            "use mode openvswitch, or a bridge over the VLAN's own device and no vlan",
        )
    if observed.bridges is not None and spec.bridge not in observed.bridges:
        return "BridgeMissing", f"the host has no bridge {spec.bridge}: make it, or name another"
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
