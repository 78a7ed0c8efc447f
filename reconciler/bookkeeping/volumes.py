"""What a tick writes down about volumes: where they are about to be, where they were seen, their policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.bookkeeping.hosts import dead_hosts
from reconciler.model.host import Fleet
from reconciler.model.operations import ClaimVolume, CreateVolume
from reconciler.model.placement import ClaimRecord, Phase, VolumeRecord, claim_name, copying_name
from reconciler.model.plan import Plan
from reconciler.model.storage import DeletionPolicy
from reconciler.planner import Survey
from reconciler.planner.diff import mark_of
from reconciler.planner.resources.claims import claims_of
from reconciler.planner.resources.pools import short_of_space
from reconciler.planner.volumes import Home, volume_uid
from reconciler.store.base import Store


def living_volumes(store: Store, fleet: Fleet) -> Mapping[str, VolumeRecord]:
    """The records that still mean something: those on a host declared dead do not."""
    records, dead = store.volumes(), dead_hosts(store, fleet)
    if not dead:
        return records
    return {name: record for name, record in records.items() if record.host not in dead}


def with_warnings(survey: Survey, fleet: Fleet) -> Fleet:
    """The hosts, with what is said of pools that run short of space."""
    short = short_of_space(survey)
    if not short:
        return fleet
    return {
        name: replace(host, message="; ".join(filter(None, (host.message, short.get(name)))))
        for name, host in fleet.items()
    }


def promise_volumes(store: Store, plan: Plan) -> None:
    """Remember where volumes are about to be made and who is about to claim one.

    After a crash they are made there and nowhere else, and a claim is known to be ours.
    """
    known = store.volumes()
    promised = []
    for action in plan.actions:
        operation = action.operation
        if not isinstance(operation, CreateVolume) or not action.vm.startswith("Volume/"):
            continue
        name = action.vm.removeprefix("Volume/")
        before = known.get(name)
        policy = before.policy if before is not None else str(DeletionPolicy.RETAIN)
        promised.append(VolumeRecord(name, action.uid, action.host, operation.pool, policy, Phase.INTENDED))
    store.put_volumes(promised)
    store.put_claims(
        ClaimRecord(action.operation.volume_uid, action.uid, action.host, action.operation.pool)
        for action in plan.actions
        if isinstance(action.operation, ClaimVolume)
    )


def note_volumes(store: Store, survey: Survey) -> None:
    """Remember the volumes that were seen; forget those that nobody declares and that are provably gone."""
    write, forget = seen_volumes(survey)
    store.put_volumes(write)
    store.delete_volumes(forget)
    claimed, released = seen_claims(survey)
    store.put_claims(claimed)
    store.delete_claims(released)


def seen_volumes(survey: Survey) -> tuple[list[VolumeRecord], list[str]]:
    """What the pools prove about volumes of ours: records to write, and names to forget."""
    situation, desired = survey.situation, survey.situation.desired.volumes
    known = situation.volumes
    write = []
    if desired or known:
        for homes in survey.index.homes.values():
            name = homes[0].volume
            ours = homes[0].uid == volume_uid(situation.owner, name)
            if ours and (name in desired or name in known):
                write.append(_record(survey, homes))
    found = {record.volume for record in write}
    forget = [
        name
        for name, record in known.items()
        if name not in desired and name not in found and _provably_gone(survey, record)
    ]
    return write, forget


def seen_claims(survey: Survey) -> tuple[list[ClaimRecord], list[ClaimRecord]]:
    """Claims of our machines that are shown, and those that a machine's own host shows no longer."""
    situation = survey.situation
    write = []
    for uid, users in survey.index.volume_users.items():
        pools = {home.host: home.pool for home in survey.index.homes.get(uid, ())}
        for user in users:
            pool = pools.get(user.host)
            if pool is None or mark_of(user) is None:
                continue
            if user.uuid in claims_of(situation.fleet[user.host].pools[pool], uid):
                write.append(ClaimRecord(uid, user.uuid, user.host, pool))
    return write, [one for one in situation.claims - frozenset(write) if _is_released(survey, one)]


def _is_released(survey: Survey, claim: ClaimRecord) -> bool:
    host = survey.observed.get(claim.host) if survey.situation.known(claim.host) else None
    pool = host.pools.get(claim.pool) if host is not None else None
    if host is None or pool is None or not pool.active or claim.machine in host.domains:
        return False
    return claim_name(claim.volume, claim.machine) not in pool.volumes


def _record(survey: Survey, homes: tuple[Home, ...]) -> VolumeRecord:
    situation = survey.situation
    home = homes[0]
    before = situation.volumes.get(home.volume)
    manifest = situation.desired.volumes.get(home.volume)
    if before is not None and before.host in {one.host for one in homes}:
        home = next(one for one in homes if one.host == before.host)
    if manifest is not None:
        policy = str(manifest.spec.deletion_policy)
    else:
        policy = before.policy if before is not None else str(DeletionPolicy.RETAIN)
    pool = situation.fleet[home.host].pools[home.pool]
    phase = Phase.INTENDED if copying_name(home.uid) in pool.volumes else Phase.PLACED
    return VolumeRecord(home.volume, home.uid, home.host, home.pool, policy, phase)


def _provably_gone(survey: Survey, record: VolumeRecord) -> bool:
    """True if its pool is there and shows nothing of it."""
    if not survey.situation.known(record.host):
        return False
    pool = survey.observed[record.host].pools.get(record.pool) if record.host in survey.observed else None
    return pool is not None and pool.active
