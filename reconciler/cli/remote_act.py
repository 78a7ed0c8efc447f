"""Changes and acts behind a server: shown, agreed on, asked for, waited for and told as those here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from reconciler.cli.remote import Remote
from reconciler.cli.remote_change import RemoteDraft
from reconciler.cli.wait import State, state_of
from reconciler.client import Operation
from reconciler.client.words import seconds
from reconciler.errors import ReconcilerError
from reconciler.model.placement import is_machine
from reconciler.model.plan import PLAN_JSON, ActionResult, Outcome, Plan, Verb
from reconciler.model.request import Act, Request
from reconciler.model.status import Condition, ConditionStatus

_PAUSE = 1.0


def plan_change(draft: RemoteDraft, vm: str) -> Plan:
    """What a change does: the parts of its writes' plans that are about its machine, as one."""
    plans = draft.plans()
    return _one(plans, vm)


def plan_act(remote: Remote, request: Request) -> Plan:
    """What an act does."""
    body = {"act": str(request.act), "vm": request.vm, "snapshot": request.snapshot, "force": request.force}
    return PLAN_JSON.validate_json(remote.client.ask("POST", "/api/v1/commands/plan", body=body).content)


def ask(remote: Remote, request: Request) -> Operation:
    """Ask for an act."""
    method, path, body = _asked(request)
    return remote.client.act(path, method=method, body=body)


def remaining(remote: Remote, vm: str) -> int:
    """Actions that are planned for a machine now."""
    return sum(action.vm == vm for action in remote.plan().actions)


def results_of(operation: Operation) -> tuple[ActionResult, ...]:
    """What became of an operation's actions."""
    return tuple(
        ActionResult(
            str(one["id"]),
            str(one.get("host", "")),
            str(one.get("vm", "")),
            Outcome(one["outcome"]),
            str(one.get("message", "")),
            str(one.get("reason", "")),
            seconds=float(one.get("seconds", 0.0)),
        )
        for one in operation.results
    )


def wait_until_ready(remote: Remote, plan: Plan) -> Mapping[str, str]:
    """Wait until the machines that a plan changed are ready, or will not be; why one is not, by machine."""
    gone = (Verb.DELETE, Verb.FORGET)
    names = sorted(
        {change.vm for change in plan.changes if change.verb not in gone and is_machine(change.vm)}
    )
    told: dict[str, str] = {}
    while True:
        states = {name: _state(remote, name) for name in names}
        for name, state in states.items():
            if told.get(name) != state.word:
                told[name] = state.word
                click.echo(f"  {name}: {state.word}", err=True)
        if not any(state.moving for state in states.values()):
            return {name: state.word for name, state in states.items() if not state.ready}
        time.sleep(_PAUSE)


def _state(remote: Remote, name: str) -> State:
    try:
        status = remote.client.get("virtualmachines", name).data.get("status") or {}
    except ReconcilerError as error:
        return State(error.message, ready=False, moving=False)
    return state_of([_condition(one) for one in status.get("conditions") or ()])


def _condition(one: Mapping[str, Any]) -> Condition:
    return Condition(
        one["type"],
        ConditionStatus(one["status"]),
        one["reason"],
        one.get("message", ""),
        seconds(one.get("lastTransitionTime")),
        int(one.get("observedGeneration", 0)),
    )


def _one(plans: Sequence[Plan], vm: str) -> Plan:
    """Several plans as one, as far as they are about a machine or what it needs."""
    if not plans:
        return Plan("", (), ())
    first = plans[-1]
    changes = {change.vm: change for plan in plans for change in plan.changes if _about(change.vm, vm)}
    actions = {action.id: action for plan in plans for action in plan.actions if _about(action.vm, vm)}
    blocked = {entry.vm: entry for plan in plans for entry in plan.blocked if _about(entry.vm, vm)}
    return Plan(
        first.revision,
        tuple(changes.values()),
        tuple(actions.values()),
        tuple(blocked.values()),
        first.unchanged,
    )


def _about(key: str, vm: str) -> bool:
    return key == vm or not is_machine(key)


def _asked(request: Request) -> tuple[str, str, dict[str, Any] | None]:
    """Method, path and body of an act."""
    if request.vm.startswith("Volume/"):
        base = f"/volumes/{quote(request.vm.partition('/')[2], safe='')}"
    else:
        base = f"/virtualmachines/{quote(request.vm, safe='')}"
    one = f"{base}/snapshots/{quote(request.snapshot, safe='')}"
    if request.act is Act.SNAPSHOT:
        return "POST", f"{base}/snapshots", {"name": request.snapshot}
    if request.act is Act.RESTORE:
        return "POST", f"{one}/restore", None
    if request.act is Act.DELETE_SNAPSHOT:
        return "DELETE", one, None
    body = {"force": True} if request.force else None
    return "POST", f"{base}/{request.act}", body


def failed(results: Iterable[ActionResult]) -> bool:
    """True if an action failed."""
    return any(result.outcome is Outcome.FAILED for result in results)
