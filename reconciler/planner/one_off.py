"""Acts on one machine that no desired state asks for, and the part of a plan that is one machine's.

Each is a plan like any other: shown, pushed and remembered on the same path.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace

from reconciler.errors import ReconcilerError
from reconciler.model.domain import Applied, DiskConfig, ObservedDomain
from reconciler.model.operations import (
    DeleteSnapshot,
    Operation,
    RestoreSnapshot,
    Start,
    Stop,
    TakeSnapshot,
)
from reconciler.model.placement import is_machine, parse_own_volume_name
from reconciler.model.plan import Action, Blocked, Change, Impact, Plan, Verb
from reconciler.model.snapshot import Snapshot
from reconciler.planner.diff import mark_of
from reconciler.planner.steps import Steps

_EMULATED = frozenset({"kvm", "qemu", "test"})


def start(domain: ObservedDomain, reason: str) -> Plan:
    """Start it once."""
    return _plan(domain, Verb.START, reason, [(Start(), Impact.LIVE)])


def stop(domain: ObservedDomain, timeout: int, reason: str) -> Plan:
    """Stop it once; `timeout` is the seconds that its guest gets, 0 pulls the plug."""
    return _plan(domain, Verb.STOP, reason, [(Stop(timeout), Impact.RESTART)])


def restart(domain: ObservedDomain, timeout: int, reason: str) -> Plan:
    """Stop it and start it again, so that it runs with what is defined."""
    steps: list[tuple[Operation, Impact]] = [(Start(), Impact.RESTART)]
    if domain.state.active:
        steps.insert(0, (Stop(timeout), Impact.RESTART))
    return _plan(domain, Verb.RESTART, reason, steps)


def take_snapshot(domain: ObservedDomain, name: str, known: Iterable[Snapshot]) -> Plan:
    """Keep the state of all its writable disks, and its memory if it runs.

    Raises:
        ReconcilerError: It cannot be kept whole, and half of it is worse than nothing.
    """
    if any(snapshot.name == name for snapshot in known):
        raise _refused(
            domain, f"has a snapshot {name!r} already", "give another --name, or delete that one first"
        )
    disks = _whole(domain)
    what = f"{name!r} keeps {', '.join(disk.name or disk.target for disk in disks)}"
    what += " and its memory" if domain.state.active else ""
    operation = TakeSnapshot(name, tuple(disk.target for disk in disks))
    return _plan(
        domain, Verb.SNAPSHOT, what, [(operation, Impact.LIVE if domain.state.active else Impact.NONE)]
    )


def restore_snapshot(domain: ObservedDomain, name: str, known: Iterable[Snapshot]) -> Plan:
    """Go back to a snapshot: what was written since is lost, and the configuration of then comes back.

    Raises:
        ReconcilerError: There is none of the name, or it is of disks that are not the machine's alone.
    """
    snapshot = _named(domain, name, known)
    if not snapshot.marked:
        raise _refused(
            domain,
            f"was not ours yet when the snapshot {name!r} was taken",
            "virsh snapshot-revert goes back to it; `reconciler adopt` takes the machine over again",
        )
    _require_its_own(domain, snapshot)
    later = [disk.name or disk.target for disk in _disks(domain) if disk.path not in snapshot.disks]
    notes = (
        [f"{', '.join(later)} of {_name(domain)} came after the snapshot and stays as it is"] if later else []
    )
    what = f"it goes back to {name!r}: what was written since is lost"
    plan = _plan(domain, Verb.RESTORE, what, [(RestoreSnapshot(name, _mark(domain)), Impact.DESTROY)])
    return replace(plan, notes=tuple(notes))


def delete_snapshot(domain: ObservedDomain, name: str, known: Iterable[Snapshot]) -> Plan:
    """Delete a snapshot; the machine stays as it is.

    Raises:
        ReconcilerError: There is none of the name, or it is of disks that are not the machine's alone.
    """
    _require_its_own(domain, _named(domain, name, known))
    what = f"{name!r} is not needed any more"
    return _plan(domain, Verb.DELETE_SNAPSHOT, what, [(DeleteSnapshot(name), Impact.DESTROY)])


def only(plan: Plan, vm: str) -> Plan:
    """The part of a plan that is about one machine, with what has to be done before.

    Raises:
        ReconcilerError: Something has to be done before to another machine.
    """
    needed = {action.id for action in plan.actions if action.vm == vm}
    by_id = {action.id: action for action in plan.actions}
    waiting = [*needed]
    while waiting:
        fresh = [name for name in by_id[waiting.pop()].after if name in by_id and name not in needed]
        needed.update(fresh)
        waiting += fresh
    actions = tuple(action for action in plan.actions if action.id in needed)
    others = sorted({act.vm for act in actions if act.vm not in ("", vm) and is_machine(act.vm)})
    if others:
        raise ReconcilerError(
            f"{vm} waits for a change of {', '.join(others)}", hint="do it all: reconciler apply"
        )
    about = {vm, *(action.vm for action in actions if action.vm)}
    return replace(
        plan,
        changes=tuple(change for change in plan.changes if change.vm in about),
        actions=actions,
        blocked=tuple(refusal for refusal in plan.blocked if refusal.vm == vm),
        unchanged=int(vm not in {c.vm for c in plan.changes} | {b.vm for b in plan.blocked}),
        notes=tuple(note for note in plan.notes if note.startswith(f"{vm}:")),
    )


def refusal(plan: Plan, vm: str) -> Blocked | None:
    """Why nothing can be done for the machine, if so."""
    return next((refusal for refusal in plan.blocked if refusal.vm == vm), None)


def _plan(
    domain: ObservedDomain, verb: Verb, reason: str, operations: list[tuple[Operation, Impact]]
) -> Plan:
    mark = _mark(domain)
    steps = Steps(mark.name, mark.uid, domain.host)
    last: list[str] = []
    for operation, impact in operations:
        last = [steps.add(operation, reason, impact, after=last)]
    change = Change(
        mark.name, mark.uid, domain.host, verb, operations[-1][1], reason, mark.generation, mark.spec_hash
    )
    return Plan(revision="", changes=(change,), actions=tuple[Action, ...](steps.actions))


def _mark(domain: ObservedDomain) -> Applied:
    mark = mark_of(domain)
    if mark is None:
        raise ReconcilerError(f"the domain {domain.name!r} on {domain.host} is not ours")
    return mark


def _name(domain: ObservedDomain) -> str:
    return _mark(domain).name


def _disks(domain: ObservedDomain) -> list[DiskConfig]:
    """Its disks of now, with the names that people gave them."""
    names = {disk.target: disk.name for disk in _mark(domain).config.disks or ()}
    config = domain.live or domain.config
    return [replace(disk, name=disk.name or names.get(disk.target)) for disk in config.disks or ()]


def _whole(domain: ObservedDomain) -> list[DiskConfig]:
    """The disks that a snapshot has to hold: all that the guest can write to.

    Raises:
        ReconcilerError: One of them cannot be held, or the machine cannot.
    """
    config = domain.live or domain.config
    if config.virt_type not in _EMULATED:
        raise _refused(domain, f"is of type {config.virt_type}, which has no snapshots")
    if config.firmware == "uefi":
        raise _refused(
            domain,
            "boots with UEFI, whose variables libvirt cannot keep in a snapshot",
            f"stop it and copy it instead: reconciler clone {_name(domain)} {_name(domain)}-before",
        )
    disks = [disk for disk in _disks(domain) if not disk.read_only]
    for disk in disks:
        volume = disk.volume or _volume_at(disk.path)
        if volume is not None:
            raise _refused(
                domain,
                f"has the volume {volume}, which may go to another machine: a snapshot of this one inside of "
                "it would be mixed up with those of the other",
                f"detach it first, or copy it: a Volume with `source: {{volume: {volume}}}`",
            )
        if disk.type != "file" or disk.format != "qcow2":
            kind = disk.format if disk.type == "file" else disk.type
            raise _refused(
                domain,
                f"has the disk {disk.name or disk.target}, which is {kind}: only qcow2 holds snapshots, and "
                "one of the other disks alone would not fit it",
                "detach it first, or copy the data at its source",
            )
    if not disks:
        raise _refused(domain, "has no disk, so there is nothing to keep")
    return disks


def _require_its_own(domain: ObservedDomain, snapshot: Snapshot) -> None:
    """Refuse what would change disks that are, or may be, another machine's by now.

    Deleting is a change too, and libvirt 9 crashes over a disk that is gone.
    """
    name = domain.config.name
    forget = f"virsh snapshot-delete {shlex.quote(name)} {shlex.quote(snapshot.name)} --metadata"
    forget = f"forget the snapshot on {domain.host}, which leaves its data in the files: {forget}"
    volumes = sorted(found for path in snapshot.disks if (found := _volume_at(path)) is not None)
    if volumes:
        raise _refused(
            domain,
            f"has the snapshot {snapshot.name!r} inside of the volume {', '.join(volumes)}, which may hold "
            "another machine's of that name",
            forget,
        )
    gone = sorted(set(snapshot.disks) - {disk.path for disk in _disks(domain)})
    if gone:
        raise _refused(
            domain,
            f"no longer has {', '.join(gone)}, which the snapshot {snapshot.name!r} would change",
            f"attach it again first, or {forget}",
        )


def _volume_at(path: str) -> str | None:
    """The `Volume` whose bytes a path leads to, by the name of the file."""
    parsed = parse_own_volume_name(path.rpartition("/")[2])
    return parsed[0] if parsed is not None else None


def _named(domain: ObservedDomain, name: str, known: Iterable[Snapshot]) -> Snapshot:
    known = list(known)
    found = next((snapshot for snapshot in known if snapshot.name == name), None)
    if found is None:
        names = ", ".join(snapshot.name for snapshot in known) or "none"
        raise _refused(
            domain, f"has no snapshot {name!r}; there is: {names}", f"reconciler snapshots {_name(domain)}"
        )
    return found


def _refused(domain: ObservedDomain, why: str, hint: str = "") -> ReconcilerError:
    return ReconcilerError(f"{_name(domain)} on {domain.host} {why}", hint=hint)
