"""Networks of the simulated hosts: what the operations on them do, and what somebody else may do to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.model import operations as ops
from reconciler.model.domain import ObservedDomain
from reconciler.model.host import ObservedNetwork
from reconciler.model.network_config import NetworkConfig, Reservation

Networks = dict[str, ObservedNetwork]


def define(networks: Networks, operation: ops.DefineNetwork, _used: bool) -> None:
    known = networks.get(operation.network)
    config = operation.config
    if known is None:
        bridge = config.bridge or f"virbr{len(networks)}"
        networks[operation.network] = ObservedNetwork(
            operation.network,
            operation.uuid,
            active=False,
            config=replace(config, bridge=bridge),
            applied=operation.mark,
        )
        return
    assert known.uuid == operation.uuid, "a network that is not ours is changed"
    old = known.config or known.live
    assert old is not None
    macs = {entry.mac for entry in config.hosts}
    kept = [entry for entry in old.hosts if entry.mac not in macs]
    config = replace(config, bridge=config.bridge or old.bridge, hosts=_hosts((*config.hosts, *kept)))
    networks[operation.network] = replace(known, config=config, applied=operation.mark, persistent=True)


def start(networks: Networks, operation: ops.StartNetwork, _used: bool) -> None:
    network = _ours(networks, operation)
    networks[operation.network] = replace(network, active=True, live=network.live or network.config)


def set_autostart(networks: Networks, operation: ops.SetNetworkAutostart, _used: bool) -> None:
    networks[operation.network] = replace(_ours(networks, operation), autostart=operation.autostart)


def update(networks: Networks, operation: ops.UpdateNetwork, _used: bool) -> None:
    network = _ours(networks, operation)
    assert network.live is not None
    live = replace(network.live, dhcp=operation.config.dhcp, dns=operation.config.dns)
    networks[operation.network] = replace(network, live=live)


def restart(networks: Networks, operation: ops.RestartNetwork, used: bool) -> None:
    assert not used, "a network is restarted under running guests"
    network = _ours(networks, operation)
    networks[operation.network] = replace(network, live=network.config)


def undefine(networks: Networks, operation: ops.UndefineNetwork, used: bool) -> None:
    _ours(networks, operation)
    assert not used, "a network is removed from under a domain"
    del networks[operation.network]


def reserve(networks: Networks, operation: ops.ReserveAddress, _used: bool) -> None:
    entry = operation.reservation

    def reserved(config: NetworkConfig) -> NetworkConfig:
        others = [one for one in config.hosts if one.mac != entry.mac]
        assert entry.address not in {one.address for one in others}, "an address is reserved twice"
        assert not entry.name or entry.name not in {one.name for one in others}, "a name is reserved twice"
        return replace(config, hosts=_hosts((*others, entry)))

    _both(networks, operation, reserved)


def release(networks: Networks, operation: ops.ReleaseAddress, _used: bool) -> None:
    if operation.network not in networks or networks[operation.network].uuid != operation.uuid:
        return

    def released(config: NetworkConfig) -> NetworkConfig:
        gone = (operation.mac, operation.address)
        return replace(config, hosts=_hosts(one for one in config.hosts if (one.mac, one.address) != gone))

    _both(networks, operation, released)


def _both(networks: Networks, operation: Any, change: Callable[[NetworkConfig], NetworkConfig]) -> None:
    network = _ours(networks, operation)
    networks[operation.network] = replace(
        network,
        config=change(network.config) if network.config else None,
        live=change(network.live) if network.live else None,
    )


def _ours(networks: Networks, operation: Any) -> ObservedNetwork:
    network = networks[operation.network]
    assert network.uuid == operation.uuid, "a network that is not ours is changed"
    return network


def _hosts(entries: Iterable[Reservation]) -> tuple[Reservation, ...]:
    return tuple(sorted(entries))


ON_NETWORKS: Mapping[type, Callable[[Networks, Any, bool], None]] = {
    ops.DefineNetwork: define,
    ops.StartNetwork: start,
    ops.SetNetworkAutostart: set_autostart,
    ops.UpdateNetwork: update,
    ops.RestartNetwork: restart,
    ops.UndefineNetwork: undefine,
    ops.ReserveAddress: reserve,
    ops.ReleaseAddress: release,
}


def carry_out(host: Any, operation: Any) -> None:
    """Do an operation on the networks of a simulated host."""
    running = isinstance(operation, ops.RestartNetwork)
    ON_NETWORKS[type(operation)](host.networks, operation, uses(host, operation.network, running=running))


def uses(host: Any, network: str, *, running: bool) -> bool:
    """True if a domain uses a network: one that runs, or any."""
    return any(
        interface.network == network
        for domain in host.domains.values()
        for config in ((domain.live,) if running else (domain.live, domain.config))
        if config is not None
        for interface in config.interfaces or ()
    )


def alter(host: Any, name: str, changes: Mapping[str, Any]) -> None:
    """What somebody does: `active`, `autostart`, `persistent`, and fields of the definition (`side` too)."""
    network: ObservedNetwork = host.networks[name]
    side = changes.get("side", "both")
    whole = {key: changes[key] for key in ("active", "autostart", "persistent") if key in changes}
    values = {key: _value(key, changes[key]) for key in changes.keys() - whole.keys() - {"side"}}
    if side != "live" and network.config is not None:
        network = replace(network, config=replace(network.config, **values))
    if side != "persistent" and network.live is not None:
        network = replace(network, live=replace(network.live, **values))
    network = replace(network, **whole)
    host.networks[name] = replace(network, live=network.live if network.active else None)


def foreign(host: Any, name: str, active: bool) -> None:
    """A network that somebody else made."""
    config = NetworkConfig("nat", bridge="virbr9", address="10.200.0.1", prefix=24)
    host.networks[name] = ObservedNetwork(
        name, "11111111-0000-4000-8000-000000000000", active, config=config, live=config if active else None
    )


def _value(key: str, value: Any) -> Any:
    if key == "hosts":
        return _hosts(Reservation(*entry) for entry in value)
    return tuple(map(tuple, value)) if isinstance(value, list) else value


def macs(domains: Iterable[ObservedDomain]) -> list[str]:
    """MACs of all interfaces."""
    return [nic.mac for domain in domains for nic in domain.config.interfaces or ()]
