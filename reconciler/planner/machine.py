"""Plan one machine: compare, ask for consent, act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reconciler.model.domain import Applied, DomainConfig, ObservedDomain
from reconciler.model.host import ObservedHost
from reconciler.model.placement import Decision
from reconciler.model.plan import Blocked, Change, FieldChange, Impact, Verb
from reconciler.model.units import format_size
from reconciler.planner import actions, guest
from reconciler.planner.actions import Place, Update
from reconciler.planner.blueprint import Blueprint, applied_state, image_identity
from reconciler.planner.consent import Verdict, judge, strongest, without_replacement
from reconciler.planner.diff import diff, mark_of
from reconciler.planner.difference import Difference
from reconciler.planner.hardware import FIELDS, as_pinned
from reconciler.planner.ignore import ignored, unknown
from reconciler.planner.names import ROOT
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.resolve import domain_config, find_volume
from reconciler.planner.steps import Steps
from reconciler.planner.unresolved import CannotResolveError
from reconciler.planner.words import named


@dataclass(frozen=True, slots=True)
class Task:
    """One machine to be planned at one place.

    Attributes:
        plan: The machine and what it names.
        place: Its host.
        owner: Whose mark it gets.
    """

    plan: Blueprint
    place: Place
    owner: str


def plan_creation(
    task: Task, newcomer: Newcomer, uid: str, decision: Decision, after: Sequence[str]
) -> Outcome:
    """Make a machine where the allocator put it.

    Args:
        task: The machine and the place.
        newcomer: How it comes to be new.
        uid: Its old uid, or a new one.
        decision: The allocator's, for people.
        after: Ids of actions that free the room it takes.
    """
    plan, place = task.plan, task.place
    try:
        config = domain_config(plan, uid, place.host, place.observed)
    except CannotResolveError as error:
        return _blocked(plan.name, error.reason, error.message, place.host.name, decision)
    root = next((disk for disk in config.disks or () if disk.name == ROOT), None)
    kept = root is not None and find_volume(place.observed, root.path.rpartition("/")[2]) is not None
    # What lies under a kept root disk is what it was made of then; its name is all that we can vouch for.
    kept = kept or ROOT in plan.copies
    image = f"{plan.image.name}@kept" if kept and plan.image else image_identity(plan.image)
    applied = applied_state(plan, config, task.owner, newcomer.generation + 1, image)
    steps = Steps(plan.name, uid, place.host.name)
    actions.create(steps, plan, applied, place, after=after, reason=newcomer.reason)
    change = Change(
        vm=plan.name,
        uid=uid,
        host=place.host.name,
        verb=Verb.CREATE,
        impact=Impact.NONE,
        reason=newcomer.reason,
        generation=applied.generation,
        spec_hash=applied.spec_hash,
        fields=tuple(creation_fields(applied)),
        decision=decision,
    )
    return Outcome(change, tuple(steps.actions), notes=_notes(plan))


def creation_fields(applied: Applied) -> Iterable[FieldChange]:
    """What a new machine is made of, for people; only what is set."""
    config = applied.config
    if applied.image:
        yield FieldChange("image", None, applied.image.rpartition("@")[0], Impact.NONE)
    for name in (
        "cpus",
        "max_cpus",
        "memory",
        "max_memory",
        "firmware",
        "machine",
        "description",
        "autostart",
        *FIELDS,
    ):
        value = getattr(config, name)
        if value is not None and not (name.startswith("max_") and value == getattr(config, name[4:])):
            yield FieldChange(name, None, value, Impact.NONE)
    for disk in config.disks or ():
        yield FieldChange(f"disks[{disk.name}]", None, disk, Impact.NONE)
    for interface in config.interfaces or ():
        yield FieldChange(f"interfaces[{interface.name}]", None, interface, Impact.NONE)
    if config.seed is not None:
        yield FieldChange(guest.PLACE, None, config.seed, Impact.NONE)


def plan_deletion(name: str, domain: ObservedDomain, observed: ObservedHost | None = None) -> Outcome:
    """Remove a machine that nobody desires any more.

    Args:
        name: The machine.
        domain: Its domain.
        observed: Its host: a cloud-init seed is found there even when nothing refers to it any more.
    """
    mark = _mark(domain)
    steps = Steps(name, mark.uid, domain.host)
    reason = "it is no longer desired"
    seeds = guest.seeds_of(mark, domain, observed)
    gone = actions.remove(steps, domain, mark, timeout=mark.stop_timeout, reason=reason, seeds=seeds)
    if observed is not None:
        actions.release(steps, mark, observed, after=gone)
    volumes = actions.own_volumes(domain, mark)
    if volumes:
        reason += "; its disks are " + ("deleted" if mark.deletion_policy == "Delete" else "kept")
    change = Change(name, mark.uid, domain.host, Verb.DELETE, Impact.DESTROY, reason, mark.generation)
    return Outcome(change, tuple(steps.actions))


def plan_located(task: Task, domain: ObservedDomain, new_uid: str | None = None) -> Outcome:
    """Compare a machine with its domain.

    Args:
        task: The machine and its place.
        domain: Its domain.
        new_uid: For a replacement; None asks what would happen without one: a replacement then
            comes back as an outcome without actions.
    """
    plan, place, mark = task.plan, task.place, _mark(domain)
    try:
        wanted = domain_config(plan, mark.uid, place.host, place.observed, mark.config, _taken(domain, mark))
    except CannotResolveError as error:
        return _blocked(plan.name, error.reason, error.message, domain.host)
    domain = as_pinned(domain, place.observed.cpus)
    found = (*diff(plan, wanted, domain), *_seed(plan, wanted, domain, mark, place))
    refused = next((d for d in found if d.refusal), None)
    if refused is not None:
        return _blocked(plan.name, refused.refusal, _refusal(refused), domain.host)
    verdict = judge(found, plan.vm.spec)
    if verdict.replace:
        return _replacement(task, domain, verdict, new_uid)
    config = without_replacement(wanted, mark.config, verdict)
    applied = applied_state(plan, config, task.owner, mark.generation, mark.image)
    renew = applied.spec_hash != mark.spec_hash
    if renew:
        applied = replace(applied, generation=mark.generation + 1)
    if not found and not renew:
        notes = _notes(plan)
        return Outcome(notes=notes) if notes else UNCHANGED
    steps = Steps(plan.name, mark.uid, domain.host)
    actions.update(steps, Update(plan, applied, domain, verdict, renew, place))
    change = Change(
        vm=plan.name,
        uid=mark.uid,
        host=domain.host,
        verb=Verb.UPDATE if steps.actions else Verb.NONE,
        impact=strongest(action.impact for action in steps.actions),
        reason=_why(verdict, renew),
        generation=applied.generation,
        spec_hash=applied.spec_hash,
        fields=verdict.fields,
        deferred=verdict.deferred,
    )
    return Outcome(change, tuple(steps.actions), notes=_notes(plan))


def _seed(
    plan: Blueprint, wanted: DomainConfig, domain: ObservedDomain, mark: Applied, place: Place
) -> Iterable[Difference]:
    covered = ignored(plan.vm.spec.ignore)
    found = guest.differences(wanted, domain, mark, place.observed)
    return (difference for difference in found if difference.covers not in covered)


def _replacement(task: Task, domain: ObservedDomain, verdict: Verdict, new_uid: str | None) -> Outcome:
    """Remove the machine and make it anew on the same host, with a new uid and the MACs it had."""
    plan, place, mark = task.plan, task.place, _mark(domain)
    if mark.protect or plan.vm.spec.protect:
        paths = named(d.change for d in verdict.now if d.change.impact is Impact.REPLACE)
        message = (
            f"a change of {paths} needs a new machine, but it is protected: undo it, or set protect: false"
        )
        return _blocked(plan.name, "Protected", message, domain.host)
    if new_uid is None:
        return Outcome(Change(plan.name, "", domain.host, Verb.REPLACE, Impact.REPLACE, ""))
    config = domain_config(
        plan, new_uid, place.host, place.observed, replace(mark.config, disks=None, arch=None)
    )
    applied = applied_state(plan, config, task.owner, mark.generation + 1, image_identity(plan.image))
    reason = _why(verdict, renew=False)
    steps = Steps(plan.name, mark.uid, domain.host)
    seeds = guest.seeds_of(mark, domain, place.observed)
    gone = actions.remove(steps, domain, mark, timeout=plan.vm.spec.stop_timeout, reason=reason, seeds=seeds)
    steps.uid = new_uid
    actions.create(steps, plan, applied, place, after=[gone], reason=reason)
    change = Change(
        vm=plan.name,
        uid=new_uid,
        host=domain.host,
        verb=Verb.REPLACE,
        impact=Impact.REPLACE,
        reason=reason,
        generation=applied.generation,
        spec_hash=applied.spec_hash,
        fields=verdict.fields,
        deferred=verdict.deferred,
        decision=Decision(
            plan.name, domain.host, algorithm="in place", message="a replacement stays on its host"
        ),
    )
    return Outcome(change, tuple(steps.actions), notes=_notes(plan))


def _mark(domain: ObservedDomain) -> Applied:
    mark = mark_of(domain)
    if mark is None:
        raise ValueError(f"domain {domain.name!r} on {domain.host} is not ours")
    return mark


def _taken(domain: ObservedDomain, mark: Applied) -> frozenset[str]:
    """Targets of disks that somebody else put into the domain."""
    configs = [config for config in (domain.config, domain.live) if config is not None]
    return frozenset(target for config in configs for target in config.targets) - mark.config.targets


def _why(verdict: Verdict, renew: bool) -> str:
    """One sentence for people."""
    drifted = [change for change in verdict.fields if change.drift]
    moved = [change for change in verdict.fields if not change.drift]
    parts = []
    if moved:
        parts.append(f"the manifest changed: {named(moved)}")
    if drifted:
        parts.append(f"the host drifted: {named(drifted)}")
    if not parts and renew:
        parts.append("the manifest changed")
    waiting = [change for change in verdict.deferred if change.impact is not Impact.NONE]
    if waiting:
        parts.append(f"waiting for consent: {named(waiting)}")
    return "; ".join(parts) or "; ".join(_reported(change) for change in verdict.deferred)


def _reported(change: FieldChange) -> str:
    """Why nothing is done about a difference."""
    if change.path == "state":
        return f"it is {change.before}, and to go on is left to people: `virsh resume` continues it"
    return f"{named([change])} differs, and that is only reported"


def _refusal(difference: Difference) -> str:
    change = difference.change
    before, after = format_size(change.before), format_size(change.after)
    return f"{change.path} would go from {before} to {after}; disks never shrink: undo it"


def _blocked(vm: str, reason: str, message: str, host: str, decision: Decision | None = None) -> Outcome:
    return Outcome(blocked=Blocked(vm, reason, message, host, decision))


def _notes(plan: Blueprint) -> tuple[str, ...]:
    names = unknown(plan.vm.spec.ignore)
    return tuple(
        f"{plan.name}: ignore lists {name!r}, which is no field that it could ignore" for name in names
    )
