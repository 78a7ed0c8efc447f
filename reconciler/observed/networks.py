"""The libvirt networks of one host, and the addresses that their DHCP gave away.

Which networks are active is asked at every look; their XML is read when an event or that list tells that
something changed, and once in `REREAD` seconds: libvirt tells nobody of a ``virsh net-update``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import libvirt

from reconciler.model.host import ObservedNetwork
from reconciler.observed.facts import raise_unless_unsupported
from reconciler.observed.network_xml import parse_network

REREAD = 60.0
"""Seconds within which the XML of every network is read again, whatever happens."""


class Networks:
    """Reads the networks of one host over one connection after another."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = 0.0
        self._active: frozenset[str] = frozenset()
        self._configs: Mapping[str, ObservedNetwork] = {}
        self.running: tuple[Any, ...] = ()
        """libvirt's objects of the active networks, as of the last look."""

    def distrust(self) -> None:
        """Read every XML again next time."""
        self._due = 0.0

    def read(
        self, raw: libvirt.virConnect, *, changed: bool
    ) -> tuple[frozenset[str], Mapping[str, ObservedNetwork]]:
        """Names of the active networks, and all networks by name; the same objects if nothing changed.

        Args:
            raw: An open connection.
            changed: An event told of a change.

        Raises:
            libvirt.libvirtError: The host does not answer.
        """
        self.running = tuple(_list(raw, libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
        active = frozenset([str(network.name()) for network in self.running])
        moved = active != self._active
        if moved:
            self._active = active
        now = self._clock()
        if changed or moved or self._due <= now:
            self._due = now + REREAD
            configs = self._read_all(raw, active)
            if configs != self._configs:
                self._configs = configs
        return self._active, self._configs

    def _read_all(self, raw: libvirt.virConnect, active: frozenset[str]) -> dict[str, ObservedNetwork]:
        autostart = {n.name() for n in _list(raw, libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART)}
        persistent = {n.name() for n in _list(raw, libvirt.VIR_CONNECT_LIST_NETWORKS_PERSISTENT)}
        configs = {}
        for network in _list(raw, 0):
            name = str(network.name())
            try:
                found = _observed(
                    network, active=name in active, persistent=name in persistent, autostart=name in autostart
                )
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                    raise
                continue
            before = self._configs.get(name)
            configs[name] = before if before is not None and before == found else found
        return configs


def _list(raw: libvirt.virConnect, flags: int) -> list[Any]:
    try:
        return list(raw.listAllNetworks(flags))
    except libvirt.libvirtError as error:
        raise_unless_unsupported(error)
        return []


def _definition(network: Any) -> str:
    """What its next start uses; a driver that knows but one definition tells that."""
    try:
        return str(network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
        return str(network.XMLDesc(0))


def _observed(network: Any, *, active: bool, persistent: bool, autostart: bool) -> ObservedNetwork:
    inactive_xml = _definition(network) if persistent else network.XMLDesc(0)
    parsed = parse_network(inactive_xml)
    live = None
    if active:
        live_xml = network.XMLDesc(0)
        live = parsed.config if live_xml == inactive_xml else parse_network(live_xml).config
        if live == parsed.config:
            live = parsed.config
    return ObservedNetwork(
        name=str(network.name()),
        uuid=str(network.UUIDString()),
        active=active,
        autostart=autostart,
        config=parsed.config,
        live=live,
        applied=parsed.applied,
        persistent=persistent,
    )
