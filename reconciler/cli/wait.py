"""`reconciler apply --wait`: until what was changed is ready, and its playbooks were run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.engine import Engine, Look
from reconciler.model.placement import is_machine
from reconciler.model.plan import Plan, Verb
from reconciler.model.status import Condition, ConditionStatus
from reconciler.provisioning import RUNNING

_PAUSE = 1.0
_GONE = (Verb.DELETE, Verb.FORGET)
_PASSING = frozenset({"Waiting"})


@dataclass(frozen=True, slots=True)
class State:
    """How far a machine is: ready, on its way, or stuck."""

    word: str
    ready: bool
    moving: bool


def wait_until_ready(engine: Engine, plan: Plan, say: Callable[[str], None]) -> Mapping[str, str]:
    """Wait until machines are ready and provisioned, or will not be.

    Those that `plan` changed, and those that were on their way already.

    Args:
        engine: It looks at guests.
        plan: What was applied.
        say: Takes a line of progress.

    Returns:
        Why a machine is not ready, by machine; empty when all are.
    """
    names = {change.vm for change in plan.changes if change.verb not in _GONE and is_machine(change.vm)}
    told: dict[str, str] = {}
    while True:
        look = engine.reconcile_once(push=False).look
        busy = engine.provision(look)
        said = engine.conditions(look)
        names |= look.guests.waiting.keys() | _running(look)
        states = {name: state_of(said.get(name, ())) for name in sorted(names)}
        for name, state in states.items():
            if told.get(name) != state.word:
                told[name] = state.word
                say(f"  {name}: {state.word}")
        if not any(state.moving for state in states.values()) and not busy:
            return {name: state.word for name, state in states.items() if not state.ready}
        time.sleep(_PAUSE)


def _running(look: Look) -> set[str]:
    """Machines whose playbook is being run; the look's records are of the moment before it began."""
    return {record.vm for record in look.guests.provisions.values() if record.state == RUNNING}


def state_of(conditions: Sequence[Condition]) -> State:
    """What the conditions of a machine say of its readiness, and of its playbook."""
    by_type = {condition.type: condition for condition in conditions}
    ready, provisioned = by_type.get("Ready"), by_type.get("Provisioned")
    if ready is None:
        return State("nothing is known of it", ready=False, moving=False)
    if ready.status is not ConditionStatus.TRUE:
        return State(ready.message or ready.reason, ready=False, moving=ready.reason in _PASSING)
    if provisioned is None or provisioned.status is ConditionStatus.TRUE:
        return State("ready" if provisioned is None else "ready and provisioned", ready=True, moving=False)
    moving = provisioned.reason != "Failed" and provisioned.status is not ConditionStatus.FALSE
    moving = moving or provisioned.reason in _PASSING
    return State(provisioned.message, ready=False, moving=moving)
