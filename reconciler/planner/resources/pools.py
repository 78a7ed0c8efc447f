"""Storage pools of hosts: made where they are missing, kept as they were made, and let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.host import Host, ObservedHost, Pool
from reconciler.model.identity import object_uuid
from reconciler.model.operations import DefinePool, SetPoolAutostart, StartPool, UndefinePool
from reconciler.model.placement import on_host, parse_claim_name, parse_own_volume_name, parse_volume_name
from reconciler.model.plan import Blocked, Change, FieldChange, Impact, Verb
from reconciler.model.storage import StoragePool
from reconciler.model.units import format_size
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.pending import meant_for, pending_pool, same_place
from reconciler.planner.situation import Situation
from reconciler.planner.steps import Steps
from reconciler.planner.survey import Survey

KIND = "StoragePool"
_FEW_VOLUMES = 3
"""So many of what lies in a pool are named; of the rest it is said how many there are."""


def plan_pools(survey: Survey) -> Iterable[Outcome]:
    """One outcome for each pool of a host that answers and that is not as it shall be."""
    situation = survey.situation
    short = short_of_space(survey)
    if short:
        yield Outcome(notes=tuple(f"{host}: {told}" for host, told in sorted(short.items())))
    for name in sorted(situation.hosts):
        if not situation.known(name) or name in survey.same:
            continue
        host, observed = situation.hosts[name], survey.observed[name]
        for outcome in (*_wanted(situation, host, observed), *_surplus(situation, host, observed)):
            if outcome is not UNCHANGED:
                yield outcome


def short_of_space(survey: Survey) -> Mapping[str, str]:
    """By host, in one sentence, which of its pools have less free than their ``warnBelow``.

    How much is left is not told: it changes all the time, and this is news only once.
    """
    situation = survey.situation
    told: dict[str, list[str]] = {}
    for name, manifest in sorted(situation.desired.pools.items()):
        least = manifest.spec.warn_below
        for host in sorted(situation.hosts) if least else ():
            if not situation.known(host) or not meant_for(manifest.spec.hosts, situation.hosts[host]):
                continue
            pool = survey.observed[host].pools.get(name)
            if pool is not None and pool.active and pool.available < (least or 0):
                told.setdefault(host, []).append(f"pool {name} has less than {format_size(least or 0)} left")
    return {host: "; ".join(parts) for host, parts in told.items()}


def is_ours(pool: Pool, owner: str, host: str) -> bool:
    """True if we made this pool: its UUID is the only mark that a pool can carry."""
    return pool.uuid == object_uuid(KIND, owner, pool.name, host)


def _wanted(situation: Situation, host: Host, observed: ObservedHost) -> Iterator[Outcome]:
    for name in sorted(situation.desired.pools):
        manifest = situation.desired.pools[name]
        if not meant_for(manifest.spec.hosts, host):
            continue
        key = on_host(KIND, name, host.name)
        if key in situation.held:
            yield Outcome(blocked=situation.held[key])
            continue
        other = same_place(situation.desired, manifest, host, observed)
        if other is not None:
            yield Outcome(blocked=_conflict(key, manifest, other, host))
            continue
        yield _one(key, manifest, observed.pools.get(name), host, situation.owner)


def _conflict(key: str, manifest: StoragePool, other: str, host: Host) -> Blocked:
    message = (
        f"its path {manifest.spec.path} is that of the pool {other} on {host.name}, and libvirt has one pool "
        f"for a folder: use the pool {other}, or give this one another path"
    )
    return Blocked(key, "PoolConflict", message, host.name)


def _one(key: str, manifest: StoragePool, present: Pool | None, host: Host, owner: str) -> Outcome:
    wanted = pending_pool(manifest, owner, host.name, 0)
    if present is None:
        return _new(key, manifest, wanted, host)
    if not is_ours(present, owner, host.name):
        return _used(key, wanted, present)
    moved = _moved(wanted, present)
    if moved:
        message = (
            f"{moved}: a pool is never moved. Change the manifest back, or declare the new place under "
            "another name, move what lies in the old one, and remove it then"
        )
        return Outcome(blocked=Blocked(key, "PoolChanged", message, host.name))
    return _drifted(key, wanted, present, host)


def _new(key: str, manifest: StoragePool, wanted: Pool, host: Host) -> Outcome:
    steps = Steps(key, wanted.uuid, host.name)
    defined = steps.add(define_pool(manifest, wanted), "it is new")
    steps.add(StartPool(wanted.name, wanted.uuid), "it is new", after=[defined])
    if wanted.autostart:
        on = SetPoolAutostart(wanted.name, wanted.uuid, True)
        steps.add(on, "it starts with its host", after=[defined])
    told = (("type", wanted.type), ("path", manifest.spec.path), ("source", wanted.source))
    fields = tuple(FieldChange(path, None, value, Impact.NONE) for path, value in told if value)
    change = Change(key, wanted.uuid, host.name, Verb.CREATE, Impact.NONE, "it is new", fields=fields)
    return Outcome(change, tuple(steps.actions))


def define_pool(manifest: StoragePool, wanted: Pool) -> DefinePool:
    """What makes a pool that will look like `wanted`."""
    return DefinePool(
        pool=wanted.name,
        uuid=wanted.uuid,
        type=wanted.type,
        # Where the others appear is libvirt's own affair.
        path=wanted.path if wanted.type in ("dir", "netfs", "logical") else "",
        source=wanted.source,
        devices=manifest.spec.source.devices if manifest.spec.source else (),
        hosts=wanted.hosts,
        auth=wanted.auth,
    )


def _used(key: str, wanted: Pool, present: Pool) -> Outcome:
    """Somebody else's pool: it is used as it is, and never changed."""
    notes = [] if present.active else ["it is not active"]
    moved = _moved(wanted, present)
    if moved:
        notes.append(moved)
    told = f"{key} was not made by us: it is used as it is" + "".join(f"; {note}" for note in notes)
    return Outcome(notes=(told,))


def _moved(wanted: Pool, present: Pool) -> str:
    """Where a pool is somewhere else than its manifest says; empty if it is not."""
    parts = []
    for name, said in (("type", "its type"), ("path", "its path"), ("source", "its source")):
        asked, found = getattr(wanted, name), getattr(present, name)
        if name == "path" and wanted.type not in ("dir", "netfs"):
            continue
        if asked != found and (name != "path" or asked.rstrip("/") != found.rstrip("/")):
            parts.append(f"{said} is {found or 'none'} on the host and {asked or 'none'} in the manifest")
    if wanted.hosts and _servers(wanted) != _servers(present):
        parts.append(
            f"its servers are {', '.join(present.hosts) or 'none'} on the host "
            f"and {', '.join(wanted.hosts)} in the manifest"
        )
    if wanted.auth != present.auth:
        parts.append("its user or secret is another one on the host than in the manifest")
    return "; ".join(parts)


def _servers(pool: Pool) -> frozenset[str]:
    return frozenset(pool.hosts)


def _drifted(key: str, wanted: Pool, present: Pool, host: Host) -> Outcome:
    steps = Steps(key, wanted.uuid, host.name)
    fields = []
    if not present.active:
        fields.append(FieldChange("active", before=False, after=True, impact=Impact.NONE, drift=True))
        steps.add(StartPool(wanted.name, wanted.uuid), "it was stopped")
    if present.autostart != wanted.autostart:
        fields.append(FieldChange("autostart", present.autostart, wanted.autostart, Impact.NONE))
        setting = SetPoolAutostart(wanted.name, wanted.uuid, wanted.autostart)
        steps.add(setting, "autostart differs")
    if not fields:
        return UNCHANGED
    reason = f"it differs on the host: {', '.join(field.path for field in fields)}"
    change = Change(key, wanted.uuid, host.name, Verb.UPDATE, Impact.NONE, reason, fields=tuple(fields))
    return Outcome(change, tuple(steps.actions))


def _surplus(situation: Situation, host: Host, observed: ObservedHost) -> Iterator[Outcome]:
    """Pools of ours that nobody declares for this host any more."""
    desired = situation.desired
    for name in sorted(observed.pools):
        pool = observed.pools[name]
        manifest = desired.pools.get(name)
        if manifest is not None and meant_for(manifest.spec.hosts, host):
            continue
        if not is_ours(pool, situation.owner, host.name):
            continue
        key = on_host(KIND, name, host.name)
        if key in situation.held:
            yield Outcome(blocked=situation.held[key])
            continue
        user = _user(situation, host, observed, pool)
        user = f"{user}: it stays" if user else _kept(situation, host, pool)
        if user:
            message = f"it is no longer declared for {host.name}, but {user}"
            yield Outcome(blocked=Blocked(key, "PoolInUse", message, host.name))
            continue
        steps = Steps(key, pool.uuid, host.name)
        reason = "it is no longer declared; what lies in it stays"
        steps.add(UndefinePool(name, pool.uuid), reason, Impact.DESTROY)
        change = Change(key, pool.uuid, host.name, Verb.DELETE, Impact.DESTROY, reason)
        yield Outcome(change, tuple(steps.actions))


def _user(situation: Situation, host: Host, observed: ObservedHost, pool: Pool) -> str:
    """Who needs a pool, in words; empty if nobody does."""
    if any(parse_claim_name(name) for name in pool.volumes):
        return "a machine has claimed a volume in it"
    for domain in sorted(observed.domains.values(), key=lambda domain: domain.name):
        for config in (domain.config, domain.live):
            for disk in (config.disks if config else None) or ():
                if lies_in(disk.path, pool):
                    return f"the domain {domain.name!r} has a disk in it"
    for name, vm in sorted(situation.desired.machines.items()):
        disks = (*([vm.spec.root_disk] if vm.spec.root_disk else []), *vm.spec.disks)
        if any(disk.pool == pool.name for disk in disks) and vm.spec.placement.host in (None, host.name):
            return f"the machine {name} names it"
    for name, volume in sorted(situation.desired.volumes.items()):
        if volume.spec.pool == pool.name and volume.spec.host in (None, host.name):
            return f"the volume {name} names it"
    return ""


def _kept(situation: Situation, host: Host, pool: Pool) -> str:
    """What of ours would be out of sight without the pool, and what to do; empty if nothing would."""
    names = [name for name in pool.volumes if parse_volume_name(name) or parse_own_volume_name(name)]
    left = sorted(set(names) - _seen_elsewhere(situation, host, pool.name))
    again = "declare the pool again"
    if left:
        more = f" and {len(left) - _FEW_VOLUMES} more" if len(left) > _FEW_VOLUMES else ""
        return (
            f"nobody would see {', '.join(left[:_FEW_VOLUMES])}{more} in it any more: it stays. Delete what "
            f"nobody needs (`reconciler discard {host.name}/{pool.name}/{left[0]}`), or {again}"
        )
    if pool.active:
        return ""
    # Of a pool that is stopped, only the store knows what lies in it.
    records = situation.volumes.values()
    known = sorted(one.volume for one in records if (one.host, one.pool) == (host.name, pool.name))
    if not known:
        return ""
    return f"the volume {known[0]} lies in it, and it is not active: it stays. To reach it, {again}"


def _seen_elsewhere(situation: Situation, host: Host, name: str) -> frozenset[str]:
    """What the other hosts of a pool that all of them share show of it."""
    manifest = situation.desired.pools.get(name)
    if manifest is None or not manifest.spec.shared:
        return frozenset()
    others = (
        situation.fleet[one.name].pools.get(name)
        for one in situation.hosts.values()
        if one.name != host.name and situation.known(one.name) and meant_for(manifest.spec.hosts, one)
    )
    return frozenset(volume for pool in others if pool is not None and pool.active for volume in pool.volumes)


def lies_in(path: str, pool: Pool) -> bool:
    """True if a disk's path leads into a pool."""
    if pool.type == "rbd":
        return path.startswith(f"rbd:{pool.source}/")
    return bool(pool.path) and (path.startswith((f"{pool.path.rstrip('/')}/", f"{pool.name}/")))
