"""Reads one host over one connection, which it opens anew when it broke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import libvirt

from reconciler.errors import HostError
from reconciler.model.host import Host, HostStatus, ObservedHost, ObservedNetwork
from reconciler.model.network_config import Lease
from reconciler.observed.addresses import LeaseReader, Leases
from reconciler.observed.connection import Connection, Heard, Listener, Opener
from reconciler.observed.domains import Domains
from reconciler.observed.facts import Facts, read_facts
from reconciler.observed.networks import Networks
from reconciler.observed.resources import Bridges, Pools, warnings
from reconciler.observed.trouble import explain

FACTS_AGE = 600.0
"""Seconds after which a host is asked again what it is."""


class HostReader:
    """Everything we keep about one host between two reads. One thread at a time may call `read`."""

    def __init__(
        self,
        host: Host,
        owner: str,
        on_change: Callable[[], None],
        opener: Opener,
        clock: Callable[[], float],
    ) -> None:
        self.host = host
        self._opener = opener
        self._clock = clock
        self._listener = Listener(on_change)
        self._connection: Connection | None = None
        self._domains = Domains(host, owner, clock)
        self._pools = Pools(clock)
        self._bridges = Bridges(clock)
        self._facts: Facts | None = None
        self._facts_due = 0.0
        self._networks = Networks(clock)
        self._leases = LeaseReader(clock)
        self._last: ObservedHost | None = None
        self._distrusted = threading.Event()

    def distrust(self) -> None:
        """Whatever was read before counts as old at the next read. Any thread may call this."""
        self._distrusted.set()

    @property
    def leases(self) -> Leases:
        """Addresses that its DHCP gave, by MAC, as last read. Any thread may ask."""
        return self._leases.leases

    @property
    def leased(self) -> frozenset[Lease]:
        """What its DHCP gave away, network by network, as last read. Any thread may ask."""
        return self._leases.given

    def read(self) -> ObservedHost:
        """The host as it is now; the same object as last time if nothing changed.

        Takes as long as the host does, which may be for ever.

        Raises:
            HostError: It does not answer; ``reason`` is a value of `HostStatus`.
        """
        try:
            return self._read_once()
        except libvirt.libvirtError as error:
            self._start_anew()
            if self._connection is not None and self._connection.alive:
                raise explain(self.host, error) from error
        # The connection broke, perhaps while libvirtd was restarted: that deserves one more attempt.
        self.close()
        try:
            return self._read_once()
        except libvirt.libvirtError as error:
            self._start_anew()
            raise explain(self.host, error) from error

    def close(self) -> None:
        """Close the connection; the next read opens another. A hung host can make this wait for ever."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read_once(self) -> ObservedHost:
        connection, heard = self._connected()
        raw = connection.raw
        if self._distrusted.is_set():
            self._distrusted.clear()
            self._start_anew()
        # Domains come last: the younger the news of them, the less a plan made of it can be wrong.
        facts = self._current_facts(raw)
        if heard.interfaces:
            self._bridges.distrust()
        bridges = self._bridges.read(raw)
        active, networks = self._networks.read(raw, changed=heard.interfaces)
        self._leases.read(self._networks.running, _serving(networks))
        pools = self._pools.read(raw, heard.pools)
        domains = self._domains.read(raw, heard.domains)
        observed = ObservedHost(
            name=self.host.name,
            status=HostStatus.READY,
            message=warnings(pools),
            arch=facts.arch,
            cpus=facts.cpus,
            memory=facts.memory,
            virt_types=facts.virt_types,
            libvirt_version=facts.libvirt_version,
            hypervisor_version=facts.hypervisor_version,
            machines=facts.machines,
            firmwares=facts.firmwares,
            networks=active,
            network_configs=networks,
            bridges=bridges,
            pools=pools,
            domains=domains,
            uuid=facts.uuid,
            nics=facts.nics,
            hardware=facts.hardware,
        )
        if observed != self._last:
            self._last = observed
        return self._last

    def _connected(self) -> tuple[Connection, Heard]:
        heard = self._listener.take()
        if self._connection is not None and (heard.lost or not self._connection.alive):
            self.close()
        if self._connection is None:
            self._start_anew()
            self._connection = self._opener(self.host, self._listener)
            # What an old connection said last is covered by reading everything.
            heard = self._listener.take()
        return self._connection, heard

    def _current_facts(self, raw: libvirt.virConnect) -> Facts:
        now = self._clock()
        if self._facts is None or self._facts_due <= now:
            facts = read_facts(raw, self.host.virt_type)
            self._facts_due = now + FACTS_AGE
            if facts != self._facts:
                self._facts = facts
        return self._facts

    def _start_anew(self) -> None:
        """Read everything at the next opportunity; what then turns out equal keeps its object."""
        self._facts_due = 0.0
        self._domains.distrust()
        self._pools.distrust()
        self._bridges.distrust()
        self._networks.distrust()
        self._leases.distrust()


def _serving(networks: Mapping[str, ObservedNetwork]) -> frozenset[str]:
    """Names of the networks that answer DHCP, or did until their last reservation went: leases stay."""
    return frozenset(
        name
        for name, one in networks.items()
        if one.live is not None
        and (one.live.dhcp or one.live.hosts or (one.live.served and one.live.address))
    )


def unknown(host: Host, error: HostError, last: ObservedHost | None) -> ObservedHost:
    """A host that gave no answer: the reason and the remedy in words; `last` if it says just that."""
    words = error.message.removeprefix(f"host {host.name}: ")
    message = f"{words}: {error.hint}" if error.hint else words
    status = HostStatus(error.reason)
    if last is not None and (last.status, last.message) == (status, message):
        return last
    return ObservedHost(host.name, status, message)
