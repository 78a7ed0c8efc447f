"""Storage pools and bridges of one host.

libvirt answers for a pool from memory: free space and volumes are those of the last refresh.  So pools
of files are refreshed now and then, and volumes are listed when something tells that they changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from reconciler.model.host import Pool
from reconciler.model.placement import parse_own_volume_name
from reconciler.observed.disk_source import auth_of, servers_of
from reconciler.observed.facts import raise_unless_unsupported

REFRESH = 60.0
"""Seconds between refreshes of a pool of files, and between looks at the host's bridges."""

SLOW_REFRESH = 600.0
"""The same for pools where it costs more; what we did there ourselves is looked at right away."""

FINE_STEP = 64 << 20
COARSE_STEP = 0.01
"""Free space is reported anew once it moved by `FINE_STEP` bytes or this share, whichever is more:
a guest that writes must not make its host "changed" at every look."""

NEARLY_FULL = 0.01
"""Share of a pool's capacity; with less free than this the host carries a warning."""

# Refreshing these is a look into a folder. An rbd pool opens every image for it; others are left alone.
_FILE_POOLS = frozenset({"dir", "fs", "netfs"})
_SLOW_POOLS = frozenset({"rbd"})
_REFRESHED = _FILE_POOLS | _SLOW_POOLS
# Taps of running guests come and go with them, and are no bridges.
_TAPS = ("vnet", "tap", "macvtap", "veth")


@dataclass(slots=True)
class _PoolEntry:
    """A pool as last reported, the figures of that time, and when it is refreshed next."""

    pool: Pool
    figures: tuple[int, ...]
    due: float


class Pools:
    """Reads the storage pools of one host."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _PoolEntry] = {}
        self._current: Mapping[str, Pool] = {}

    def distrust(self) -> None:
        """Refresh every pool next time."""
        for entry in self._entries.values():
            entry.due = 0.0

    def read(self, raw: libvirt.virConnect, changed: Collection[str]) -> Mapping[str, Pool]:
        """All pools by name; the same mapping as last time if none changed.

        Args:
            raw: An open connection.
            changed: Names that events told.

        Raises:
            libvirt.libvirtError: The host does not answer.
        """
        try:
            listing = raw.listAllStoragePools(0)
        except libvirt.libvirtError as error:
            raise_unless_unsupported(error)
            listing = []
        entries = {}
        for item in listing:
            name = str(item.name())
            try:
                entries[name] = self._read_pool(item, self._entries.get(name), name in changed)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                    raise
        self._entries = entries
        if self._current != (pools := {name: entry.pool for name, entry in entries.items()}):
            self._current = pools
        return self._current

    def _read_pool(self, item: Any, entry: _PoolEntry | None, changed: bool) -> _PoolEntry:
        now = self._clock()
        due = entry.due if entry is not None else 0.0
        refreshed = due <= now
        if refreshed:
            due = now + (SLOW_REFRESH if entry is not None and entry.pool.type in _SLOW_POOLS else REFRESH)
            _refresh(item, entry)
        figures = tuple(int(figure) for figure in item.info())
        if entry is not None and not changed and not refreshed and entry.figures == figures:
            return entry
        before = entry.pool if entry is not None else None
        known = None if changed else before
        pool = _pool(item, figures, known)
        if before is not None and _alike(before, pool):
            pool = before
        return _PoolEntry(pool, figures, due)


def _refresh(item: Any, entry: _PoolEntry | None) -> None:
    if entry is not None and entry.pool.type not in _REFRESHED:
        return
    if entry is None and ET.fromstring(item.XMLDesc(0)).get("type") not in _REFRESHED:  # noqa: S314
        return
    try:
        item.refresh(0)
    except libvirt.libvirtError as error:
        # Inactive, or busy with building a volume: the figures of last time have to do.
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INTERNAL_ERROR):
            raise_unless_unsupported(error)


def _pool(item: Any, figures: tuple[int, ...], known: Pool | None) -> Pool:
    """The pool as it is; what its XML says is taken from `known` if that still stands."""
    state, capacity, _allocation, available = figures
    active = state in (libvirt.VIR_STORAGE_POOL_RUNNING, libvirt.VIR_STORAGE_POOL_DEGRADED)
    if known is None:
        xml = ET.fromstring(item.XMLDesc(0))  # noqa: S314 - from libvirt, not from people
        known = _described(xml)
    volumes = {str(volume.name()): volume for volume in item.listAllVolumes(0)} if active else {}
    return replace(
        known,
        name=str(item.name()),
        active=active,
        capacity=capacity if active else 0,
        available=available if active else 0,
        volumes=frozenset(volumes),
        sizes=_sizes(volumes),
        uuid=str(item.UUIDString()),
        autostart=bool(item.autostart()),
    )


def _described(xml: ET.Element) -> Pool:
    """What a pool's XML says of where its bytes are."""
    kind, source = xml.get("type", ""), xml.find("source")
    path = "" if kind == "rbd" else (xml.findtext("target/path") or "")
    name, auth = "", None
    hosts: tuple[str, ...] = ()
    if source is not None:
        servers = servers_of([host for host in source.findall("host") if host.get("name")])
        folder = source.find("dir")
        if kind == "netfs":
            name = f"{servers[0] if servers else ''}:{folder.get('path', '') if folder is not None else ''}"
        else:
            name, hosts = source.findtext("name") or "", servers
        told = source.find("auth")
        auth = auth_of(told) if told is not None else None
    return Pool("", kind, path, False, 0, 0, source=name, hosts=hosts, auth=auth)


def _sizes(volumes: Mapping[str, Any]) -> Mapping[str, int]:
    """Virtual sizes of volumes that have a life of their own: no domain may be there to tell them."""
    sizes = {}
    for name, volume in volumes.items():
        if parse_own_volume_name(name) is None:
            continue
        try:
            sizes[name] = int(volume.info()[1])
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_CONNECT:
                raise
            # It went while we looked, or somebody works on it: the next look will tell.
    return sizes


def read_pool(item: Any) -> Pool:
    """One pool, as libvirt remembers it.

    Raises:
        libvirt.libvirtError: The host does not answer.
    """
    return _pool(item, tuple(int(figure) for figure in item.info()), None)


def _alike(before: Pool, now: Pool) -> bool:
    """True if nothing differs but a little free space."""
    step = max(FINE_STEP, before.available * COARSE_STEP)
    return abs(before.available - now.available) < step and (
        replace(before, available=0) == replace(now, available=0)
    )


def warnings(pools: Mapping[str, Pool]) -> str:
    """What people should know of these pools, in one sentence; empty if all is well."""
    full = [
        f"pool {pool.name} is full ({pool.available >> 20} MiB of {pool.capacity >> 20} MiB left)"
        for _, pool in sorted(pools.items())
        if pool.active and pool.capacity and pool.available < pool.capacity * NEARLY_FULL
    ]
    return "; ".join(full)


class Bridges:
    """Reads the names of a host's bridges, one XML for each interface once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._is_bridge: dict[str, bool] = {}
        self._current: frozenset[str] | None = None
        self._due = 0.0

    def distrust(self) -> None:
        """Look again next time."""
        self._due = 0.0
        self._is_bridge.clear()

    def read(self, raw: libvirt.virConnect) -> frozenset[str] | None:
        """Names of the bridges; None where the host has no interface driver.

        Raises:
            libvirt.libvirtError: The host does not answer.
        """
        now = self._clock()
        if now < self._due:
            return self._current
        self._due = now + REFRESH
        try:
            listing = raw.listAllInterfaces(0)
        except libvirt.libvirtError as error:
            raise_unless_unsupported(error)
            self._current = None
            return None
        bridges = frozenset(
            [str(item.name()) for item in listing if not item.name().startswith(_TAPS) and self._bridge(item)]
        )
        if bridges != self._current:
            self._current = bridges
        return self._current

    def _bridge(self, interface: Any) -> bool:
        name = str(interface.name())
        if name not in self._is_bridge:
            try:
                xml = interface.XMLDesc(0)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (
                    libvirt.VIR_ERR_NO_INTERFACE,
                    libvirt.VIR_ERR_INTERNAL_ERROR,
                ):
                    raise
                return False
            self._is_bridge[name] = ET.fromstring(xml).get("type") == "bridge"  # noqa: S314
        return self._is_bridge[name]
