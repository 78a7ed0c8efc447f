"""Clean disks for the same machine, and the end of disks that were never more than half made."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import ObservedHost
from reconciler.model.machine import VirtualMachine
from reconciler.model.operations import DeleteVolume
from reconciler.model.placement import parse_volume_name
from reconciler.model.plan import Change, Impact, Plan, Verb
from reconciler.model.storage import DeletionPolicy
from reconciler.planner import actions, guest
from reconciler.planner.actions import Place
from reconciler.planner.blueprint import applied_state, blueprint, image_identity
from reconciler.planner.diff import mark_of
from reconciler.planner.resolve import domain_config, volume_path
from reconciler.planner.steps import Steps
from reconciler.planner.survey import Survey
from reconciler.planner.unresolved import CannotResolveError

REASON = "it came back: its disks are made anew"


def revert(survey: Survey, machines: Iterable[VirtualMachine]) -> tuple[Plan, frozenset[str]]:
    """One plan that gives machines clean disks: they keep uid, host, addresses and MACs.

    Domain and disks go as in a deletion and are made as in a creation, so whatever a holder left (disks,
    firmware variables, snapshots) is gone.  Repeated after any interruption it comes to the same.

    Args:
        survey: What was seen.
        machines: The manifests of their new life; of those without a domain nothing is done.

    Returns:
        The plan, and the machines that cannot be reverted: they have to be made anew.
    """
    changes, steps, impossible = [], [], set()
    for vm in machines:
        domain, record = survey.index.ours.get(vm.name), survey.situation.records.get(vm.name)
        if domain is not None and (
            record is None or record.host != domain.host or domain.host in survey.same
        ):
            continue  # not before it is sure that it is nowhere else
        made = _reverted(survey, vm, domain) if domain is not None else None
        if made is None:
            impossible.add(vm.name)
            continue
        changes.append(made[0])
        steps.append(made[1])
    every = {action.id: action for one in steps for action in one.actions}
    # What machines share comes first, as in any plan.
    ordered = sorted(every.values(), key=lambda action: bool(action.vm))
    revision = survey.situation.desired.revision
    return Plan(revision, tuple(changes), tuple(ordered)), frozenset(impossible)


def _reverted(survey: Survey, vm: VirtualMachine, domain: ObservedDomain) -> tuple[Change, Steps] | None:
    situation, mark = survey.situation, mark_of(domain)
    if mark is None or mark.deletion_policy != DeletionPolicy.DELETE:
        return None
    observed = situation.fleet[domain.host]
    plan = blueprint(situation.desired, vm, situation.owner)
    plan = replace(plan, addresses=survey.addresses.get(vm.name, {}))
    seeds = guest.seeds_of(mark, domain, observed)
    place = Place(situation.hosts[domain.host], _without(observed, mark.uid))
    try:
        config = domain_config(plan, mark.uid, place.host, place.observed, mark.config)
    except CannotResolveError:
        return None
    applied = applied_state(plan, config, situation.owner, mark.generation + 1, image_identity(plan.image))
    steps = Steps(vm.name, mark.uid, domain.host)
    gone = actions.remove(steps, domain, mark, timeout=0, reason=REASON, seeds=seeds)
    actions.create(steps, plan, applied, place, after=[gone], reason=REASON)
    change = Change(
        vm=vm.name,
        uid=mark.uid,
        host=domain.host,
        verb=Verb.RESTORE,
        impact=Impact.DESTROY,
        reason=REASON,
        generation=applied.generation,
        spec_hash=applied.spec_hash,
    )
    return change, steps


def _without(observed: ObservedHost, uid: str) -> ObservedHost:
    """The host as it is once the disks of that uid are gone."""
    pools = {
        name: replace(pool, volumes=frozenset(v for v in pool.volumes if not _is_of(v, uid)))
        for name, pool in observed.pools.items()
    }
    return replace(observed, pools=pools)


def _is_of(volume: str, uid: str) -> bool:
    parsed = parse_volume_name(volume)
    return parsed is not None and parsed[1] == uid


def leftovers(survey: Survey, vms: Collection[str]) -> Plan:
    """The plan that deletes disks of members without a domain: what made or deleted them was cut short.

    Args:
        survey: What was seen.
        vms: Machines that were made by their pools, so that their disks go with them.
    """
    situation = survey.situation
    changes, done = [], []
    for vm in vms:
        record = situation.records.get(vm)
        if record is None or not situation.known(record.host):
            continue
        if record.uid in situation.fleet[record.host].domains:
            continue
        steps = Steps(vm, record.uid, record.host)
        for pool in situation.fleet[record.host].pools.values():
            for volume in sorted(pool.volumes):
                if pool.active and parse_volume_name(volume) is not None and _is_of(volume, record.uid):
                    delete = DeleteVolume(volume_path(pool, volume))
                    steps.add(delete, "nothing was made of it", Impact.DESTROY, detail=volume)
        if steps.actions:
            reason = "it has no domain, and its disks are made anew"
            changes.append(Change(vm, record.uid, record.host, Verb.FORGET, Impact.DESTROY, reason))
            done += steps.actions
    return Plan(situation.desired.revision, tuple(changes), tuple(done))
