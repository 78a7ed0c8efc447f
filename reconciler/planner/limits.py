"""When a plan stops whole: it would delete more than anybody is likely to mean."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import LimitError
from reconciler.model.config import LimitsConfig
from reconciler.model.placement import is_machine, parse_key
from reconciler.model.plan import Plan, Verb
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import volume_uid

_HINT = "look at the plan; if this is what you mean, repeat it with --allow-deletions"


def check_limits(plan: Plan, survey: Survey, limits: LimitsConfig, allow_deletions: bool = False) -> None:
    """Refuse a plan that deletes or replaces too much, or that comes from an empty source.

    Machines and volumes are counted each by themselves; what a pool deletes because it works so (a machine
    that came back, or failed), and what somebody asked to be deleted by its name, is not counted.  The others
    are no data: a version of an image can be fetched again, and what lies in a pool stays.

    Raises:
        LimitError: A limit stops the plan; nothing of it may be carried out.
    """
    desired = survey.situation.desired.machines
    asked = survey.situation.asked
    deleted = [
        change.vm
        for change in plan.changes
        if change.verb in (Verb.DELETE, Verb.REPLACE) and change.vm not in asked
    ]
    if not allow_deletions:
        _check_volumes([key for key in deleted if parse_key(key)[0] == "Volume"], survey, limits)
    going = [key for key in deleted if is_machine(key)]
    if allow_deletions or ((desired or survey.situation.desired.machine_pools or asked) and not going):
        return
    ours = survey.ours
    if ours and not desired and not survey.situation.desired.machine_pools:
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


def _check_volumes(going: Sequence[str], survey: Survey, limits: LimitsConfig) -> None:
    situation = survey.situation
    if not going:
        return
    ours = sum(
        uid == volume_uid(situation.owner, homes[0].volume) for uid, homes in survey.index.homes.items()
    )
    if not situation.desired.machines and not situation.desired.volumes:
        raise LimitError(
            f"the desired state has neither machines nor volumes, but {len(going)} would be deleted: is the "
            "source the right one?",
            hint=_HINT,
        )
    limit = deletion_limit(ours, limits)
    if len(going) > limit:
        named = ", ".join(going[:5]) + (f" and {len(going) - 5} more" if len(going) > 5 else "")
        raise LimitError(
            f"the plan deletes {len(going)} of {ours} volumes with their data ({named}), and the limit is "
            f"{limit} (limits: at most {limits.deletions}, and at most {limits.deletions_percent} percent)",
            hint=_HINT,
        )


def deletion_limit(ours: int, limits: LimitsConfig) -> int:
    """How many machines one plan may delete: both limits hold, and the percentage is rounded up."""
    return min(limits.deletions, -(-ours * limits.deletions_percent // 100))


def _machines(count: int) -> str:
    return f"{count} machine" if count == 1 else f"{count} machines"
