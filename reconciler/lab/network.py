"""The lab's network in the root namespace: one bridge, one cable a host, one subnet a lab."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import LabError
from reconciler.lab.process import run

DEFAULT_SUBNET = "192.0.2.0/24"
"""The default lab's subnet where it is free. The other documentation ranges are not taken: a machine
behind a proxy has been seen to reach its package registry at an address in one of them, and nothing in
its routes told so."""

FIRST_HOST = 10
"""Host ``labN`` has the address number ``FIRST_HOST + N``; the bridge has number 1."""

MAX_HOSTS = 240

Network = ipaddress.IPv4Network


def lab_tag(directory: Path) -> str:
    """Six hex digits that tell this lab's links from those of other labs on the machine."""
    return hashlib.sha256(str(directory).encode()).hexdigest()[:6]


def bridge_name(tag: str) -> str:
    """Name of the lab's bridge."""
    return f"rlab-{tag}"


def cable_name(tag: str, index: int) -> str:
    """Name of the root namespace's end of a host's cable."""
    return f"rl{tag}h{index}"


def guest_prefix(index: int) -> str:
    """First three octets of a host's NAT network, out of the range for benchmarks (RFC 2544)."""
    return f"198.19.{index}"


def host_address(subnet: Network, index: int) -> str:
    """Address of a host on the lab's bridge."""
    return str(subnet[FIRST_HOST + index])


def choose_subnet(tag: str, *, default_lab: bool) -> Network:
    """A /24 that this machine does not use yet, by its addresses, routes, peers and name servers.

    Raises:
        LabError: None is left.
    """
    used = _used_networks()
    for candidate in _candidates(tag, default_lab):
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise LabError("no free subnet is left for a lab", hint="take down labs that are not needed")


def given_subnet(text: str) -> Network:
    """The subnet that somebody asked for.

    Raises:
        LabError: It is no /24, or this machine uses it.
    """
    try:
        subnet = Network(text)
    except ValueError as error:
        raise LabError(f"{text!r} is not an IPv4 subnet: {error}") from error
    if subnet.prefixlen != 24:
        raise LabError(f"the lab's subnet must be a /24, not {subnet}")
    clash = next((network for network in _used_networks() if subnet.overlaps(network)), None)
    if clash is not None:
        raise LabError(f"this machine already uses {clash}, which overlaps {subnet}")
    return subnet


def _candidates(tag: str, default_lab: bool) -> Iterator[Network]:
    """Subnets to try: last those of the range for benchmarks (RFC 2544), starting where the tag says."""
    if default_lab:
        yield Network(DEFAULT_SUBNET)
    start = int(tag, 16)
    for step in range(256):
        yield Network(f"198.18.{(start + step) % 256}.0/24")


def _used_networks() -> list[Network]:
    """Networks and addresses that this machine has or talks to, the default route aside."""
    routes = json.loads(run(["ip", "-json", "-4", "route"]).stdout or "[]")
    addresses = json.loads(run(["ip", "-json", "-4", "address"]).stdout or "[]")
    found = [route["dst"] for route in routes if route["dst"] != "default"]
    for link in addresses:
        found += [f"{entry['local']}/{entry['prefixlen']}" for entry in link.get("addr_info", ())]
    found += [*_name_servers(), *_peers()]
    return [Network(text, strict=False) for text in found]


def _name_servers() -> list[str]:
    """IPv4 addresses of the machine's name servers."""
    try:
        text = Path("/etc/resolv.conf").read_text()
    except OSError:
        return []
    return re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", text, flags=re.MULTILINE)


def _peers() -> list[str]:
    """IPv4 addresses at the other end of this machine's TCP connections."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    remote = {row.split()[2].partition(":")[0] for row in rows} - {"00000000"}
    return [str(ipaddress.IPv4Address(bytes.fromhex(text)[::-1])) for text in remote]


def links() -> set[str]:
    """Names of the links in this namespace."""
    listed = json.loads(run(["ip", "-json", "link"]).stdout or "[]")
    return {link["ifname"] for link in listed}


def bridge_carries(tag: str, subnet: Network) -> bool:
    """Whether the lab's bridge stands, is up and has its address."""
    if bridge_name(tag) not in links():
        return False
    shown = json.loads(run(["ip", "-json", "-4", "address", "show", "dev", bridge_name(tag)]).stdout)
    return any(
        entry.get("local") == str(subnet[1]) and "UP" in link.get("flags", ())
        for link in shown
        for entry in link.get("addr_info", ())
    )


def make_bridge(tag: str, subnet: Network) -> None:
    """Make the lab's bridge, or mend a half-made one."""
    if bridge_carries(tag, subnet):
        return
    name = bridge_name(tag)
    if name not in links():
        run(["ip", "link", "add", name, "type", "bridge"])
    run(["ip", "address", "replace", f"{subnet[1]}/{subnet.prefixlen}", "dev", name])
    run(["ip", "link", "set", name, "up"])


def remove_link(name: str) -> None:
    """Remove a link; one that is already gone is no error."""
    done = run(["ip", "link", "delete", name], check=False)
    if done.returncode and name in links():
        raise LabError(f"cannot remove the link {name}: {done.stderr.strip()}")


def remove_lab_links(tag: str) -> None:
    """Remove every cable and the bridge of a lab, known or not."""
    for name in sorted(links()):
        if name == bridge_name(tag) or name.startswith(f"rl{tag}h"):
            remove_link(name)
