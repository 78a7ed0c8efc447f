# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that the DHCP of our networks keeps for machines, in the definition and in what runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import libvirt

from .networks import CONFIG, LIVE, find, ours, persistent_xml
from .outcome import Step, StepError
from .session import Session

_HOSTS = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
_ADD = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
_DELETE = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
_ANY_IP = -1


def reserve_address(session: Session, step: Step) -> str | None:
    """Keep an address for a MAC. Another address of that MAC goes; one that is another MAC's is refused."""
    network = ours(session, step)
    wanted = _host(step["reservation"])
    sides = _sides(network)
    stale = {flag for flag, hosts in sides.items() if not any(_same(host, wanted) for host in hosts)}
    if not stale:
        return None
    for hosts in (sides[flag] for flag in stale):
        _refuse_taken(hosts, wanted, step["network"])
    address = wanted.get("ip")
    session.about_to(f"reserve {address} on the network {step['network']}")
    for flag in sorted(stale):
        for host in sides[flag]:
            if host.get("mac", "").lower() == wanted.get("mac"):
                network.update(_DELETE, _HOSTS, _ANY_IP, _text(host), flag)
    _update(network, _ADD, _text(wanted), stale)
    return f"{address} reserved"


def release_address(session: Session, step: Step) -> str | None:
    """Take a reservation back, if it is still of this very address."""
    network = find(session, step)
    if network is None:
        return None
    gone = [
        (flag, host)
        for flag, hosts in _sides(network).items()
        for host in hosts
        if (host.get("mac", "").lower(), host.get("ip")) == (step["mac"], step["address"])
    ]
    if not gone:
        return None
    session.about_to(f"release {step['address']} on the network {step['network']}")
    done: set[int] = set()
    for flag, host in gone:
        if flag not in done:
            network.update(_DELETE, _HOSTS, _ANY_IP, _text(host), flag)
            done.add(flag)
    return f"{step['address']} released"


def _sides(network: libvirt.virNetwork) -> dict[int, list[ET.Element]]:
    """The reservations in what runs and in the definition, by the flag that changes them."""
    sides = {}
    if network.isActive():
        sides[LIVE] = _hosts(network.XMLDesc(0))
    if network.isPersistent():
        sides[CONFIG] = _hosts(persistent_xml(network))
    return sides


def _hosts(xml: str) -> list[ET.Element]:
    return ET.fromstring(xml).findall("ip/dhcp/host")


def _host(reservation: dict[str, str]) -> ET.Element:
    host = ET.Element("host", {"mac": reservation["mac"]})
    if reservation["name"]:
        host.set("name", reservation["name"])
    host.set("ip", reservation["address"])
    return host


def _same(host: ET.Element, wanted: ET.Element) -> bool:
    return (host.get("mac", "").lower(), host.get("ip"), host.get("name")) == (
        wanted.get("mac"),
        wanted.get("ip"),
        wanted.get("name"),
    )


def _refuse_taken(hosts: list[ET.Element], wanted: ET.Element, network: str) -> None:
    for host in hosts:
        if host.get("mac", "").lower() == wanted.get("mac"):
            continue
        if host.get("ip") == wanted.get("ip"):
            message = f"{wanted.get('ip')} is reserved for {host.get('mac')} on the network {network!r}"
            raise StepError("AddressTaken", message)


def _update(network: libvirt.virNetwork, command: int, xml: str, flags: set[int]) -> None:
    """Both sides in one call where both need it: a driver may know but one definition."""
    together = 0
    for flag in flags:
        together |= flag
    network.update(command, _HOSTS, _ANY_IP, xml, together)


def _text(host: ET.Element) -> str:
    """As it stands, on one line and without what follows it."""
    return ET.tostring(ET.Element("host", host.attrib), encoding="unicode")


OPERATIONS: dict[str, Callable[[Session, Step], str | None]] = {
    "reserve-address": reserve_address,
    "release-address": release_address,
}
