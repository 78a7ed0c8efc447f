"""Snapshots of a volume with a life of its own: a plan of one action, while nothing has the volume open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.host import Pool
from reconciler.model.operations import SnapshotVolume
from reconciler.model.placement import is_machine, parse_key
from reconciler.model.plan import Change, Impact, Plan, Verb
from reconciler.model.snapshot import Snapshot
from reconciler.planner.resources.claims import claims_of
from reconciler.planner.resources.volumes import silent_sharers
from reconciler.planner.steps import Steps
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import Home, volume_uid


@dataclass(frozen=True, slots=True)
class VolumeAtRest:
    """A volume that nothing has open.

    Attributes:
        key: ``Volume/data``.
        home: Where it is worked on.
        users: Uids of the machines that have it, all of them off.
    """

    key: str
    home: Home
    users: tuple[str, ...]


def is_volume(key: str) -> bool:
    """True for the key of a volume: what snapshots can be asked for, besides machines."""
    return not is_machine(key) and parse_key(key)[0] == "Volume"


def home_of(survey: Survey, key: str) -> Home:
    """Where a volume lies, on the host of the machine that has it if any has.

    Raises:
        UsageError: There is no such volume.
        ReconcilerError: It lies nowhere that answers, or in several places.
    """
    _, name, _ = parse_key(key)
    uid = volume_uid(survey.situation.owner, name)
    homes = survey.index.homes.get(uid, ())
    if not homes:
        if name not in survey.situation.desired.volumes:
            raise UsageError(f"there is no volume {name!r}", hint="see: reconciler get volumes")
        raise ReconcilerError(f"{key} is on no host that answers", hint="see: reconciler get volumes")
    users = {domain.host for domain in survey.index.volume_users.get(uid, ())}
    return next((home for home in homes if home.host in users), homes[0])


def at_rest(survey: Survey, key: str) -> VolumeAtRest:
    """The volume, if a snapshot of it can be taken or restored now.

    Raises:
        UsageError: There is no such volume.
        ReconcilerError: Something has it open, may have it open, or it cannot hold snapshots.
    """
    home = home_of(survey, key)
    pool = survey.situation.fleet[home.host].pools[home.pool]
    if home.format != "qcow2" or pool.type not in ("dir", "fs", "netfs"):
        kind = home.format if pool.type in ("dir", "fs", "netfs") else f"in a pool of type {pool.type}"
        raise ReconcilerError(
            f"{key} is {kind}: only qcow2 files hold snapshots",
            hint=f"copy it instead: a new Volume with source: {{volume: {home.volume}}}",
        )
    users = survey.index.volume_users.get(home.uid, ())
    running = next((domain for domain in users if domain.state.active), None)
    if running is not None:
        raise ReconcilerError(
            f"{key} is open in {running.name} on {running.host}, which runs",
            hint="detach it for the moment (take it out of the machine's manifest), or stop the machine",
        )
    uids = tuple(sorted(domain.uuid for domain in users))
    _require_no_stranger(survey, key, home, pool, uids)
    return VolumeAtRest(key, home, uids)


def _require_no_stranger(survey: Survey, key: str, home: Home, pool: Pool, users: tuple[str, ...]) -> None:
    strangers = sorted(set(claims_of(pool, home.uid)) - set(users))
    if strangers:
        raise ReconcilerError(
            f"{key} is claimed by the machine {strangers[0]}, which may run where nobody answers",
            hint="see: reconciler plan",
        )
    silent = silent_sharers(survey.situation, pool)
    if silent:
        why = survey.situation.why_unknown(silent[0])
        raise ReconcilerError(f"{key} may be open elsewhere: {why}", hint=survey.situation.remedy(silent[0]))
    if home.host in survey.same:
        raise ReconcilerError(f"the inventory has {home.host} under several names: it is left alone")


def take(volume: VolumeAtRest, name: str, known: Iterable[Snapshot]) -> Plan:
    """Keep what the volume holds now.

    Raises:
        UsageError: The name is a number, which qemu-img would take for another snapshot's id.
        ReconcilerError: It has a snapshot of that name.
    """
    _require_no_number(name)
    if any(one.name == name for one in known):
        raise ReconcilerError(
            f"{volume.key} has a snapshot {name!r} already",
            hint="give another --name, or delete that one first",
        )
    return _plan(volume, Verb.SNAPSHOT, "take", name, f"{name!r} keeps what it holds")


def restore(volume: VolumeAtRest, name: str, known: Iterable[Snapshot]) -> Plan:
    """Go back to what it held then.

    Raises:
        ReconcilerError: There is no such snapshot.
    """
    _require_known(volume, name, known)
    told = f"it goes back to {name!r}: what was written since is lost"
    return _plan(volume, Verb.RESTORE, "restore", name, told)


def delete(volume: VolumeAtRest, name: str, known: Iterable[Snapshot]) -> Plan:
    """Delete a snapshot; the volume stays as it is.

    Raises:
        ReconcilerError: There is no such snapshot.
    """
    _require_known(volume, name, known)
    return _plan(volume, Verb.DELETE_SNAPSHOT, "delete", name, f"{name!r} is not needed any more")


def _require_no_number(name: str) -> None:
    if name.isdigit():
        raise UsageError(f"{name!r} is no name for a snapshot of a volume: it needs a letter")


def _require_known(volume: VolumeAtRest, name: str, known: Iterable[Snapshot]) -> None:
    _require_no_number(name)
    names = [one.name for one in known]
    if name not in names:
        there = ", ".join(names) or "none"
        raise ReconcilerError(f"{volume.key} has no snapshot {name!r}; there is: {there}")


def _plan(
    volume: VolumeAtRest, verb: Verb, act: Literal["take", "restore", "delete"], name: str, reason: str
) -> Plan:
    home = volume.home
    impact = Impact.NONE if act == "take" else Impact.DESTROY
    steps = Steps(volume.key, home.uid, home.host)
    steps.add(SnapshotVolume(home.pool, home.file, name, act, volume.users), reason, impact)
    change = Change(volume.key, home.uid, home.host, verb, impact, reason)
    return Plan(revision="", changes=(change,), actions=tuple(steps.actions))
