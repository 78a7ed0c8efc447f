"""Which differences may be removed now, and which wait for consent: `updatePolicy` against impact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reconciler.model.domain import DiskConfig, DomainConfig
from reconciler.model.manifest import RunStrategy, UpdatePolicy, VirtualMachineSpec
from reconciler.model.plan import FieldChange, Impact
from reconciler.planner.difference import Difference

_WEAKEST_FIRST = list(Impact)


def strongest(impacts: Iterable[Impact]) -> Impact:
    """The strongest of them; none of none."""
    return max(impacts, key=_WEAKEST_FIRST.index, default=Impact.NONE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the manifest consents to.

    Attributes:
        now: Differences that are removed now.
        later: Differences that wait for consent or for anybody's restart, and those that are only shown.
        restart: The machine is stopped and started.
        replace: The machine is removed and made anew.
    """

    now: tuple[Difference, ...]
    later: tuple[Difference, ...]
    restart: bool = False
    replace: bool = False

    @property
    def fields(self) -> tuple[FieldChange, ...]:
        """For `Change.fields`."""
        return tuple(difference.change for difference in self.now)

    @property
    def deferred(self) -> tuple[FieldChange, ...]:
        """For `Change.deferred`."""
        return tuple(difference.change for difference in self.later)


def judge(differences: Iterable[Difference], spec: VirtualMachineSpec) -> Verdict:
    """Divide the differences by what `spec` allows."""
    differences = tuple(differences)
    may_replace = spec.update_policy is UpdatePolicy.REPLACE
    # A machine that goes down anyway needs nobody's word for a restart.
    stops = any(
        d.change.path == "state" and not d.reported and spec.run_strategy is RunStrategy.HALTED
        for d in differences
    )
    may_restart = spec.update_policy is not UpdatePolicy.LIVE or stops
    impacts = {d.change.impact for d in differences if not d.reported and d.change.path != "state"}
    if Impact.REPLACE in impacts and may_replace:
        shown = tuple(d for d in differences if d.reported)
        return Verdict(tuple(d for d in differences if not d.reported), shown, replace=True)
    now: list[Difference] = []
    later: list[Difference] = []
    for difference in differences:
        impact = difference.change.impact
        waits = (
            difference.reported
            or impact is Impact.REPLACE
            or (impact is Impact.RESTART and not may_restart and difference.change.path != "state")
        )
        (later if waits else now).append(difference)
    return Verdict(tuple(now), tuple(later), restart=Impact.RESTART in impacts and may_restart and not stops)


def without_replacement(wanted: DomainConfig, applied: DomainConfig, verdict: Verdict) -> DomainConfig:
    """What is pushed while a replacement waits: `wanted`, with the applied value where only that would do."""
    waiting = [d for d in verdict.later if d.change.impact is Impact.REPLACE]
    if any(d.change.path == "arch" for d in waiting):
        wanted = replace(wanted, arch=applied.arch)
    targets = {d.device for d in waiting if d.device}
    if not targets:
        return wanted
    old: dict[str, DiskConfig] = {disk.target: disk for disk in applied.disks or ()}
    new = {disk.target: disk for disk in wanted.disks or ()}
    for target in targets:
        new[target] = old[target]
    return replace(
        wanted, disks=tuple(sorted(new.values(), key=lambda disk: (len(disk.target), disk.target)))
    )
