"""The fleet as it will be once the plan's own pools and networks are there.

A machine may name a pool that the same plan makes. Rather than letting it wait for the next tick, the hosts
are shown with what is pending on them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.model.desired import DesiredState
from reconciler.model.host import Fleet, Host, ObservedHost, Pool
from reconciler.model.identity import object_uuid
from reconciler.model.network import Network
from reconciler.model.storage import Hosts, PoolSource, PoolType, StoragePool
from reconciler.planner.networks import is_ours, obstacle
from reconciler.planner.situation import Situation

_PLENTY = 1 << 50
"""Free bytes of a pool of which nothing is known yet; the host itself will tell if it is full."""


def meant_for(hosts: Hosts, host: Host) -> bool:
    """True if an object with these `hosts` shall be on this one."""
    if hosts.names and host.name not in hosts.names:
        return False
    return all(host.labels.get(key) == value for key, value in hosts.selector.items())


def project(situation: Situation) -> Fleet:
    """The hosts with the pools and networks that are pending on them; the very same mapping if none is.

    Only what is ours, or not there at all, is pending: what others made is used as it is.
    """
    desired = situation.desired
    if not desired.pools and not desired.networks:
        return situation.fleet
    changed: dict[str, ObservedHost] = {}
    for name, observed in situation.fleet.items():
        host = situation.hosts.get(name)
        if host is None or not observed.known:
            continue
        pools = {pool.name: pool for pool in _pools(situation, host, observed)}
        networks = frozenset(_networks(desired, host, observed, situation.owner))
        if pools or networks:
            changed[name] = replace(
                observed, pools={**observed.pools, **pools}, networks=observed.networks | networks
            )
    return {**situation.fleet, **changed} if changed else situation.fleet


def _pools(situation: Situation, host: Host, observed: ObservedHost) -> Iterable[Pool]:
    desired = situation.desired
    for name, manifest in desired.pools.items():
        if not meant_for(manifest.spec.hosts, host):
            continue
        present = observed.pools.get(name)
        if present is None:
            if same_place(desired, manifest, host, observed) is not None:
                continue
            free = _free(manifest, situation.fleet, observed)
            yield pending_pool(manifest, situation.owner, host.name, free)
        elif not present.active and present.uuid == _uuid(name, situation.owner, host.name):
            free = _free(manifest, situation.fleet, observed)
            yield replace(present, active=True, pending=True, capacity=free, available=free)


def same_place(
    desired: DesiredState, manifest: StoragePool, host: Host, observed: ObservedHost
) -> str | None:
    """The pool of a host that has the folder of one that is to be made there; None if none has.

    libvirt refuses two pools of one folder. Of two that are both to be made, the first by name has it.
    """
    name, path = manifest.name, manifest.spec.path
    if manifest.spec.type is not PoolType.DIR or not path or name in observed.pools:
        return None
    taken = {pool.name: pool.path for pool in observed.pools.values()}
    for other in desired.pools.values():
        if other.name < name and other.name not in taken and meant_for(other.spec.hosts, host):
            taken[other.name] = other.spec.path or ""
    same = (one for one, where in taken.items() if where and _normal(where) == _normal(path))
    return min(same, default=None)


def _normal(path: str) -> str:
    return posixpath.normpath(path)


def pending_pool(manifest: StoragePool, owner: str, host: str, free: int) -> Pool:
    """A pool as it will be reported; `free` is a guess in bytes."""
    spec, source = manifest.spec, manifest.spec.source or PoolSource()
    return Pool(
        name=manifest.name,
        type=str(spec.type),
        path=pool_path(manifest),
        active=True,
        capacity=free,
        available=free,
        uuid=_uuid(manifest.name, owner, host),
        autostart=spec.autostart,
        source=f"{source.host}:{source.path}" if spec.type is PoolType.NETFS else source.name or "",
        hosts=source.hosts,
        auth=f"{source.user}:{source.secret}" if source.user else None,
        pending=True,
    )


def _uuid(pool: str, owner: str, host: str) -> str:
    return object_uuid("StoragePool", owner, pool, host)


def pool_path(manifest: StoragePool) -> str:
    """Where the volumes of a pool appear on its host; empty for one whose volumes are no files."""
    spec, source = manifest.spec, manifest.spec.source or PoolSource()
    if spec.type is PoolType.LOGICAL:
        return f"/dev/{source.name}"
    if spec.type is PoolType.ZFS:
        return f"/dev/zvol/{source.name}"
    return spec.path or ""


def _free(manifest: StoragePool, fleet: Fleet, observed: ObservedHost) -> int:
    """What a pending pool probably has free: a shared one is seen elsewhere, a folder is like others."""
    if manifest.spec.shared:
        seen = _elsewhere(manifest.name, fleet)
        if seen is not None:
            return seen
    if manifest.spec.type is PoolType.DIR:
        return max((pool.available for pool in observed.pools.values() if pool.active), default=_PLENTY)
    return _PLENTY


def _elsewhere(name: str, fleet: Fleet) -> int | None:
    found = [host.pools[name].available for host in fleet.values() if host.known and name in host.pools]
    return max(found, default=None)


def _networks(desired: DesiredState, host: Host, observed: ObservedHost, owner: str) -> Iterable[str]:
    networks: Mapping[str, Network] = desired.networks
    for name, manifest in networks.items():
        if name in observed.networks or not meant_for(manifest.spec.hosts, host):
            continue
        present = observed.network_configs.get(name)
        if present is not None and not is_ours(present, owner, host.name):
            continue
        if obstacle(manifest, observed) is None:
            yield name
