"""Takes out of a plan what failed lately: it is shown as waiting instead of being tried at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from reconciler.model.plan import Action, Blocked, Plan
from reconciler.model.status import Retry
from reconciler.model.units import format_duration

HELD_BACK = frozenset({"Failed", "RetryLater"})
"""Reasons of what was taken out of a plan for an earlier failure."""


def hold(plan: Plan, retries: Mapping[str, Retry], wishes: Mapping[str, str], now: float) -> Plan:
    """The plan without machines whose next step is the one that failed.

    A machine is held only while its plan still has the action that failed: a guest that ignores its
    balloon must not keep a crashed machine from being started.

    Args:
        plan: As planned from the world alone.
        retries: Failures, by machine.
        wishes: Digest of what people now say of each machine in `retries`.
        now: Epoch seconds.
    """
    ids = {action.id for action in plan.actions}
    held = {
        vm: _waiting(retry, now)
        for vm, retry in retries.items()
        if retry.blocks(wishes.get(vm, ""), now) and (not retry.action or retry.action in ids)
    }
    acting = {action.vm for action in plan.actions}
    held = {vm: blocked for vm, blocked in held.items() if vm in acting}
    return leave_out(plan, held)


def leave_out(plan: Plan, held: Mapping[str, Blocked]) -> Plan:
    """The plan without these machines and whatever waits for them; they are told as blocked."""
    if not held:
        return plan
    return replace(
        plan,
        changes=tuple(change for change in plan.changes if change.vm not in held),
        actions=_without(plan.actions, held.keys()),
        blocked=tuple(sorted([*plan.blocked, *held.values()], key=lambda blocked: blocked.vm)),
    )


def _waiting(retry: Retry, now: float) -> Blocked:
    if retry.terminal:
        message = (
            f"{retry.message}. Not tried again until its manifest changes, or `reconciler retry {retry.vm}`"
        )
        return Blocked(retry.vm, "Failed", message)
    wait = format_duration(max(1, round(retry.not_before - now)))
    return Blocked(
        retry.vm,
        "RetryLater",
        f"attempt {retry.attempts} failed ({retry.message}); the next one is in {wait}",
    )


def _without(actions: tuple[Action, ...], held: Collection[str]) -> tuple[Action, ...]:
    """The actions of the others, and of the shared ones those that somebody still waits for."""
    kept = [action for action in actions if action.vm not in held]
    kept_ids = {action.id for action in kept}
    dropped = {action.id for action in actions} - kept_ids
    # A machine that waits for the room of one that is held waits with it.
    while True:
        stranded = {action.vm for action in kept if dropped & set(action.after)}
        if not stranded:
            break
        dropped |= {action.id for action in kept if action.vm in stranded}
        kept = [action for action in kept if action.vm not in stranded]
    needed = {after for action in kept for after in action.after}
    return tuple(action for action in kept if action.vm or action.id in needed)
