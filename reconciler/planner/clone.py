"""A new machine whose disks begin as copies of another's: ``cloneOf``, which one that is there ignores."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

from reconciler.model.domain import DiskConfig, ObservedDomain
from reconciler.model.host import ObservedHost
from reconciler.model.manifest import RunStrategy, VirtualMachine
from reconciler.model.placement import copying_name, parse_volume_name
from reconciler.model.plan import Blocked
from reconciler.planner.index import FleetIndex
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.situation import Situation


def cloned(
    vm: VirtualMachine, found: Newcomer, situation: Situation, index: FleetIndex
) -> Newcomer | Blocked:
    """The same newcomer, bound to the host of what it is a copy of, or why it cannot be copied now."""
    if _comes_back(found, situation):
        return found
    name, of = vm.name, vm.spec.clone_of or ""
    source = index.ours.get(of)
    if source is None:
        message = f"it begins as a copy of {of}, which is on no host that answers"
        return Blocked(name, "CloneSourceMissing", message)
    refusal = _in_use(source, situation.desired.machines.get(of))
    if refusal:
        message = (
            f"it begins as a copy of {of}, {refusal}: `reconciler stop {of}` first, and start it again after"
        )
        return Blocked(name, "CloneSourceRunning", message, host=source.host)
    asked = found.only or vm.spec.placement.host
    if asked not in (None, source.host):
        message = (
            f"it begins as a copy of {of}, which lies on {source.host}, but it belongs on {asked}: "
            f"set placement.host: {source.host}, or leave it out"
        )
        return Blocked(name, "CloneElsewhere", message, host=source.host)
    return replace(
        found, only=source.host, reason=f"it is new, a copy of {of}" if not found.uid else found.reason
    )


def copies(vm: VirtualMachine, host: str, index: FleetIndex) -> Mapping[str, DiskConfig]:
    """By the name of a disk, the source's disk that it begins as; empty for a machine that is no copy."""
    source = index.ours.get(vm.spec.clone_of or "")
    if source is None or source.host != host or source.applied is None:
        return {}
    paths = {disk.target: disk for disk in source.config.disks or ()}
    named = {
        disk.name: paths.get(disk.target) for disk in source.applied.config.disks or () if disk.volume is None
    }
    return {name: disk for name, disk in named.items() if name and disk is not None and disk.type == "file"}


def half_copied(uid: str, volume: str) -> str:
    """Name of the empty volume that stands beside a machine's disk until its copy is whole."""
    return copying_name(str(uuid.uuid5(uuid.UUID(uid), volume)))


def _comes_back(found: Newcomer, situation: Situation) -> bool:
    """True if it has its disks already, and whole: it was made before."""
    if found.uid is None or found.only is None:
        return False
    host = situation.fleet[found.only]
    volumes = [
        name for name in _volumes(host) if (parsed := parse_volume_name(name)) and parsed[1] == found.uid
    ]
    return bool(volumes) and not any(half_copied(found.uid, name) in _volumes(host) for name in volumes)


def _volumes(host: ObservedHost) -> frozenset[str]:
    return frozenset(name for pool in host.pools.values() for name in pool.volumes)


def _in_use(source: ObservedDomain, vm: VirtualMachine | None) -> str:
    """Why its disks cannot be copied: they change, or are about to."""
    if source.state.active:
        return f"which is {source.state}"
    if vm is not None and vm.spec.run_strategy is RunStrategy.ALWAYS:
        return "which is off now but shall run"
    return ""
