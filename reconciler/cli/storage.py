"""`reconciler get pools`, `get volumes`, `describe volume/NAME` and `discard`: where bytes are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from reconciler import bookkeeping
from reconciler.cli.app import App, options, output_option, print_json, table
from reconciler.cli.get import DESCRIBERS, get
from reconciler.cli.progress import Reporter
from reconciler.engine import Look
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.host import Pool
from reconciler.model.operations import DiscardVolume
from reconciler.model.placement import parse_own_volume_name, parse_volume_name
from reconciler.model.plan import Action, Change, Impact, Outcome, Plan, Verb
from reconciler.model.units import format_size
from reconciler.planner.diff import mark_of
from reconciler.planner.resources.claims import claims_of
from reconciler.planner.resources.pools import is_ours
from reconciler.planner.volumes import Home, is_shared, machines_of, volume_uid


@get.command("pools")
@output_option
@options
def get_pools(app: App, output: str) -> None:
    """Storage pools of the hosts that answer: where they are, whose, and how full."""
    with app.engine() as engine:
        look = engine.look()
    found = list(_pools(look))
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            str(one["name"]),
            str(one["host"]),
            str(one["type"]),
            "yes" if one["active"] else "no",
            "yes" if one["ours"] else "no",
            "yes" if one["shared"] else "no",
            _free(one),
            str(one["path"] or one["source"] or "-"),
        )
        for one in found
    ]
    headings = ("NAME", "HOST", "TYPE", "ACTIVE", "OURS", "SHARED", "FREE", "WHERE")
    _print(headings, rows, "no host that answers has a storage pool")


def _free(pool: Mapping[str, object]) -> str:
    return f"{_gib(pool['available'])} of {_gib(pool['capacity'])}" if pool["active"] else "-"


def _gib(size: object) -> str:
    return f"{size / (1 << 30):.1f}Gi" if isinstance(size, int) else "?"


def _pools(look: Look) -> Iterator[dict[str, object]]:
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
class _Row:
    """A volume as `get volumes` shows it."""

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


@get.command(
    "volumes",
    epilog="""\b
Examples:
  reconciler get volumes
  reconciler get volumes --kept     # nobody declares them any more; `reconciler discard` deletes them""",
)
@click.option("--kept", is_flag=True, help="Only those that nobody declares any more.")
@output_option
@options
def get_volumes(app: App, kept: bool, output: str) -> None:
    """Volumes with a life of their own: where they lie, how large, and who has them."""
    with app.engine() as engine:
        look = engine.look()
    found = [row for row in _volumes(look) if not (kept and row.declared)]
    if output == "json":
        print_json([asdict(row) for row in found])
        return
    rows = [
        (
            row.name,
            row.host or "-",
            row.pool or "-",
            format_size(row.size) if row.size is not None else "-",
            ",".join(row.attached) or "-",
            row.policy,
            row.status,
        )
        for row in found
    ]
    headings = ("NAME", "HOST", "POOL", "SIZE", "ATTACHED", "POLICY", "STATUS")
    _print(headings, rows, "no volumes are declared, and none were kept")


def _volumes(look: Look) -> list[_Row]:
    situation = look.survey.situation
    seen: dict[str, Home] = {}
    for uid, homes in look.survey.index.homes.items():
        if uid == volume_uid(situation.owner, homes[0].volume):
            seen[homes[0].volume] = homes[0]
    return [_row(look, name, seen.get(name)) for name in sorted(seen.keys() | look.desired.volumes.keys())]


def _row(look: Look, name: str, home: Home | None) -> _Row:
    situation = look.survey.situation
    manifest, record = look.desired.volumes.get(name), situation.volumes.get(name)
    uid = volume_uid(situation.owner, name)
    pool = situation.fleet[home.host].pools[home.pool] if home else None
    blocked = next((refusal for refusal in look.plan.blocked if refusal.vm == f"Volume/{name}"), None)
    planned = any(change.vm == f"Volume/{name}" for change in look.plan.changes)
    status = blocked.reason if blocked else "Planned" if planned else "Ready" if manifest else "Kept"
    policy = str(manifest.spec.deletion_policy) if manifest else record.policy if record else "Retain"
    return _Row(
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
    found = next((row for row in _volumes(look) if row.name == name), None)
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


DESCRIBERS["volume"] = describe_volume


@click.command(
    epilog="""\b
Examples:
  reconciler get disks --kept
  reconciler get volumes --kept
  reconciler discard kvm1/default/db.6a2f41a3-c54c-4cf1-8b3e-0123456789ab.root.qcow2"""
)
@click.argument("volume", metavar="HOST/POOL/NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
def discard(app: App, volume: str, yes: bool) -> None:
    """Delete a disk or volume that was kept, with its data. What any machine has or wants is refused.

    Only what carries our naming can be discarded; NAME is what `get disks` and `get volumes` show.
    """
    with app.engine() as engine:
        look = engine.look()
        plan = _discarding(look, volume)
        if not yes:
            click.confirm(f"Delete {volume} and all data in it?", abort=True)
        rooms = engine.rooms
        results = rooms.pusher.push(
            plan, look.hosts, look.fleet, look.desired.templates, Reporter(len(plan.actions))
        )
        rooms.store.add_events(bookkeeping.events_of(plan, results, time.time()))
        for result in results:
            if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
                raise ReconcilerError(f"{result.id} on {result.host}: {result.message}")
    click.echo(f"{volume} is deleted.")


def _discarding(look: Look, volume: str) -> Plan:
    """The plan that deletes one volume.

    Raises:
        UsageError: It is not there, or not ours.
        ReconcilerError: Somebody has it or wants it.
    """
    host, _, rest = volume.partition("/")
    pool_name, _, name = rest.partition("/")
    observed = look.fleet.get(host)
    if observed is None or not name:
        raise UsageError(f"{volume!r} is not HOST/POOL/NAME", hint="see: reconciler get disks --kept")
    if not observed.known:
        raise ReconcilerError(
            f"host {host} does not answer: {observed.message}", hint=f"reconciler doctor {host}"
        )
    pool = observed.pools.get(pool_name)
    if pool is None or name not in pool.volumes:
        raise UsageError(f"{host} has no {pool_name}/{name}", hint="see: reconciler get disks --kept")
    key, uid = _whose(look, name)
    silent = [one for one in look.hosts if not look.survey.situation.known(one)]
    if silent and is_shared(look.desired, pool):
        raise ReconcilerError(
            f"{silent[0]} does not answer, and may use it", hint=f"reconciler doctor {silent[0]}"
        )
    for other in look.fleet.values():
        for domain in other.domains.values():
            for config in (domain.config, domain.live):
                if any(disk.path.endswith(f"/{name}") for disk in (config.disks if config else None) or ()):
                    raise ReconcilerError(f"{volume} is used by the domain {domain.name!r} on {other.name}")
    operation = DiscardVolume(pool_name, name)
    reason = "it was discarded by command"
    action = Action(f"{key}/{operation.kind}", host, key, uid, operation, Impact.DESTROY, reason)
    return Plan("", (Change(key, uid, host, Verb.DELETE, Impact.DESTROY, f"{reason}: {volume}"),), (action,))


def _whose(look: Look, name: str) -> tuple[str, str]:
    """The key for events and the uid of what we made under this name.

    Raises:
        UsageError: We did not make it.
        ReconcilerError: It is declared, or a machine of its name is.
    """
    own, disk = parse_own_volume_name(name), parse_volume_name(name)
    if own is not None:
        if own[0] in look.desired.volumes:
            raise ReconcilerError(f"the volume {own[0]} is declared: remove its manifest first")
        if own[1] != volume_uid(look.survey.situation.owner, own[0]):
            raise UsageError(f"{name} was made by another installation: it is left alone")
        return f"Volume/{own[0]}", own[1]
    if disk is not None:
        if disk[0] in look.desired.machines:
            raise ReconcilerError(
                f"the machine {disk[0]} is declared, and would come back to it: remove it first"
            )
        return disk[0], disk[1]
    raise UsageError(f"the name {name!r} does not say that we made it: it is left alone")


def _print(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    if not rows:
        click.echo(nothing, err=True)
        return
    for line in table(headings, rows):
        click.echo(line)
