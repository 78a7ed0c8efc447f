"""What is said of pools, networks and volumes: Ready, and Synced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from reconciler.model.placement import is_machine, on_host
from reconciler.model.plan import ActionResult, Blocked, Change, Outcome, Plan, Verb
from reconciler.model.status import Condition, ConditionStatus, ConditionType
from reconciler.planner.pending import meant_for
from reconciler.planner.survey import Survey

_DONE = (Outcome.CHANGED, Outcome.OK)
_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def resource_conditions(
    survey: Survey, plan: Plan, results: Iterable[ActionResult], now: float
) -> dict[str, tuple[Condition, ...]]:
    """The conditions of every desired object that is no machine, by key; those on silent hosts are left out.

    Args:
        survey: What the plan was made of.
        plan: The plan.
        results: What became of its actions, if it was pushed.
        now: Epoch seconds.
    """
    changes = {change.vm: change for change in plan.changes if not is_machine(change.vm)}
    blocked = {refusal.vm: refusal for refusal in plan.blocked if not is_machine(refusal.vm)}
    told: dict[str, list[ActionResult]] = defaultdict(list)
    for result in results:
        if not is_machine(result.vm):
            told[result.vm].append(result)
    acting: dict[str, int] = defaultdict(int)
    for action in plan.actions:
        acting[action.vm] += 1
    said: dict[str, tuple[Condition, ...]] = {}
    for key in sorted({*_desired(survey), *changes, *blocked}):
        mine = told.get(key, [])
        done = bool(mine) and len(mine) == acting[key] and all(one.outcome in _DONE for one in mine)
        change = changes.get(key)
        if change is not None and change.verb is Verb.DELETE and done:
            continue
        said[key] = _say(change, blocked.get(key), mine, done, now)
    return said


def _desired(survey: Survey) -> Iterator[str]:
    situation = survey.situation
    for kind, things in (("StoragePool", situation.desired.pools), ("Network", situation.desired.networks)):
        for name, manifest in things.items():
            for host in situation.hosts.values():
                if situation.known(host.name) and meant_for(manifest.spec.hosts, host):
                    yield on_host(kind, name, host.name)
    yield from (f"Volume/{name}" for name in situation.desired.volumes)


def _say(
    change: Change | None, blocked: Blocked | None, results: list[ActionResult], done: bool, now: float
) -> tuple[Condition, ...]:
    status, reason, message = _TRUE, "InSync", ""
    failed = next((one for one in results if one.outcome is Outcome.FAILED), None)
    if blocked is not None:
        status, reason, message = _FALSE, blocked.reason, blocked.message
    elif failed is not None:
        status, reason, message = _FALSE, failed.reason or "Failed", failed.message
    elif change is not None and done:
        reason, message = "Applied", change.reason
    elif change is not None:
        status, reason, message = _FALSE, "ChangesPending", change.reason
    kinds = (ConditionType.READY, ConditionType.SYNCED)
    return tuple(Condition(str(kind), status, reason, message, now) for kind in kinds)
