"""Disks and interfaces: lists compared by key, disks by target and interfaces by MAC.

A device that stays is called by the user's name in a path (``disks[data].size``); one that goes by its key
(``disks[vdb]``), since a newcomer may already have the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.model.domain import Applied, DiskConfig, DomainConfig, InterfaceConfig, ObservedDomain
from reconciler.model.parts import IoLimits
from reconciler.model.placement import parse_volume_name
from reconciler.model.plan import FieldChange, Impact
from reconciler.planner.difference import Difference
from reconciler.planner.names import ROOT

_HOT_BUSES = frozenset({"virtio", "scsi"})
_SECTOR = 512
_IDENTITY = ("path", "bus", "format")
_ACCESS = ("type", "hosts", "auth", "shared")
"""How the same bytes are reached: changed by plugging the disk in anew, never by another disk."""

_TUNING = {
    **dict.fromkeys(("cache", "io", "discard"), "default"),
    "read_only": False,
    "limits": IoLimits(),
}
"""How the bytes are moved, and what stands for a value that is not there."""

Device = TypeVar("Device", DiskConfig, InterfaceConfig)


def carries_uid(path: str, uid: str) -> bool:
    """True if a file is a volume that we made for the machine with this uid."""
    parsed = parse_volume_name(path.rpartition("/")[2])
    return parsed is not None and parsed[1] == uid


def disks(wanted: DomainConfig, domain: ObservedDomain, mark: Applied) -> Iterable[Difference]:
    """Differences of the disks."""
    if wanted.disks is None:
        return
    kept = {disk.target: disk for disk in domain.config.disks or ()}
    live = {disk.target: disk for disk in domain.live.disks or ()} if domain.live else None
    old = {disk.target: disk for disk in mark.config.disks or ()}
    for disk in wanted.disks:
        case = _Disk(disk, kept.get(disk.target), live, old.get(disk.target), mark.uid)
        yield from case.differences()
    targets = {disk.target for disk in wanted.disks}
    for target in sorted((kept.keys() | (live or {}).keys()) - targets):
        present = kept.get(target) or (live or {})[target]
        yield _surplus_disk(present, old.get(target), target in kept, target in (live or {}))


def _surplus_disk(disk: DiskConfig, old: DiskConfig | None, kept: bool, live: bool) -> Difference:
    """A disk that shall not be there (any more): detached, its file stays."""
    root = old is not None and old.name == ROOT
    impact = Impact.NONE
    if root:
        # A machine without the disk that it boots from is another machine.
        impact = Impact.REPLACE
    elif live:
        impact = Impact.LIVE if disk.bus in _HOT_BUSES else Impact.RESTART
    change = FieldChange(f"disks[{disk.target}]", before=disk, after=None, impact=impact, drift=old is None)
    covers = "root_disk" if root else "disks"
    return Difference(change, covers, persistent=kept, live=live, device=disk.target)


@dataclass(frozen=True, slots=True)
class _Disk:
    """One desired disk, and the same target in the persistent, live (None: not running) and applied state."""

    disk: DiskConfig
    kept: DiskConfig | None
    running: Mapping[str, DiskConfig] | None
    old: DiskConfig | None
    uid: str

    @property
    def live(self) -> DiskConfig | None:
        return (self.running or {}).get(self.disk.target)

    @property
    def root(self) -> bool:
        return self.disk.name == ROOT

    def differences(self) -> Iterable[Difference]:
        missing_live = self.running is not None and self.live is None
        if self.kept is None or missing_live:
            yield self._missing(missing_live)
            return
        for attribute in (*_IDENTITY, *_ACCESS):
            yield from self._attribute(attribute)
        yield from self._tuning()
        yield from self._size()

    def _missing(self, missing_live: bool) -> Difference:
        impact = self._hot_impact() if missing_live else Impact.NONE
        stale = self.kept is None or any(
            getattr(self.kept, name) != getattr(self.disk, name) for name in (*_IDENTITY, *_ACCESS)
        )
        drift = self.old is not None and self.old.path == self.disk.path
        return self._difference("", (None, self.disk), impact, (stale, missing_live), drift=drift)

    def _attribute(self, name: str) -> Iterable[Difference]:
        wanted, kept = getattr(self.disk, name), getattr(self.kept, name)
        live = getattr(self.live, name) if self.live else wanted
        if wanted == kept == live:
            return
        moved = self.old is not None and getattr(self.old, name) != wanted
        if moved and self._made() and name in _IDENTITY and (self.root or name != "bus"):
            impact = Impact.REPLACE
        else:
            impact = self._hot_impact() if live != wanted else Impact.NONE
        before = live if live != wanted else kept
        yield self._difference(
            name,
            (before, wanted),
            impact,
            (kept != wanted, live != wanted),
            drift=self.old is not None and not moved,
        )

    def _tuning(self) -> Iterable[Difference]:
        """How it is read and written; only limits can be changed while it is in use."""
        for name, absent in _TUNING.items():
            wanted = getattr(self.disk, name)
            if wanted is None:
                continue
            kept, live = (
                getattr(side, name) if getattr(side, name) is not None else absent
                for side in (self.kept or self.disk, self.live or self.kept or self.disk)
            )
            hot = self.live is not None and live != wanted
            if kept == wanted and not hot:
                continue
            impact = Impact.NONE if not hot else Impact.LIVE if name == "limits" else Impact.RESTART
            drift = self.old is not None and getattr(self.old, name) == wanted
            before = live if hot else kept
            yield self._difference(name, (before, wanted), impact, (kept != wanted, hot), drift=drift)

    def _size(self) -> Iterable[Difference]:
        wanted, applied = self.disk.size, self.old.size if self.old else None
        if wanted is None:
            return
        seen = (self.live.size if self.live else None) or (self.kept.size if self.kept else None)
        size = seen if seen is not None else applied
        if size is not None and _sectors(size) == _sectors(wanted):
            return
        grow = size is None or size < wanted
        moved = applied != wanted
        impact = Impact.NONE if self.running is None or not grow else Impact.LIVE
        difference = self._difference("size", (size, wanted), impact, (False, grow), drift=not moved)
        if grow:
            yield difference
        elif moved:
            yield _with(difference, refusal="ShrinkRefused")
        else:
            # Somebody grew it on the host. That is shown; nothing makes a disk smaller.
            yield _with(difference, reported=True)

    def _made(self) -> bool:
        return self.old is not None and carries_uid(self.old.path, self.uid)

    def _hot_impact(self) -> Impact:
        return Impact.LIVE if self.disk.bus in _HOT_BUSES and not self.root else Impact.RESTART

    def _difference(
        self,
        attribute: str,
        values: tuple[Any, Any],
        impact: Impact,
        sides: tuple[bool, bool],
        *,
        drift: bool,
    ) -> Difference:
        path = f"disks[{self.disk.name or self.disk.target}]" + (f".{attribute}" if attribute else "")
        change = FieldChange(path, before=values[0], after=values[1], impact=impact, drift=drift)
        covers = "root_disk" if self.root else "disks"
        return Difference(change, covers, persistent=sides[0], live=sides[1], device=self.disk.target)


def _with(difference: Difference, *, refusal: str = "", reported: bool = False) -> Difference:
    return Difference(
        difference.change, difference.covers, device=difference.device, refusal=refusal, reported=reported
    )


def _sectors(size: int) -> int:
    return -(-size // _SECTOR)


def interfaces(wanted: DomainConfig, domain: ObservedDomain, mark: Applied) -> Iterable[Difference]:
    """Differences of the interfaces."""
    if wanted.interfaces is None:
        return
    kept = {i.mac: i for i in domain.config.interfaces or ()}
    live = {i.mac: i for i in domain.live.interfaces or ()} if domain.live else None
    old = {i.mac: i for i in mark.config.interfaces or ()}
    for interface in wanted.interfaces:
        mac = interface.mac
        yield from _interface(interface, kept.get(mac), live, old.get(mac))
    macs = {interface.mac for interface in wanted.interfaces}
    for mac in sorted((kept.keys() | (live or {}).keys()) - macs):
        present = kept.get(mac) or (live or {})[mac]
        hot = mac in (live or {})
        impact = Impact.LIVE if hot else Impact.NONE
        change = FieldChange(
            f"interfaces[{mac}]", before=present, after=None, impact=impact, drift=mac not in old
        )
        yield Difference(change, "interfaces", persistent=mac in kept, live=hot, device=mac)


def _interface(
    wanted: InterfaceConfig,
    kept: InterfaceConfig | None,
    running: Mapping[str, InterfaceConfig] | None,
    old: InterfaceConfig | None,
) -> Iterable[Difference]:
    label = f"interfaces[{wanted.name or wanted.mac}]"
    live = (running or {}).get(wanted.mac)
    missing_live = running is not None and live is None
    if kept is None or missing_live:
        impact = Impact.LIVE if missing_live else Impact.NONE
        change = FieldChange(label, before=None, after=wanted, impact=impact, drift=old is not None)
        stale = kept is None or bool(_unlike(wanted, kept))
        yield Difference(change, "interfaces", persistent=stale, live=missing_live, device=wanted.mac)
        return
    in_kept, in_live = _unlike(wanted, kept), _unlike(wanted, live) if live else {}
    for name in ("network", "bridge", "model"):
        if name not in in_kept and name not in in_live:
            continue
        hot = name in in_live
        change = FieldChange(
            f"{label}.{name}",
            before=in_live[name] if hot else in_kept[name],
            after=getattr(wanted, name),
            impact=Impact.LIVE if hot else Impact.NONE,
            drift=old is not None and name not in _unlike(wanted, old),
        )
        yield Difference(change, "interfaces", persistent=name in in_kept, live=hot, device=wanted.mac)
    applied = old.address if old is not None else None
    if wanted.address != applied:
        # It stands in no domain but in our mark, and on the network, which is planned by itself.
        change = FieldChange(f"{label}.address", applied, wanted.address, Impact.NONE)
        yield Difference(change, "interfaces", device=wanted.mac)


def _unlike(wanted: InterfaceConfig, seen: InterfaceConfig) -> dict[str, str | None]:
    """Attributes that differ, with the seen value."""
    unlike = {
        name: getattr(seen, name)
        for name in ("network", "bridge")
        if getattr(seen, name) != getattr(wanted, name)
    }
    # No model word in the XML: the host chose one, and does not say which.
    if wanted.model is not None and seen.model is not None and seen.model != wanted.model:
        unlike["model"] = seen.model
    return unlike
