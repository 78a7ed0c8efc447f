"""Adoption: a domain that exists becomes ours, and nothing about it changes. And the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.errors import ReconcilerError
from reconciler.model.domain import Applied, DomainConfig, ObservedDomain
from reconciler.model.manifest import VirtualMachine
from reconciler.model.operations import Mark, Unmark
from reconciler.model.plan import Action, Change, Impact, Plan, Verb
from reconciler.planner.actions import Place
from reconciler.planner.blueprint import Blueprint, applied_state
from reconciler.planner.diff import diff, mark_of
from reconciler.planner.hardware import unsaid
from reconciler.planner.ignore import IGNORABLE
from reconciler.planner.machine import Task, plan_located
from reconciler.planner.manifest_of import manifest_of, named, validated
from reconciler.planner.outcome import UNCHANGED
from reconciler.planner.resolve import domain_config
from reconciler.planner.unresolved import CannotResolveError


@dataclass(frozen=True, slots=True)
class Adoption:
    """What adopting a domain takes.

    Attributes:
        vm: The manifest to write; with it, the next plan for the domain is empty.
        applied: The mark to write.
        plan: Holds the one action that writes it.
        notes: What a person should know, such as fields that the manifest ignores and why.
    """

    vm: VirtualMachine
    applied: Applied
    plan: Plan
    notes: tuple[str, ...] = ()


def adopt(domain: ObservedDomain, place: Place, owner: str) -> Adoption:
    """Take a domain over as it is.

    Args:
        domain: A persistent domain that is nobody's.
        place: Its host.
        owner: Whose mark it gets.

    Raises:
        ReconcilerError: It cannot be adopted; the message says why.
    """
    _refuse_unfit(domain)
    config = named(domain.config)
    fields = manifest_of(domain)
    vm = validated(fields, domain)
    applied = _applied(vm, config, place, owner)
    # A domain whose running half differs from its persistent one could not be left alone otherwise.
    aside = _differing(vm, domain, applied)
    if aside:
        fields["spec"]["ignore"] = aside
        vm = validated(fields, domain)
        applied = _applied(vm, config, place, owner)
    task = Task(Blueprint(vm), place, owner)
    outcome = plan_located(task, _marked(domain, applied))
    if outcome is not UNCHANGED:
        paths = (
            [change.path for change in (*outcome.change.fields, *outcome.change.deferred)]
            if outcome.change
            else []
        )
        _refuse(domain, f"it would not stay as it is: {', '.join(paths) or 'it cannot be planned'}")
    notes = tuple(
        f"{name} differs between the running domain and its next start: it is in the manifest's ignore list"
        for name in aside
    )
    return Adoption(vm, applied, _plan(domain, applied), notes)


def forget(domain: ObservedDomain) -> Plan:
    """Let go of a machine: its domain stays as it is, without our mark.

    Raises:
        ReconcilerError: It is not ours.
    """
    mark = mark_of(domain)
    if mark is None:
        raise ReconcilerError(
            f"the domain {domain.name!r} on {domain.host} is not ours: there is nothing to forget"
        )
    reason = "it is let go; the domain stays as it is"
    action = Action(f"{mark.name}/unmark", domain.host, mark.name, mark.uid, Unmark(), Impact.NONE, reason)
    change = Change(mark.name, mark.uid, domain.host, Verb.FORGET, Impact.NONE, reason, mark.generation)
    return Plan(revision="", changes=(change,), actions=(action,))


def _plan(domain: ObservedDomain, applied: Applied) -> Plan:
    reason = "it is taken over as it is"
    action = Action(
        f"{applied.name}/mark", domain.host, applied.name, applied.uid, Mark(applied), Impact.NONE, reason
    )
    change = Change(
        applied.name,
        applied.uid,
        domain.host,
        Verb.ADOPT,
        Impact.NONE,
        reason,
        applied.generation,
        applied.spec_hash,
    )
    return Plan(revision="", changes=(change,), actions=(action,))


def _refuse(domain: ObservedDomain, why: str, hint: str = "") -> None:
    raise ReconcilerError(f"the domain {domain.name!r} on {domain.host} cannot be adopted: {why}", hint=hint)


def _refuse_unfit(domain: ObservedDomain) -> None:
    mark = mark_of(domain)
    if mark is not None:
        _refuse(domain, f"it is ours already, as {mark.name}")
    if domain.foreign_owner:
        _refuse(
            domain, f"it belongs to the installation {domain.foreign_owner!r}", "let that one forget it first"
        )
    if not domain.persistent:
        _refuse(domain, "it is transient and ends with its next stop", "define it first: virsh define")
    for disk in domain.config.disks or ():
        if not disk.path.startswith("/"):
            _refuse(domain, f"its disk {disk.target} is not a file or device but {disk.path or 'empty'!r}")
    for interface in domain.config.interfaces or ():
        if interface.network is None and interface.bridge is None:
            _refuse(domain, f"its interface {interface.mac} is on neither a network nor a bridge")


def _applied(vm: VirtualMachine, previous: DomainConfig, place: Place, owner: str) -> Applied:
    plan = Blueprint(vm)
    known = unsaid(previous, vm.spec)
    try:
        config = domain_config(plan, previous.uuid, place.host, place.observed, known)
    except CannotResolveError as error:
        where = f"the domain {previous.name!r} on {place.host.name}"
        raise ReconcilerError(f"{where} cannot be adopted: {error.message}") from error
    return applied_state(plan, config, owner, 1, "")


def _marked(domain: ObservedDomain, applied: Applied) -> ObservedDomain:
    """The domain as it will be observed once it has our mark."""
    return replace(domain, applied=applied, applied_live=applied if domain.live else None)


def _differing(vm: VirtualMachine, domain: ObservedDomain, applied: Applied) -> list[str]:
    """Manifest fields that cannot be true of the running and the persistent domain at once."""
    found = {d.covers for d in diff(Blueprint(vm), applied.config, _marked(domain, applied))}
    return sorted(name for name, covered in IGNORABLE.items() if covered & found and name != "instanceType")
