"""Pools of machines that are lent: how many machines are in which state, and which."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.engine import Look
from reconciler.errors import UsageError
from reconciler.model.pool import Member, VirtualMachinePool
from reconciler.planner.lent import counts
from reconciler.store.base import Store
from reconciler.views.glance import Data, Glance, ago


def machine_pools(glance: Glance) -> list[Data]:
    """Every pool that is declared, or still has members."""
    store, pools = glance.engine.rooms.store, glance.look.desired.machine_pools
    names = sorted(pools.keys() | {member.pool for member in store.members()})
    return [_pool(store, name, pools.get(name)) for name in names]


def _pool(store: Store, name: str, pool: VirtualMachinePool | None) -> Data:
    found = counts(store.members(name))
    return {
        "name": name,
        "declared": pool is not None,
        "max": pool.spec.size.max if pool else None,
        "warm": pool.spec.size.warm if pool else None,
        "onCheckin": str(pool.spec.on_checkin) if pool else None,
        **{str(state): number for state, number in found.items()},
        "waiting": len(store.waiters(name, store.lease_time())),
    }


def describe_pool(glance: Glance, name: str) -> list[str]:
    """Everything about one pool, as lines: the manifest, and each of its machines.

    Raises:
        UsageError: There is none of this name.
    """
    store = glance.engine.rooms.store
    members = store.members(name)
    if name not in glance.look.desired.machine_pools and not members:
        raise UsageError(f"there is no pool of machines {name!r}", hint="see: reconciler get machinepools")
    return [*_told(glance.look, name), *_machines(glance, members)]


def _told(look: Look, name: str) -> Iterator[str]:
    origin = look.desired.origins.get(f"VirtualMachinePool/{name}")
    yield f"Name:      {name}"
    yield f"Declared:  {f'{origin.file}:{origin.line}' if origin else 'no'} at {look.desired.revision[:12]}"
    pool = look.desired.machine_pools.get(name)
    if pool is not None:
        size = pool.spec.size
        yield f"Size:      at most {size.max}, {size.warm} ready"
        yield f"Check-in:  {pool.spec.on_checkin}"


def _machines(glance: Glance, members: tuple[Member, ...]) -> Iterator[str]:
    store = glance.engine.rooms.store
    now = store.lease_time()
    for member in members:
        lease = store.lease_of(member.vm)
        who = f" by {lease.holder}" if lease is not None else ""
        why = f": {member.message}" if member.message else ""
        # Lease time is no wall clock, but its distances are.
        since = ago(glance.engine.clock() - (now - member.since))
        yield f"Machine:   {member.vm} is {member.state}{who} for {since}{why}"
