"""Actions on the hardware of a running machine."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.domain import DomainConfig
from reconciler.model.operations import (
    AttachHostDevice,
    ChangeMedia,
    DetachHostDevice,
    PinCpus,
    SetLimits,
)
from reconciler.model.parts import IoLimits
from reconciler.model.plan import Impact
from reconciler.planner.difference import Difference
from reconciler.planner.steps import Steps

LIMITS = "].limits"
"""How the path of a difference of a disk's limits ends."""


def live_hardware(
    steps: Steps,
    wanted: DomainConfig,
    running: DomainConfig,
    live: Sequence[Difference],
    after: Sequence[str],
) -> list[str]:
    """Pin cpus, change media, move devices of the host and limit disks. Returns the ids of the actions.

    Args:
        steps: Where the actions go.
        wanted: What the domain shall be.
        running: What it runs with.
        live: Differences that are removed while it runs.
        after: Ids of what must be done before.
    """
    paths = {difference.change.path for difference in live}
    done = []
    if "pinning" in paths:
        pin = PinCpus(wanted.pinning or (), wanted.cpus or 1)
        done.append(steps.add(pin, "the pinning differs", Impact.LIVE, after=after))
    if "cdroms" in paths:
        done += _media(steps, wanted, running, after)
    if "host_devices" in paths:
        done += _host_devices(steps, wanted, running, after)
    return done + _limits(steps, wanted, live, after)


def _media(steps: Steps, wanted: DomainConfig, running: DomainConfig, after: Sequence[str]) -> list[str]:
    inside = {drive.target: drive.path for drive in running.cdroms or ()}
    return [
        steps.add(
            ChangeMedia(drive), "another medium is wanted", Impact.LIVE, after=after, detail=drive.target
        )
        for drive in wanted.cdroms or ()
        if inside.get(drive.target) != drive.path
    ]


def _host_devices(
    steps: Steps, wanted: DomainConfig, running: DomainConfig, after: Sequence[str]
) -> list[str]:
    has, wants = running.host_devices or (), wanted.host_devices or ()
    gone = [
        steps.add(DetachHostDevice(key), "it goes back to the host", Impact.LIVE, after=after, detail=key)
        for key in has
        if key not in wants
    ]
    come = [
        steps.add(
            AttachHostDevice(key), "it comes from the host", Impact.LIVE, after=[*after, *gone], detail=key
        )
        for key in wants
        if key not in has
    ]
    return gone + come


def _limits(
    steps: Steps, wanted: DomainConfig, live: Sequence[Difference], after: Sequence[str]
) -> list[str]:
    disks = {disk.target: disk for disk in wanted.disks or ()}
    targets = [
        d.device for d in live if d.change.path.startswith("disks[") and d.change.path.endswith(LIMITS)
    ]
    return [
        steps.add(
            SetLimits(target, disks[target].limits or IoLimits()),
            "its limits differ",
            Impact.LIVE,
            after=after,
            detail=target,
        )
        for target in targets
        if target in disks
    ]
