"""What is said of each machine: Ready, Synced, Placed, RestartRequired, ReplaceRequired, Provisioned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reconciler.model.domain import DomainState, ObservedDomain
from reconciler.model.manifest import RunStrategy, VirtualMachine
from reconciler.model.placement import is_machine
from reconciler.model.plan import Action, ActionResult, Blocked, Change, Impact, Outcome, Plan, Verb
from reconciler.model.readiness import GuestRecord, Guests, ProvisionRecord
from reconciler.model.status import Condition, ConditionStatus, ConditionType
from reconciler.model.units import format_size
from reconciler.planner.diff import mark_of
from reconciler.planner.fields import enough_memory
from reconciler.planner.ignore import ignored
from reconciler.planner.readiness import playbook_digest, readiness_verdict, wish_of
from reconciler.planner.resources.conditions import resource_conditions
from reconciler.planner.situation import Memo
from reconciler.planner.survey import Survey
from reconciler.planner.words import named

Verdict = tuple[ConditionStatus, str, str]
"""Status, reason and message."""

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_DONE = (Outcome.CHANGED, Outcome.OK)
_OUT_OF_SIGHT = frozenset({"HostUnknown"})


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is known of one machine."""

    name: str
    vm: VirtualMachine | None
    domain: ObservedDomain | None
    change: Change | None
    blocked: Blocked | None
    suspended: bool
    actions: Sequence[Action]
    results: Sequence[ActionResult]
    guest: GuestRecord | None = None
    provision: ProvisionRecord | None = None
    now: float = 0.0

    @property
    def failure(self) -> ActionResult | None:
        return next((r for r in self.results if r.outcome is Outcome.FAILED), None)

    @property
    def done(self) -> bool:
        """Everything planned for it was done."""
        return (
            bool(self.actions)
            and len(self.results) == len(self.actions)
            and all(r.outcome in _DONE for r in self.results)
        )

    @property
    def generation(self) -> int:
        mark = mark_of(self.domain) if self.domain else None
        if self.change is not None and (self.done or mark is None):
            return self.change.generation if self.done else 0
        return mark.generation if mark else 0


def conditions(
    survey: Survey,
    plan: Plan,
    results: Iterable[ActionResult] = (),
    *,
    now: float = 0.0,
    memo: Memo | None = None,
    guests: Guests | None = None,
) -> dict[str, tuple[Condition, ...]]:
    """The conditions of every desired machine and other object, and of those that cannot be let go.

    Args:
        survey: What the plan was made of.
        plan: The plan.
        results: What became of its actions, if it was pushed.
        now: Epoch seconds, for `last_transition_time`; `Condition.after` restores earlier ones.
        memo: An uneventful machine then gets the very same tuple as last time, with its old time.
        guests: What is known of the guests.
    """
    memo, guests = memo or Memo(), guests or Guests()
    machines = survey.situation.desired.machines
    results = tuple(results)
    cases = {case.name: case for case in _eventful(survey, plan, results)}
    said: dict[str, tuple[Condition, ...]] = {}
    for name, vm in machines.items():
        if name in cases:
            continue
        domain = survey.located.get(name)
        if vm.spec.readiness is not None or vm.spec.provision is not None:
            # What a guest does changes by itself, and so does what a time limit makes of it.
            said[name] = _say(_told(_Case(name, vm, domain, None, None, False, (), ()), guests, now), now)
            continue
        last = memo.conditions.get(name)
        if last is not None and last[0] is domain and last[1] is vm:
            said[name] = last[2]
            continue
        said[name] = _say(_Case(name, vm, domain, None, None, False, (), ()), now)
        memo.conditions[name] = (domain, vm, said[name])
    for name, case in cases.items():
        memo.conditions.pop(name, None)
        if case.change is None or case.change.verb is not Verb.DELETE or not case.done:
            said[name] = _say(_told(case, guests, now), now)
    return said | resource_conditions(survey, plan, results, now)


def _told(case: _Case, guests: Guests, now: float) -> _Case:
    """The case, with what is known of its guest."""
    wish = case.vm.spec.provision if case.vm else None
    provision = None
    if wish is not None and case.domain is not None:
        provision = guests.provisions.get((case.domain.uuid, playbook_digest(wish.playbook)))
    return replace(case, guest=guests.records.get(case.name), provision=provision, now=now)


def ready_of(
    name: str, vm: VirtualMachine | None, domain: ObservedDomain, guests: Guests, now: float
) -> Verdict:
    """What the condition Ready says of a machine with a domain, apart from what is planned for it."""
    case = _told(_Case(name, vm, domain, None, None, False, (), ()), guests, now)
    return _guest(case, _state(domain, vm))


def _eventful(survey: Survey, plan: Plan, results: Iterable[ActionResult]) -> Iterable[_Case]:
    """Machines that the plan changes, blocks or leaves waiting, and suspended ones."""
    changes = {change.vm: change for change in plan.changes}
    blocked = {refusal.vm: refusal for refusal in plan.blocked}
    mine: dict[str, list[Action]] = defaultdict(list)
    for action in plan.actions:
        mine[action.vm].append(action)
    told: dict[str, list[ActionResult]] = defaultdict(list)
    for result in results:
        told[result.vm].append(result)
    for name in sorted({*filter(is_machine, (*changes, *blocked)), *survey.suspended}):
        domain = survey.index.ours.get(name)
        yield _Case(
            name=name,
            vm=survey.situation.desired.machines.get(name),
            domain=domain,
            change=changes.get(name),
            blocked=blocked.get(name),
            suspended=name in survey.suspended,
            actions=mine.get(name, ()),
            results=told.get(name, ()),
        )


def _say(case: _Case, now: float) -> tuple[Condition, ...]:
    said = {
        ConditionType.READY: _ready(case),
        ConditionType.SYNCED: _synced(case),
        ConditionType.PLACED: _placed(case),
        ConditionType.RESTART_REQUIRED: _waiting(case, Impact.RESTART, "ChangesWait", "NothingWaits"),
        ConditionType.REPLACE_REQUIRED: _waiting(case, Impact.REPLACE, "ChangesWait", "NothingWaits"),
    }
    if case.vm is not None and case.vm.spec.provision is not None:
        said[ConditionType.PROVISIONED] = _provisioned(case)
    return tuple(
        Condition(str(kind), status, reason, message, now, case.generation)
        for kind, (status, reason, message) in said.items()
    )


def _provisioned(case: _Case) -> Verdict:
    record = case.provision
    if record is None:
        return _FALSE, "Waiting", "its playbook is run when it is ready"
    status = {"done": _TRUE, "failed": _FALSE}.get(record.state, _UNKNOWN)
    return status, record.reason, record.message


def _trouble(case: _Case) -> Verdict | None:
    """Why it is not, or not yet, what it shall be: it is blocked, or an action failed."""
    if case.blocked is not None:
        status = _UNKNOWN if case.domain is None and case.blocked.reason in _OUT_OF_SIGHT else _FALSE
        return status, case.blocked.reason, case.blocked.message
    if case.failure is not None:
        return _FALSE, case.failure.reason or "Failed", case.failure.message
    return None


def _ready(case: _Case) -> Verdict:
    if case.done:
        return _after_push(case)
    if case.domain is not None:
        return _guest(case, _state(case.domain, case.vm))
    reason = case.change.reason if case.change else "it does not exist"
    return _trouble(case) or (_FALSE, "NotCreated", reason)


def _after_push(case: _Case) -> Verdict:
    """The domain was observed before the push: what was done to it says more."""
    kinds = {action.operation.kind for action in case.actions}
    if "start" in kinds:
        wish = wish_of(case.vm) if case.vm else None
        return readiness_verdict(wish, None, case.now) if wish else (_TRUE, "Running", "it was started")
    if "stop" in kinds:
        return _TRUE, "Halted", "it was stopped, as its run strategy says"
    if case.domain is None:
        return _TRUE, "Defined", "it is defined; nothing starts it"
    return _guest(case, _state(case.domain, case.vm))


def _guest(case: _Case, verdict: Verdict) -> Verdict:
    """A machine that runs, as it shall, is ready only if its guest is."""
    wish = wish_of(case.vm) if case.vm else None
    running = case.domain is not None and case.domain.state is DomainState.RUNNING
    if wish is None or not running or verdict[0] is not _TRUE:
        return verdict
    return readiness_verdict(wish, case.guest, case.now)


def _state(domain: ObservedDomain, vm: VirtualMachine | None) -> Verdict:
    strategy = vm.spec.run_strategy if vm else RunStrategy.MANUAL
    told = f"it is {domain.state}" + (f" ({domain.state_reason})" if domain.state_reason else "")
    word = "".join(part.capitalize() for part in str(domain.state).split())
    if domain.state is DomainState.RUNNING:
        return (_FALSE if strategy is RunStrategy.HALTED else _TRUE), "Running", told
    if domain.state is DomainState.PAUSED:
        return _FALSE, "Paused", f"{told}: `virsh resume` continues it"
    shall_run = strategy is RunStrategy.ALWAYS or domain.state in (DomainState.CRASHED, DomainState.SUSPENDED)
    return (_FALSE if shall_run else _TRUE), word, told


def _synced(case: _Case) -> Verdict:
    trouble = _trouble(case)
    if case.suspended:
        return _UNKNOWN, "Suspended", "it is observed and not changed"
    if trouble is not None:
        return _FALSE, *trouble[1:]
    if case.change is None:
        return _balloon(case) or (_TRUE, "InSync", "")
    if case.actions and not case.done:
        return _FALSE, "Skipped" if case.results else "ChangesPending", case.change.reason
    return _leftovers(case.change)


def _balloon(case: _Case) -> Verdict | None:
    """Its guest has more memory than it shall have: that is the guest's to change, and nothing to act on."""
    if (
        case.vm is None
        or case.domain is None
        or case.domain.live is None
        or "memory" in ignored(case.vm.spec.ignore)
    ):
        return None
    mark = mark_of(case.domain)
    wanted, running = mark.config.memory if mark else None, case.domain.live.memory
    if wanted is None or running is None or enough_memory(running, wanted):
        return None
    told, much = format_size(wanted), format_size(running)
    message = f"it has {much} of memory: its guest is asked to give back what is above {told}"
    return _FALSE, "BalloonPending", message


def _leftovers(change: Change) -> Verdict:
    """What is not done although everything was that could be."""
    waiting = [field for field in change.deferred if field.impact is not Impact.NONE]
    if waiting:
        return _FALSE, "ChangesWait", f"waiting for consent: {named(waiting)}"
    if change.deferred:
        return _FALSE, "Drifted", f"only reported: {named(change.deferred)}"
    return _TRUE, "Applied", change.reason


def _placed(case: _Case) -> Verdict:
    if case.domain is not None:
        return _TRUE, "Placed", f"it is on {case.domain.host}"
    if case.change is not None and case.done:
        return _TRUE, "Placed", f"it is on {case.change.host}"
    where = f"it is to be made on {case.change.host}" if case.change else "it does not exist"
    return _trouble(case) or (_FALSE, "NotCreated", where)


def _waiting(case: _Case, impact: Impact, some: str, none: str) -> Verdict:
    if case.domain is None and case.blocked is not None and case.blocked.reason in _OUT_OF_SIGHT:
        return _UNKNOWN, case.blocked.reason, case.blocked.message
    fields = [field for field in case.change.deferred if field.impact is impact] if case.change else []
    if not fields:
        return _FALSE, none, ""
    policy = "Restart" if impact is Impact.RESTART else "Replace"
    return _TRUE, some, f"{named(fields)}: set updatePolicy: {policy} to let it happen"
