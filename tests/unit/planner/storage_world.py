"""Pools, volumes and claims of the simulated hosts: what the operations on them do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.model import operations as ops
from reconciler.model.host import Pool
from reconciler.model.placement import claim_name, copying_name, is_machine
from reconciler.model.plan import Action


def _define_pool(_world: Any, host: Any, action: Action) -> None:
    made: Any = action.operation
    assert made.pool not in host.pools
    host.pools[made.pool] = set()
    host.described[made.pool] = Pool(
        made.pool,
        made.type,
        made.path,
        False,
        100 << 30,
        50 << 30,
        uuid=made.uuid,
        source=made.source,
        hosts=made.hosts,
        auth=made.auth,
    )


def _of_pool(host: Any, operation: Any) -> Pool:
    pool = host.described[operation.pool]
    assert pool.uuid == operation.uuid, "a pool that is not ours"
    return pool


def _start_pool(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    host.described[operation.pool] = replace(_of_pool(host, operation), active=True)


def _set_pool_autostart(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    host.described[operation.pool] = replace(_of_pool(host, operation), autostart=operation.autostart)


def _undefine_pool(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    _of_pool(host, operation)
    del host.described[operation.pool], host.pools[operation.pool]


def _resize_volume(world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    assert world.users(operation.volume) == [], "a volume that a domain has is grown through the domain"
    assert host.sizes[operation.volume] <= operation.size
    host.sizes[operation.volume] = operation.size


def _discard_volume(world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    assert action.uid in operation.volume
    assert world.users(operation.volume) == [], "deleted while a domain has it"
    host.pools[operation.pool].discard(operation.volume)


def _claim_volume(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    volumes = host.pools[operation.pool]
    for stale in operation.stale:
        volumes.discard(claim_name(operation.volume_uid, stale))
    others = [name for name in volumes if name.startswith(f"claim.{operation.volume_uid}.")]
    mine = claim_name(operation.volume_uid, action.uid)
    assert set(others) <= {mine}, f"claimed by {others}"
    volumes.add(mine)


def _release_volume(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    for machine in operation.machines:
        host.pools[operation.pool].discard(claim_name(operation.volume_uid, machine))


def _ensure_image(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    host.pools[operation.pool].add(operation.volume)


def _create_volume(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    backing, source = operation.backing, operation.source
    assert backing is None or backing in host.pools[operation.pool]
    assert source is None or source in host.pools[operation.source_pool]
    host.pools[operation.pool].add(operation.volume)
    if not is_machine(action.vm):
        host.sizes.setdefault(operation.volume, operation.size)
        host.pools[operation.pool].discard(copying_name(action.uid))


def _delete_volume(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    assert action.uid in operation.path, "only volumes that carry the machine's uid may go"
    for volumes in host.pools.values():
        volumes.discard(operation.path.rpartition("/")[2])


def _put_seed(_world: Any, host: Any, action: Action) -> None:
    operation: Any = action.operation
    host.pools[operation.pool].add(operation.volume)


ON_POOLS: Mapping[type, Callable[[Any, Any, Action], None]] = {
    ops.EnsureImage: _ensure_image,
    ops.CreateVolume: _create_volume,
    ops.DeleteVolume: _delete_volume,
    ops.DefinePool: _define_pool,
    ops.StartPool: _start_pool,
    ops.SetPoolAutostart: _set_pool_autostart,
    ops.UndefinePool: _undefine_pool,
    ops.ResizeVolume: _resize_volume,
    ops.DiscardVolume: _discard_volume,
    ops.ClaimVolume: _claim_volume,
    ops.ReleaseVolume: _release_volume,
    ops.PutSeed: _put_seed,
}
