"""What becomes ours, ceases to be, or goes for good: planned from a look, by a command or by the daemon."""

from __future__ import annotations

import time
from collections.abc import Iterable

from reconciler import bookkeeping
from reconciler.engine import Engine, Look, Progress
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.domain import ObservedDomain
from reconciler.model.operations import DiscardVolume
from reconciler.model.placement import parse_own_volume_name, parse_volume_name
from reconciler.model.plan import Action, ActionResult, Change, Impact, Outcome, Plan, Verb
from reconciler.model.request import Act, Request
from reconciler.planner import Adoption, Place
from reconciler.planner import adopt as plan_adoption
from reconciler.planner import forget as plan_forgetting
from reconciler.planner.volumes import is_shared, volume_uid

ACTS = (Act.ADOPT, Act.FORGET, Act.DISCARD)
"""Acts on what is not, or will not be, a machine of the desired state."""


def serve(
    engine: Engine, request: Request, on_progress: Progress = lambda _: None
) -> tuple[ActionResult, ...]:
    """Carry out one of `ACTS`, against a look that reads the host anew.

    Raises:
        ReconcilerError: It cannot be done; nothing was.
    """
    host = request.vm.partition("/")[0]
    engine.rooms.observer.refresh({host} if "/" in request.vm else ())
    look = engine.look()
    if request.act is Act.ADOPT:
        return carry_out(engine, look, marking(look, request.vm, engine.rooms.config.owner), on_progress)
    if request.act is Act.DISCARD:
        return carry_out(engine, look, discarding(look, request.vm), on_progress)
    name, _, plan = forgetting(look, request.vm)
    results = carry_out(engine, look, plan, on_progress)
    if all(result.outcome in (Outcome.CHANGED, Outcome.OK) for result in results):
        engine.rooms.store.delete_records([name])
    return results


def carry_out(
    engine: Engine, look: Look, plan: Plan, on_progress: Progress = lambda _: None
) -> tuple[ActionResult, ...]:
    """Push a plan of this module, and tell what came of it as events."""
    rooms = engine.rooms
    results = rooms.pusher.push(plan, look.hosts, look.fleet, look.desired.templates, on_progress)
    rooms.store.add_events(bookkeeping.events_of(plan, results, time.time()))
    rooms.observer.refresh({result.host for result in results})
    return results


def require_done(results: Iterable[ActionResult]) -> None:
    """Refuse to go on after a failure.

    Raises:
        ReconcilerError: An action failed, or was not carried out.
    """
    for result in results:
        if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
            raise ReconcilerError(f"{result.id} on {result.host}: {result.message}")


def adopting(look: Look, domain: str, owner: str) -> Adoption:
    """What adopting ``HOST/DOMAIN`` takes.

    Raises:
        UsageError: There is no such domain.
        ReconcilerError: It cannot be adopted, or its host does not answer.
    """
    found = find_domain(look, domain)
    return plan_adoption(found, Place(look.hosts[found.host], look.fleet[found.host]), owner)


def marking(look: Look, domain: str, owner: str) -> Plan:
    """The plan that marks the domain, once the desired state holds its machine: else it would be deleted.

    Raises:
        UsageError: The desired state does not, or there is no such domain.
        ReconcilerError: It cannot be adopted, or its host does not answer.
    """
    adoption = adopting(look, domain, owner)
    name = adoption.vm.name
    if name not in look.desired.machines:
        raise UsageError(
            f"{name} is not in the desired state at {look.desired.revision[:12]} yet: "
            "its domain was not marked",
            hint="commit the file, then run the same command again",
        )
    return adoption.plan


def forgetting(look: Look, machine: str) -> tuple[str, ObservedDomain, Plan]:
    """The name, the domain and the plan that takes the mark from a machine, or from ``HOST/DOMAIN``.

    Raises:
        UsageError: There is none that is ours.
        ReconcilerError: Its host does not answer.
    """
    if "/" in machine:
        found = find_domain(look, machine)
    else:
        ours = [
            domain
            for host in look.fleet.values()
            for domain in host.domains.values()
            if domain.applied is not None and domain.applied.name == machine
        ]
        if not ours:
            raise UsageError(
                f"no domain carries the mark of a machine {machine!r}", hint="see: reconciler get vms"
            )
        found = ours[-1]
    return found.applied.name if found.applied else machine, found, plan_forgetting(found)


def find_domain(look: Look, domain: str) -> ObservedDomain:
    """The domain that ``HOST/DOMAIN`` is, by its name or UUID.

    Raises:
        UsageError: There is none.
        ReconcilerError: Its host does not answer.
    """
    host, slash, name = domain.partition("/")
    if not slash:
        raise UsageError(f"{domain!r} is not HOST/DOMAIN", hint="see: reconciler get hosts -o json")
    if host not in look.fleet:
        raise UsageError(f"the inventory has no host {host!r}", hint="see: reconciler get hosts")
    if not look.fleet[host].known:
        raise ReconcilerError(
            f"host {host} does not answer: {look.fleet[host].message}", hint=f"reconciler doctor {host}"
        )
    for found in look.fleet[host].domains.values():
        if name in (found.name, found.uuid):
            return found
    raise UsageError(
        f"host {host} has no domain {name!r}", hint=f"virsh -c '{look.hosts[host].uri}' list --all"
    )


def discarding(look: Look, volume: str) -> Plan:
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
