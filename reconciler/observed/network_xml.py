"""libvirt's XML of a network -> `NetworkConfig`. What we don't model is passed over. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from pydantic import ValidationError

from reconciler.model.network_config import NETWORK_JSON, NETWORK_NAMESPACE, NetworkConfig, Reservation

_MARK = f"metadata/{{{NETWORK_NAMESPACE}}}network"
_MODES = {"nat": "nat", "route": "routed", "bridge": "bridge"}


@dataclass(frozen=True, slots=True)
class ParsedNetwork:
    """What a network's XML says, and our mark in it."""

    config: NetworkConfig | None
    applied: NetworkConfig | None


def parse_network(xml: str) -> ParsedNetwork:
    """Read a network's XML; what cannot be read at all becomes None."""
    try:
        root = ET.fromstring(xml)  # noqa: S314 - from libvirt, not from people
    except ET.ParseError:
        return ParsedNetwork(None, None)
    return ParsedNetwork(_config(root), _applied(root))


def _applied(root: ET.Element) -> NetworkConfig | None:
    mark = root.find(_MARK)
    if mark is None:
        return None
    try:
        return NETWORK_JSON.validate_json(mark.text or "")
    except ValidationError:
        return None


def _config(root: ET.Element) -> NetworkConfig:
    ip = _first_ip(root)
    tags = [tag.get("id", "") for tag in root.iterfind("vlan/tag")]
    return NetworkConfig(
        mode=_mode(root),
        bridge=_attribute(root, "bridge", "name"),
        domain=_attribute(root, "domain", "name"),
        address=_canonical(ip.get("address", "")) if ip is not None else None,
        prefix=_prefix(ip) if ip is not None else None,
        dhcp=tuple(
            (_canonical(r.get("start", "")), _canonical(r.get("end", "")))
            for r in root.iterfind("ip/dhcp/range")
        ),
        dns=tuple(sorted(_dns(root))),
        vlan=int(tags[0]) if len(tags) == 1 and tags[0].isdecimal() else None,
        mtu=_number(_attribute(root, "mtu", "size")),
        hosts=tuple(sorted(_hosts(root))),
    )


def _mode(root: ET.Element) -> str:
    forward = root.find("forward")
    if forward is None:
        return "isolated"
    mode = forward.get("mode", "nat")
    port = root.find("virtualport")
    if mode == "bridge" and port is not None and port.get("type") == "openvswitch":
        return "openvswitch"
    return _MODES.get(mode, mode)


def _first_ip(root: ET.Element) -> ET.Element | None:
    return root.find("ip")


def _prefix(ip: ET.Element) -> int | None:
    """The length of the prefix; libvirt knows classes where neither prefix nor mask is written."""
    if ip.get("prefix"):
        return _number(ip.get("prefix"))
    try:
        return ipaddress.ip_network(f"0.0.0.0/{ip.get('netmask')}").prefixlen
    except ValueError:
        return None


def _dns(root: ET.Element) -> list[tuple[str, str]]:
    return [
        (_canonical(host.get("ip", "")), name.text or "")
        for host in root.iterfind("dns/host")
        for name in host.iterfind("hostname")
    ]


def _hosts(root: ET.Element) -> list[Reservation]:
    return [
        Reservation(host.get("mac", "").lower(), _canonical(host.get("ip", "")), host.get("name", ""))
        for host in root.iterfind("ip/dhcp/host")
        if host.get("mac") and host.get("ip")
    ]


def _attribute(root: ET.Element, tag: str, name: str) -> str | None:
    element = root.find(tag)
    return element.get(name) if element is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
