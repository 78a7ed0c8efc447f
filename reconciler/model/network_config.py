"""A libvirt network's configuration: the common tongue of what is wanted, applied and observed of one.

The manifest is turned into a `NetworkConfig`, libvirt's XML is parsed into one, and the one last pushed
travels in the network's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

NETWORK_NAMESPACE = "urn:reconciler:network:v1"
"""XML namespace of our mark in a network's ``<metadata>``."""

SERVED = frozenset({"nat", "routed", "isolated"})
"""Modes in which libvirt makes the bridge and can answer DHCP and DNS on it."""


@dataclass(frozen=True, slots=True, order=True)
class Reservation:
    """An address that a network's DHCP keeps for a MAC.

    Attributes:
        mac: Lower case.
        address: IPv4.
        name: Host name that goes with it; empty for none.
    """

    mac: str
    address: str
    name: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Lease:
    """An address that a host's DHCP gave to a MAC, and that has not run out.

    Attributes:
        network: Its network's name.
        address: The address, as libvirt spells it.
        mac: Who has it, in lower case.
    """

    network: str
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What we model of a network. None and empty mean not there, but for `bridge`.

    Attributes:
        mode: A value of `NetworkMode`, or another word of libvirt's (``open``, ``hostdev`` …).
        bridge: The host's bridge; None in a wanted one means that libvirt chooses.
        domain: DNS domain.
        address: The host's own address on it.
        prefix: Length of the subnet's prefix.
        dhcp: First and last address of each range.
        dns: Address and name of each record, sorted.
        vlan: Tag.
        mtu: Bytes.
        hosts: DHCP reservations, sorted by MAC; in a wanted or applied one only those of the manifest itself.
    """

    mode: str
    bridge: str | None = None
    domain: str | None = None
    address: str | None = None
    prefix: int | None = None
    dhcp: tuple[tuple[str, str], ...] = ()
    dns: tuple[tuple[str, str], ...] = ()
    vlan: int | None = None
    mtu: int | None = None
    hosts: tuple[Reservation, ...] = ()

    @property
    def served(self) -> bool:
        """True if libvirt makes its bridge, so that it can answer DHCP and DNS."""
        return self.mode in SERVED


NETWORK_JSON: TypeAdapter[NetworkConfig] = TypeAdapter(NetworkConfig)
"""Turns a `NetworkConfig` into JSON for the mark, and back."""
