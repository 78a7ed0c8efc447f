"""Acts on one machine that no desired state asks for: planned here, and carried out when the daemon is asked.

A command that finds nobody else at work plans and pushes its act itself.  While a daemon holds the store, it
writes the act as a request instead, and the daemon plans it against its own fresh look.  Either way it is the
plan of `plan_act`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from reconciler import belongings
from reconciler.engine import Engine, Look, Progress
from reconciler.errors import ReconcilerError, StalePlanError, UsageError
from reconciler.model.domain import ObservedDomain
from reconciler.model.manifest import RunStrategy
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.model.request import Act, Request, RequestOutcome, RequestRecord, RequestState
from reconciler.model.snapshot import Snapshot
from reconciler.model.status import Event
from reconciler.observed.snapshots import read_snapshots
from reconciler.observed.volume_snapshots import read_volume_snapshots
from reconciler.planner import one_off, volume_acts
from reconciler.planner.lent.expand import WITH_HOLDER
from reconciler.planner.volume_acts import is_volume
from reconciler.store.base import Store

DAEMON = "reconciler run"
"""The purpose for which a daemon holds the store."""

EXPIRES = 3600.0
"""Seconds that a request waits for a daemon. Who asked has long stopped to wait for it."""

INTERRUPTED = "interrupted; the machine is reconciled"

BLOCKED = 7
"""Exit code of what is refused because its machine must be left alone now."""


def daemon_holds(store: Store) -> bool:
    """True while a daemon lives that takes requests from this store."""
    by = store.holder()
    return by is not None and by.purpose == DAEMON


class Desk:
    """Where the daemon takes requests: in the order they were asked, one at a time.

    A request that was begun and is not final belonged to a process that died, or to a push that could not be
    written down.  It fails and is never repeated: a second restart is worse than a missing one.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    @property
    def waiting(self) -> bool:
        """Somebody waits. Costs next to nothing to ask."""
        return bool(self._engine.rooms.store.open_requests())

    def serve(self, stop: Callable[[], bool], on_progress: Progress = lambda _: None) -> None:
        """Bring every request that waits now to its end, or stop before the next one."""
        for record in self._engine.rooms.store.open_requests():
            if stop():
                return
            if record.state is RequestState.RUNNING:
                self._end(record, RequestOutcome(RequestState.FAILED, INTERRUPTED, 1), on_progress)
            elif self._engine.rooms.store.begin_request(record.id, self._clock()):
                on_progress(f"{record.request.words}, asked by {record.by}")
                self._end(record, self._outcome(record, on_progress), on_progress)

    def _outcome(self, record: RequestRecord, on_progress: Progress) -> RequestOutcome:
        waited = self._clock() - record.asked
        if waited > EXPIRES:
            message = f"no daemon took it for {waited / 60:.0f} minutes, so it was not done; ask again"
            return RequestOutcome(RequestState.FAILED, message, 1)
        try:
            results = self._carry_out(record, on_progress)
        except ReconcilerError as error:
            message = f"{error.message} ({error.hint})" if error.hint else error.message
            return RequestOutcome(RequestState.FAILED, message, error.exit_code)
        outcome = outcome_of(results)
        note = _comes_back(self._engine.seen, record.request)
        if outcome.state is RequestState.DONE and note:
            outcome = replace(outcome, message=f"{outcome.message}; {note}")
        return outcome

    def _carry_out(self, record: RequestRecord, on_progress: Progress) -> tuple[ActionResult, ...]:
        if record.request.act in belongings.ACTS:
            return belongings.serve(self._engine, record.request, on_progress)
        look = self._look(record.request.vm)
        self._require_same_holder(record)
        part = plan_act(look, record.request, record.by)
        return self._engine.carry_out_part(look, part, one_off=True, on_progress=on_progress).results

    def _require_same_holder(self, record: RequestRecord) -> None:
        """Refuse what was asked before somebody else got the machine.

        A machine that is lent again may be the same domain: its uid alone does not tell.

        Raises:
            StalePlanError: It was.
        """
        store, vm = self._engine.rooms.store, record.request.vm
        lease = store.lease_of(vm)
        if lease is None or record.by in (lease.holder, lease.by):
            return
        if record.asked < self._clock() - (store.lease_time() - lease.taken):
            raise StalePlanError(f"{vm} was lent to somebody else since this was asked: it is left alone")

    def _look(self, vm: str) -> Look:
        """A look that reads the machine's host anew: events tell of most changes, but not at once."""
        look = self._engine.look()
        found = volume_acts.home_of(look.survey, vm) if is_volume(vm) else look.survey.index.ours.get(vm)
        if found is None:
            return look
        self._engine.rooms.observer.refresh({found.host})
        return self._engine.look()

    def _end(self, record: RequestRecord, outcome: RequestOutcome, on_progress: Progress) -> None:
        store, now = self._engine.rooms.store, self._clock()
        failed = outcome.state is RequestState.FAILED
        told = f"{record.request.words}, asked by {record.by}: {outcome.message}"
        reason = "RequestFailed" if failed else "RequestDone"
        with store.transaction():
            store.end_request(record.id, outcome, now)
            store.add_events([Event(now, reason, told, record.request.vm, warning=failed)])
        on_progress(told)


def _comes_back(look: Look | None, request: Request) -> str:
    """What somebody who stops a machine should know: that the loop starts it again."""
    wanted = look.desired.machines.get(request.vm) if look is not None and request.act is Act.STOP else None
    if wanted is None or wanted.spec.run_strategy is not RunStrategy.ALWAYS:
        return ""
    return (
        "its run strategy is Always: the next tick starts it again; to keep it off: PATCH "
        "spec.runStrategy=Halted, or `reconciler stop`"
    )


def outcome_of(results: tuple[ActionResult, ...]) -> RequestOutcome:
    """What became of a request whose actions came to this."""
    done = (Outcome.CHANGED, Outcome.OK)
    open_ = [result for result in results if result.outcome not in done]
    if open_:
        worst = next((result for result in open_ if result.outcome is Outcome.FAILED), open_[0])
        message = f"{worst.id} {worst.outcome}: {worst.message}"
        return RequestOutcome(RequestState.FAILED, message, 1, results)
    message = "; ".join(f"{result.id}: {result.message}" for result in results if result.message)
    return RequestOutcome(RequestState.DONE, message or "done", 0, results)


def plan_act(look: Look, request: Request, by: str = "") -> Plan:
    """The plan of an act on a machine that is there.

    Args:
        look: What was seen.
        request: What is asked.
        by: Who asks; empty for the person that the plan is shown to.

    Raises:
        UsageError: There is no such machine, or its manifest says otherwise.
        StalePlanError: It, or its snapshot, is not the one that was agreed on.
        ReconcilerError: It cannot be done now, or must not.
    """
    if is_volume(request.vm):
        return replace(_plan_for_volume(look, request), revision=look.plan.revision)
    domain = domain_of(look, request.vm)
    _require_free(look, request.vm, domain)
    if request.uid and request.uid != domain.uuid:
        raise StalePlanError(f"{request.vm} is another machine by now (uid {domain.uuid}): it is left alone")
    return replace(_plan(look, domain, request, by), revision=look.plan.revision)


def agreed(look: Look, request: Request) -> Request:
    """The request, bound to the machine and the snapshot that `look` shows and a person agreed to."""
    if is_volume(request.vm):
        uid = volume_acts.home_of(look.survey, request.vm).uid
    else:
        uid = domain_of(look, request.vm).uuid
    taken = 0.0
    if request.act in (Act.RESTORE, Act.DELETE_SNAPSHOT):
        known = known_snapshots(look, request.vm)
        taken = next((one.created for one in known if one.name == request.snapshot), 0.0)
    return replace(request, uid=uid, taken=taken)


def known_snapshots(look: Look, key: str) -> tuple[Snapshot, ...]:
    """The snapshots that a machine, or a volume (``Volume/data``), has now.

    Raises:
        UsageError: There is no such thing.
        ReconcilerError: It is not to be found.
        HostError: Its host does not answer.
    """
    if not is_volume(key):
        return snapshots_of(look, domain_of(look, key))
    home = volume_acts.home_of(look.survey, key)
    return read_volume_snapshots(look.hosts[home.host], home.pool, home.file)


def domain_of(look: Look, vm: str) -> ObservedDomain:
    """The machine's domain.

    Raises:
        UsageError: There is no such machine.
        ReconcilerError: It has no domain that can be worked on now.
    """
    twins = look.survey.index.twins.get(vm)
    if twins:
        raise ReconcilerError(f"several domains claim to be {vm}: {', '.join(sorted(d.host for d in twins))}")
    found = look.survey.index.ours.get(vm)
    if found is not None:
        return found
    blocked = look.survey.blocked.get(vm)
    if blocked is not None:
        raise _left_alone(vm, f"{blocked.reason}: {blocked.message}")
    if vm not in look.desired.machines:
        raise UsageError(f"there is no machine {vm!r}", hint="see: reconciler get vms")
    refused = one_off.refusal(look.plan, vm)
    if refused is not None:
        raise _left_alone(vm, f"{refused.reason}: {refused.message}")
    record = look.records.get(vm)
    host = look.fleet.get(record.host) if record is not None else None
    if record is not None and (host is None or not host.known):
        raise ReconcilerError(f"{vm} is on no host that answers", hint=f"reconciler explain {vm}")
    raise ReconcilerError(
        f"{vm} is desired, and not made yet: there is nothing to act on", hint=f"reconciler explain {vm}"
    )


def snapshots_of(look: Look, domain: ObservedDomain) -> tuple[Snapshot, ...]:
    """The snapshots that a machine has now.

    Raises:
        HostError: Its host does not answer.
    """
    return read_snapshots(look.hosts[domain.host], domain.uuid)


def _require_free(look: Look, vm: str, domain: ObservedDomain) -> None:
    """Refuse what the loop would leave alone too."""
    if vm in look.survey.suspended:
        raise ReconcilerError(
            f"{vm} is suspended, which means hands off", hint="take suspend out of its manifest"
        )
    if domain.host in look.survey.same:
        raise ReconcilerError(
            f"the inventory has {domain.host} under several names: what is there is left alone",
            hint="reconciler plan tells which names",
        )
    blocked = look.survey.blocked.get(vm)
    # What the loop leaves alone for the sake of its holder, the holder may act on.
    if blocked is not None and blocked.reason not in WITH_HOLDER:
        raise _left_alone(vm, f"{blocked.reason}: {blocked.message}")


def _left_alone(vm: str, why: str) -> ReconcilerError:
    error = ReconcilerError(f"nothing was done: {vm} is blocked: {why}")
    error.exit_code = BLOCKED  # type: ignore[misc]  # this one error, not its class
    return error


def _plan(look: Look, domain: ObservedDomain, request: Request, by: str) -> Plan:
    reason = f"{by} asked for it" if by else "it was asked for"
    if request.act is Act.START:
        return one_off.start(domain, reason)
    if request.act is Act.STOP:
        return one_off.stop(domain, _timeout(look, domain, request), reason)
    if request.act is Act.RESTART:
        wanted = look.desired.machines.get(request.vm)
        if wanted is not None and wanted.spec.run_strategy is RunStrategy.HALTED:
            raise UsageError(f"{request.vm} is desired to be off", hint=f"reconciler start {request.vm}")
        return one_off.restart(domain, _timeout(look, domain, request), reason)
    known = snapshots_of(look, domain)
    if request.act is Act.SNAPSHOT:
        return one_off.take_snapshot(domain, request.snapshot, known)
    _require_agreed(request, known)
    if request.act is Act.RESTORE:
        return one_off.restore_snapshot(domain, request.snapshot, known)
    return one_off.delete_snapshot(domain, request.snapshot, known)


def _plan_for_volume(look: Look, request: Request) -> Plan:
    if request.act not in (Act.SNAPSHOT, Act.RESTORE, Act.DELETE_SNAPSHOT):
        raise UsageError(f"{request.vm} is no machine: it cannot {request.act}")
    blocked = one_off.refusal(look.plan, request.vm)
    if blocked is not None:
        raise _left_alone(request.vm, f"{blocked.reason}: {blocked.message}")
    volume = volume_acts.at_rest(look.survey, request.vm)
    known = known_snapshots(look, request.vm)
    if request.act is Act.SNAPSHOT:
        return volume_acts.take(volume, request.snapshot, known)
    _require_agreed(request, known)
    if request.act is Act.RESTORE:
        return volume_acts.restore(volume, request.snapshot, known)
    return volume_acts.delete(volume, request.snapshot, known)


def _require_agreed(request: Request, known: tuple[Snapshot, ...]) -> None:
    """A snapshot that was taken anew under the same name holds other data than was agreed on."""
    found = next((one for one in known if one.name == request.snapshot), None)
    if found is not None and request.taken and found.created != request.taken:
        raise StalePlanError(
            f"the snapshot {request.snapshot!r} of {request.vm} is another one by now: nothing was done",
            hint=f"reconciler snapshots {request.vm}",
        )


def _timeout(look: Look, domain: ObservedDomain, request: Request) -> int:
    """Seconds that the guest gets: the manifest's, or what was last pushed; none if it is forced."""
    if request.force:
        return 0
    wanted = look.desired.machines.get(request.vm)
    if wanted is not None:
        return wanted.spec.stop_timeout
    return domain.applied.stop_timeout if domain.applied else 60
