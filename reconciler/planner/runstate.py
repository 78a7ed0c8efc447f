"""Shall it run? The run strategy against the domain's state, as one more field: ``state``."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.domain import DomainState, ObservedDomain
from reconciler.model.manifest import RunStrategy
from reconciler.model.plan import FieldChange, Impact
from reconciler.planner.difference import Difference

RUNNING, STOPPED = "running", "shut off"

# Why a domain may stand still although its guest did not finish: it, its emulator or its host died. "unknown"
# is what libvirt says after its host came back, and of a domain that was never started.
_FAILURES = frozenset({"crashed", "failed", "daemon", "unknown", ""})


def starts_new(strategy: RunStrategy) -> bool:
    """True if a machine of this strategy is started when it is made."""
    return strategy in (RunStrategy.ALWAYS, RunStrategy.RERUN_ON_FAILURE)


def state_difference(strategy: RunStrategy, domain: ObservedDomain) -> Iterable[Difference]:
    """At most one difference: it runs and shall not, or shall and does not."""
    target = _target(strategy, domain)
    if target is None:
        return
    # Someone paused it, or the host did for want of disk space: to go on is not ours to decide.
    stuck = target == RUNNING and domain.state.active
    impact = Impact.NONE if stuck else Impact.LIVE if target == RUNNING else Impact.RESTART
    change = FieldChange(
        "state", before=str(domain.state), after=target, impact=impact, drift=target == RUNNING
    )
    yield Difference(change, covers="state", live=not stuck, reported=stuck)


def _target(strategy: RunStrategy, domain: ObservedDomain) -> str | None:
    """The state to go to; None if it is there, on its way, or left to people."""
    state = domain.state
    if state is DomainState.SHUTTING_DOWN or strategy is RunStrategy.MANUAL:
        return None
    if strategy is RunStrategy.HALTED:
        return STOPPED if state.active else None
    if state is DomainState.RUNNING:
        return None
    if state.active or strategy is RunStrategy.ALWAYS:
        return RUNNING
    failed = state is DomainState.CRASHED or domain.state_reason in _FAILURES
    return RUNNING if failed else None
