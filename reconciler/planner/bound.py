"""A new machine goes where its volumes are."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.manifest import VirtualMachine
from reconciler.model.plan import Blocked
from reconciler.planner.index import FleetIndex
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.situation import Situation
from reconciler.planner.volumes import Attached, attached, is_shared


def bound(vm: VirtualMachine, found: Newcomer, situation: Situation, index: FleetIndex) -> Newcomer | Blocked:
    """The same newcomer, bound to the host of its volumes, or why it can be nowhere.

    A volume in a pool that several hosts see binds nobody: any host with the pool will do.
    """
    only, because = found.only, "its disks are on"
    if only is None and vm.spec.placement.host is not None:
        only, because = vm.spec.placement.host, "placement.host says"
    for volume in attached(situation.desired, vm, situation.owner):
        host = host_of(volume, situation, index)
        if host is None:
            continue
        name = f"its volume {volume.volume.name}"
        if only not in (None, host):
            message = (
                f"{name} is on {host}, but {because} {only}: set placement.host: {host}, take the volume "
                "out, or keep it in a pool that both share"
            )
            return Blocked(vm.name, "VolumeElsewhere", message, host=host)
        only, because = host, f"{name} is on"
    return found if only == vm.spec.placement.host and found.only is None else replace(found, only=only)


def host_of(volume: Attached, situation: Situation, index: FleetIndex) -> str | None:
    """The one host where a volume lies or is to be made; None if several will do, or nobody said."""
    spec = volume.volume.spec
    homes = index.homes.get(volume.uid, ())
    if homes:
        pool = situation.fleet[homes[0].host].pools[homes[0].pool]
        return None if is_shared(situation.desired, pool) else homes[0].host
    record = situation.volumes.get(volume.volume.name)
    manifest = situation.desired.pools.get(spec.pool or "")
    if manifest is not None and manifest.spec.shared:
        return None
    return record.host if record is not None and record.uid == volume.uid else spec.host
