"""Networks: where they are, whose, and who has which address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.engine import Look
from reconciler.errors import UsageError
from reconciler.model.host import ObservedNetwork
from reconciler.model.network_config import NetworkConfig
from reconciler.planner.diff import mark_of
from reconciler.planner.networks import is_ours
from reconciler.views.glance import Data


def networks(look: Look) -> list[Data]:
    """Networks of the hosts that answer."""
    return list(_networks(look))


def _networks(look: Look) -> Iterator[Data]:
    owner = look.survey.situation.owner
    for _, host in sorted(look.fleet.items()):
        for name, network in sorted(host.network_configs.items()):
            config = network.live or network.config or NetworkConfig("unknown")
            yield {
                "name": name,
                "host": host.name,
                "mode": config.mode,
                "active": network.active,
                "autostart": network.autostart,
                "ours": is_ours(network, owner, host.name),
                "declared": name in look.desired.networks,
                "bridge": config.bridge,
                "subnet": f"{config.address}/{config.prefix}" if config.address else None,
                "vlan": config.vlan,
                "mtu": config.mtu,
                "domain": config.domain,
                "dhcp": [list(both) for both in config.dhcp],
                "reservations": [
                    {"mac": entry.mac, "address": entry.address, "name": entry.name} for entry in config.hosts
                ],
            }


def describe_network(look: Look, name: str) -> list[str]:
    """Everything about one network, as lines: the manifest, every host's, and who has an address.

    Raises:
        UsageError: There is none of this name.
    """
    hosts = {
        host.name: host.network_configs[name]
        for _, host in sorted(look.fleet.items())
        if name in host.network_configs
    }
    if name not in look.desired.networks and not hosts:
        message = f"there is no network {name!r}, neither desired nor on a host"
        raise UsageError(message, hint="see: reconciler get networks")
    return [*_told(look, name, hosts), *_machines(look, name)]


def _told(look: Look, name: str, hosts: Mapping[str, ObservedNetwork]) -> Iterator[str]:
    origin = look.desired.origins.get(f"Network/{name}")
    yield f"Name:      {name}"
    yield f"Declared:  {f'{origin.file}:{origin.line}' if origin else 'no'} at {look.desired.revision[:12]}"
    for host, network in hosts.items():
        config = network.live or network.config or NetworkConfig("unknown")
        whose = "ours" if is_ours(network, look.survey.situation.owner, host) else "not ours"
        state = "active" if network.active else "not active"
        subnet = f", {config.address}/{config.prefix}" if config.address else ""
        yield f"Host:      {host}: {whose}, {state}, {config.mode} on {config.bridge or 'no bridge'}{subnet}"


def _machines(look: Look, name: str) -> Iterator[str]:
    """Who has which address, by their marks."""
    for vm, domain in sorted(look.survey.index.ours.items()):
        mark = mark_of(domain)
        for interface in (mark.config.interfaces if mark else None) or ():
            if interface.network == name and interface.address:
                where = f"{vm}/{interface.name} ({interface.mac}) on {domain.host}"
                yield f"Address:   {interface.address} {where}"
