"""One long-lived libvirt connection to one host, and what its events told us."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import libvirt

from reconciler.model.host import Host
from reconciler.observed import eventloop
from reconciler.observed.trouble import explain
from reconciler.observed.uri import openable

# A host that is silent for about 25 s loses the connection, and a call that waits on it fails.
_KEEPALIVE_SECONDS = 5
_KEEPALIVE_COUNT = 5

_DOMAIN_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
)


@dataclass(slots=True)
class Heard:
    """What events told since the last read.

    Attributes:
        domains: UUIDs of domains that changed.
        pools: Names of pools that changed.
        interfaces: Networks changed, so bridges may have.
        lost: The connection broke.
    """

    domains: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)
    interfaces: bool = False
    lost: bool = False


class Listener:
    """Gathers events on libvirt's event thread until the reader's thread takes them."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._heard = Heard()

    def take(self) -> Heard:
        """Everything heard since the last call."""
        with self._lock:
            heard, self._heard = self._heard, Heard()
        return heard

    def domain(self, _conn: Any, domain: Any, *_details: Any) -> None:
        """A domain changed."""
        uuid = str(domain.UUIDString())
        with self._lock:
            self._heard.domains.add(uuid)
        self._on_change()

    def pool(self, _conn: Any, pool: Any, *_details: Any) -> None:
        """A pool came, went, started or stopped."""
        self.pool_refreshed(_conn, pool)
        self._on_change()

    def pool_refreshed(self, _conn: Any, pool: Any, *_details: Any) -> None:
        """A pool was looked at anew, most often by us: no reason to wake anybody."""
        with self._lock:
            self._heard.pools.add(str(pool.name()))

    def network(self, _conn: Any, _network: Any, *_details: Any) -> None:
        """A network came, went, started or stopped."""
        with self._lock:
            self._heard.interfaces = True
        self._on_change()

    def closed(self, _conn: Any, _reason: int, *_details: Any) -> None:
        """The connection broke, or keepalive gave it up."""
        with self._lock:
            self._heard.lost = True
        self._on_change()


class Opener(Protocol):
    """Opens a connection to a host; a test hands in its own."""

    def __call__(self, host: Host, listener: Listener) -> Connection:
        """Open it.

        Raises:
            HostError: With the reason in words.
        """


class Connection:
    """An open connection. Not thread-safe: one reader uses it."""

    def __init__(self, raw: libvirt.virConnect, listener: Listener) -> None:
        self.raw = raw
        self._undo: list[Callable[[], object]] = []
        eventloop.keep(raw)
        self._attend(listener)

    @classmethod
    def open(cls, host: Host, listener: Listener) -> Connection:
        """Connect, without any limit of time: libvirt knows none. See `fleet` for the deadline.

        Raises:
            HostError: It cannot be opened; the message says why, the hint what to do.
        """
        eventloop.ensure()
        uri = openable(host.uri)
        try:
            return cls(open_raw(uri), listener)
        except libvirt.libvirtError as error:
            raise explain(host, error) from error

    @property
    def alive(self) -> bool:
        """False once the connection is known to be broken. Costs no message to the host."""
        try:
            return bool(self.raw.isAlive())
        except libvirt.libvirtError:
            return False

    def close(self) -> None:
        """Close it. A hung host can make this wait for ever, so it too needs a thread to spare."""
        for undo in reversed(self._undo):
            with suppress(libvirt.libvirtError):
                undo()
        self._undo.clear()
        with suppress(libvirt.libvirtError):
            self.raw.close()
        eventloop.release(self.raw)

    def _attend(self, listener: Listener) -> None:
        """Keepalive and events, as far as the driver has them: without, reading finds changes later."""
        raw = self.raw
        with suppress(libvirt.libvirtError):
            raw.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        with suppress(libvirt.libvirtError):
            raw.registerCloseCallback(listener.closed, None)
            self._undo.append(raw.unregisterCloseCallback)
        for event in _DOMAIN_EVENTS:
            self._register(raw.domainEventRegisterAny, raw.domainEventDeregisterAny, event, listener.domain)
        for event, heard in (
            (libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, listener.pool),
            (libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, listener.pool_refreshed),
        ):
            self._register(raw.storagePoolEventRegisterAny, raw.storagePoolEventDeregisterAny, event, heard)
        self._register(
            raw.networkEventRegisterAny,
            raw.networkEventDeregisterAny,
            libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
            listener.network,
        )

    def _register(
        self,
        register: Callable[..., int],
        deregister: Callable[[int], object],
        event: int,
        heard: Callable[..., None],
    ) -> None:
        with suppress(libvirt.libvirtError):
            number = register(None, event, heard, None)
            self._undo.append(lambda: deregister(number))


def open_raw(uri: str) -> libvirt.virConnect:
    """Open it, as libvirt does, but twice if ssh ended before it could say why."""
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        # ssh gave up before libvirt wrote to it: this once, its reason is not in the message.
        if "Cannot write data" not in str(error):
            raise
    return libvirt.open(uri)
