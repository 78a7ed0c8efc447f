"""Where bytes are: pools, volumes with a life of their own, and disks of machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from reconciler.engine import Look
from reconciler.errors import UsageError
from reconciler.model.host import Pool
from reconciler.model.placement import parse_volume_name
from reconciler.model.units import format_size
from reconciler.planner.diff import mark_of
from reconciler.planner.resolve import volume_path
from reconciler.planner.resources.claims import claims_of
from reconciler.planner.resources.pools import is_ours
from reconciler.planner.volumes import Home, is_shared, machines_of, volume_uid
from reconciler.views.glance import Data


def pools(look: Look) -> list[Data]:
    """Storage pools of the hosts that answer; sizes in bytes."""
    return list(_pools(look))


def _pools(look: Look) -> Iterator[Data]:
    owner = look.survey.situation.owner
    for host in look.fleet.values():
        for name in sorted(host.pools):
            pool = host.pools[name]
            yield {
                "name": name,
                "host": host.name,
                "type": pool.type,
                "active": pool.active,
                "autostart": pool.autostart,
                "ours": is_ours(pool, owner, host.name),
                "shared": is_shared(look.desired, pool),
                "capacity": pool.capacity,
                "available": pool.available,
                "path": pool.path,
                "source": pool.source,
                "declared": name in look.desired.pools,
            }


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume as `get volumes` shows it; its size in bytes."""

    name: str
    host: str
    pool: str
    size: int | None
    format: str
    attached: tuple[str, ...]
    policy: str
    declared: bool
    status: str
    uid: str
    volume: str


def volumes(look: Look) -> list[Data]:
    """Volumes that are declared, and those that were kept, by name."""
    return [asdict(row) for row in volume_rows(look)]


def volume_rows(look: Look) -> list[VolumeRow]:
    """Likewise, as rows."""
    situation = look.survey.situation
    seen: dict[str, Home] = {}
    for uid, homes in look.survey.index.homes.items():
        if uid == volume_uid(situation.owner, homes[0].volume):
            seen[homes[0].volume] = homes[0]
    return [_row(look, name, seen.get(name)) for name in sorted(seen.keys() | look.desired.volumes.keys())]


def _row(look: Look, name: str, home: Home | None) -> VolumeRow:
    situation = look.survey.situation
    manifest, record = look.desired.volumes.get(name), situation.volumes.get(name)
    uid = volume_uid(situation.owner, name)
    pool = situation.fleet[home.host].pools[home.pool] if home else None
    blocked = next((refusal for refusal in look.plan.blocked if refusal.vm == f"Volume/{name}"), None)
    planned = any(change.vm == f"Volume/{name}" for change in look.plan.changes)
    status = blocked.reason if blocked else "Planned" if planned else "Ready" if manifest else "Kept"
    policy = str(manifest.spec.deletion_policy) if manifest else record.policy if record else "Retain"
    return VolumeRow(
        name=name,
        host=home.host if home else "",
        pool=home.pool if home else "",
        size=_size(look, home, pool, manifest.spec.size if manifest else None),
        format=home.format if home else str(manifest.spec.format) if manifest else "",
        attached=tuple(_users(look, uid)),
        policy=policy,
        declared=manifest is not None,
        status=status,
        uid=uid,
        volume=home.file if home else "",
    )


def _size(look: Look, home: Home | None, pool: Pool | None, asked: int | None) -> int | None:
    """What the running machine says, what the pool says, or what is asked for."""
    if home is None or pool is None:
        return asked
    for domain in look.survey.index.volume_users.get(home.uid, ()):
        for disk in (domain.live or domain.config).disks or ():
            if disk.path.endswith(f"/{home.file}") and disk.size is not None:
                return disk.size
    return pool.sizes.get(home.file, asked)


def _users(look: Look, uid: str) -> Iterator[str]:
    for domain in look.survey.index.volume_users.get(uid, ()):
        mark = mark_of(domain)
        yield mark.name if mark else f"{domain.host}/{domain.name}"


def describe_volume(look: Look, name: str) -> list[str]:
    """Everything about one volume, as lines.

    Raises:
        UsageError: There is none of this name.
    """
    found = next((row for row in volume_rows(look) if row.name == name), None)
    if found is None:
        raise UsageError(f"there is no volume {name!r}", hint="see: reconciler get volumes")
    origin = look.desired.origins.get(f"Volume/{name}")
    lines = [
        f"Name:      {name}",
        f"Declared:  {f'{origin.file}:{origin.line}' if origin else 'no longer'}",
        f"Uid:       {found.uid}",
        f"Lies in:   {f'{found.host}/{found.pool}/{found.volume}' if found.host else 'nothing yet'}",
        f"Size:      {format_size(found.size) if found.size is not None else '?'} ({found.format})",
        f"Attached:  {', '.join(found.attached) or 'to no machine'}",
        f"Wanted by: {', '.join(machines_of(look.desired, name)) or 'no machine'}",
        f"Policy:    {found.policy}",
        f"Status:    {found.status}",
    ]
    if found.host:
        pool = look.survey.situation.fleet[found.host].pools[found.pool]
        lines += [f"Claim:     machine {machine}" for machine in claims_of(pool, found.uid)]
    lines += [f"           {one.message}" for one in look.plan.blocked if one.vm == f"Volume/{name}"]
    return lines


def disks(look: Look) -> list[dict[str, str]]:
    """Every disk of ours in the pools of the hosts that answer; ``used`` says whether a domain has it."""
    found = []
    for host in look.fleet.values():
        paths = {
            disk.path
            for domain in host.domains.values()
            for config in (domain.config, domain.live)
            for disk in (config.disks if config else None) or ()
        }
        for pool in host.pools.values():
            for volume in pool.volumes:
                parsed = parse_volume_name(volume)
                if parsed is not None:
                    machine, uid, disk = parsed
                    used = "yes" if volume_path(pool, volume) in paths else "no"
                    place = {"host": host.name, "pool": pool.name, "volume": volume}
                    found.append({"machine": machine, "uid": uid, "disk": disk, "used": used, **place})
    return sorted(found, key=lambda disk: (disk["machine"], disk["host"], disk["disk"]))
