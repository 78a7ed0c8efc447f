"""When a plan stops whole: it would delete more than anybody is likely to mean."""

from __future__ import annotations

from reconciler.errors import LimitError
from reconciler.model.config import LimitsConfig
from reconciler.model.plan import Plan, Verb
from reconciler.planner.survey import Survey

_HINT = "look at the plan; if this is what you mean, repeat it with --allow-deletions"


def check_limits(plan: Plan, survey: Survey, limits: LimitsConfig, allow_deletions: bool = False) -> None:
    """Refuse a plan that deletes or replaces too many machines, or that comes from an empty source.

    Raises:
        LimitError: A limit stops the plan; nothing of it may be carried out.
    """
    desired = survey.situation.desired.machines
    going = [change.vm for change in plan.changes if change.verb in (Verb.DELETE, Verb.REPLACE)]
    if allow_deletions or (desired and not going):
        return
    ours = survey.ours
    if ours and not desired:
        raise LimitError(
            f"the desired state is empty, but {_machines(ours)} of ours exist: is the source the right one?",
            hint=_HINT,
        )
    limit = deletion_limit(ours, limits)
    if len(going) > limit:
        named = ", ".join(going[:5]) + (f" and {len(going) - 5} more" if len(going) > 5 else "")
        raise LimitError(
            f"the plan deletes or replaces {len(going)} of {_machines(ours)} ({named}), "
            f"and the limit is {limit} (limits: at most {limits.deletions}, "
            f"and at most {limits.deletions_percent} percent)",
            hint=_HINT,
        )


def deletion_limit(ours: int, limits: LimitsConfig) -> int:
    """How many machines one plan may delete: both limits hold, and the percentage is rounded up."""
    return min(limits.deletions, -(-ours * limits.deletions_percent // 100))


def _machines(count: int) -> str:
    return f"{count} machine" if count == 1 else f"{count} machines"
