# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on libvirt networks. Ours is the one with the UUID that we derived: nothing else is ever changed."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import libvirt

from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

LIVE = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
CONFIG = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
_ADD = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
_DELETE = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
_RANGE = libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE
_DNS = libvirt.VIR_NETWORK_SECTION_DNS_HOST
_ANY_IP = -1


def find(session: Session, step: Step) -> libvirt.virNetwork | None:
    """Our network, or None."""
    try:
        return session.conn.networkLookupByUUIDString(step["uuid"])
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_NETWORK):
            return None
        raise


def ours(session: Session, step: Step) -> libvirt.virNetwork:
    """Our network.

    Raises:
        StepError: There is none (NetworkMissing), perhaps because another has its name (NotOurs).
    """
    network = find(session, step)
    if network is None:
        _refuse_stranger(session, step)
        raise StepError("NetworkMissing", f"this host has no network {step['network']!r} of ours")
    return network


def _refuse_stranger(session: Session, step: Step) -> None:
    try:
        session.conn.networkLookupByName(step["network"])
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_NETWORK):
            return
        raise
    raise StepError("NotOurs", f"the network {step['network']!r} is left alone: it was not made by us")


def persistent_xml(network: libvirt.virNetwork) -> str:
    """The definition that its next start uses; drivers that know but one tell that."""
    try:
        return str(network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_OPERATION_INVALID):
            return str(network.XMLDesc(0))
        raise


def define_network(session: Session, step: Step) -> str | None:
    """Define it, or write its definition anew; a running one goes on with what it has."""
    network = find(session, step)
    if network is None:
        _refuse_stranger(session, step)
        session.about_to(f"define the network {step['network']}")
        session.conn.networkDefineXML(step["xml"])
        return "defined"
    before = persistent_xml(network)
    session.about_to(f"redefine the network {step['network']}")
    session.conn.networkDefineXML(carried_over(step["xml"], before))
    return "redefined" if persistent_xml(network) != before or not network.isPersistent() else None


def carried_over(wanted: str, present: str) -> str:
    """The wanted XML with what libvirt chose before, and with the reservations that it does not speak of."""
    new, old = ET.fromstring(wanted), ET.fromstring(present)
    bridge, old_bridge = new.find("bridge"), old.find("bridge")
    if (
        bridge is not None
        and bridge.get("name") is None
        and old_bridge is not None
        and old_bridge.get("name")
    ):
        bridge.set("name", old_bridge.get("name", ""))
    old_mac = old.find("mac")
    if old_mac is not None and new.find("mac") is None and new.find("ip") is not None:
        new.append(copy.deepcopy(old_mac))
    _carry_hosts(new, old)
    return ET.tostring(new, encoding="unicode")


def _carry_hosts(new: ET.Element, old: ET.Element) -> None:
    ip, old_ip = new.find("ip"), old.find("ip")
    if ip is None or old_ip is None or ip.get("address") != old_ip.get("address"):
        return
    dhcp = ip.find("dhcp")
    kept = list(dhcp.iterfind("host")) if dhcp is not None else []
    for host in old_ip.iterfind("dhcp/host"):
        if any(_clash(host, other) for other in kept):
            continue
        if dhcp is None:
            dhcp = ET.SubElement(ip, "dhcp")
        dhcp.append(copy.deepcopy(host))


def _clash(one: ET.Element, other: ET.Element) -> bool:
    return any(
        one.get(key) is not None and (one.get(key) or "").lower() == (other.get(key) or "").lower()
        for key in ("mac", "ip", "name")
    )


def start_network(session: Session, step: Step) -> str | None:
    """Start it, unless it runs."""
    network = ours(session, step)
    if network.isActive():
        return None
    session.about_to(f"start the network {step['network']}")
    network.create()
    return "started"


def set_network_autostart(session: Session, step: Step) -> str | None:
    """Start it with its host, or not."""
    network = ours(session, step)
    if bool(network.autostart()) == step["autostart"]:
        return None
    session.about_to(f"set autostart of the network {step['network']} to {step['autostart']}")
    network.setAutostart(int(step["autostart"]))
    return "autostart set"


def restart_network(session: Session, step: Step) -> str | None:
    """Stop and start it, unless anything is plugged into it: that would be cut off."""
    network = ours(session, step)
    if not network.isActive():
        return None
    _require_unused(session, network, running=True)
    session.about_to(f"restart the network {step['network']}")
    network.destroy()
    network.create()
    return "restarted"


def undefine_network(session: Session, step: Step) -> str | None:
    """Stop it and take its definition away, unless a domain uses it."""
    network = find(session, step)
    if network is None:
        return None
    _require_unused(session, network, running=False)
    session.about_to(f"remove the network {step['network']}")
    persistent = network.isPersistent()
    if network.isActive():
        network.destroy()
    if persistent:
        network.undefine()
    return "removed"


def _require_unused(session: Session, network: libvirt.virNetwork, *, running: bool) -> None:
    """Refuse if a domain uses it: one that runs, or with `running` false any that is defined.

    Raises:
        StepError: NetworkInUse.
    """
    name = str(network.name())
    user = next(_users(session, name, running=running), None)
    if user is None and network.isActive() and _has_ports(network):
        user = "a domain of another driver"
    if user is not None:
        raise StepError("NetworkInUse", f"the network {name!r} is left as it is: {user} uses it")


def _users(session: Session, name: str, *, running: bool) -> Iterator[str]:
    flags = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE if running else 0
    for domain in session.conn.listAllDomains(flags):
        try:
            texts = (
                [domain.XMLDesc(0)]
                if running
                else [domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
            )
        except libvirt.libvirtError as error:
            if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                raise
            continue  # it went while we looked
        sources = [
            source for text in texts for source in ET.fromstring(text).iterfind("devices/interface/source")
        ]
        if any(source.get("network") == name for source in sources):
            yield f"the domain {domain.name()!r}"


def _has_ports(network: libvirt.virNetwork) -> bool:
    try:
        return bool(network.listAllPorts())
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_SUPPORT):
            return False
        raise


def update_network(session: Session, step: Step) -> str | None:
    """Bring ranges and DNS records of the running network to those wanted; the rest goes on."""
    network = ours(session, step)
    if not network.isActive():
        return None
    live = ET.fromstring(network.XMLDesc(0))
    changes = [*_ranges(live, step["config"]), *_records(live, step["config"])]
    if not changes:
        return None
    session.about_to(f"update the running network {step['network']}")
    for command, section, xml in changes:
        network.update(command, section, _ANY_IP, xml, LIVE)
    return "updated"


def _ranges(live: ET.Element, config: dict[str, list[list[str]]]) -> Iterator[tuple[int, int, str]]:
    present = {(one.get("start"), one.get("end")) for one in live.iterfind("ip/dhcp/range")}
    wanted = {(start, end) for start, end in config["dhcp"]}
    for command, ranges in ((_DELETE, present - wanted), (_ADD, wanted - present)):
        for start, end in sorted(ranges, key=str):
            yield command, _RANGE, _xml("range", {"start": str(start), "end": str(end)})


def _records(live: ET.Element, config: dict[str, list[list[str]]]) -> Iterator[tuple[int, int, str]]:
    present: dict[str, list[str]] = {}
    for host in live.iterfind("dns/host"):
        present[host.get("ip", "")] = sorted(name.text or "" for name in host.iterfind("hostname"))
    wanted: dict[str, list[str]] = {}
    for address, name in config["dns"]:
        wanted.setdefault(address, []).append(name)
    stale = [address for address in present if present[address] != sorted(wanted.get(address, []))]
    for address in sorted(stale):
        yield _DELETE, _DNS, _xml("host", {"ip": address})
    for address, names in sorted(wanted.items()):
        if present.get(address) != sorted(names):
            yield _ADD, _DNS, _xml("host", {"ip": address}, names)


def _xml(tag: str, attributes: dict[str, str], names: list[str] | None = None) -> str:
    element = ET.Element(tag, attributes)
    for name in names or ():
        ET.SubElement(element, "hostname").text = name
    return ET.tostring(element, encoding="unicode")


OPERATIONS = {
    "define-network": define_network,
    "start-network": start_network,
    "set-network-autostart": set_network_autostart,
    "update-network": update_network,
    "restart-network": restart_network,
    "undefine-network": undefine_network,
}
