"""From a decision about a machine to the actions that carry it out: make, change, remove."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.domain import Applied, DiskConfig, DomainConfig, ObservedDomain
from reconciler.model.host import Host, ObservedHost, Pool
from reconciler.model.manifest import RunStrategy
from reconciler.model.operations import (
    AttachDisk,
    AttachInterface,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDisk,
    DetachInterface,
    EnsureImage,
    GrowDisk,
    Redefine,
    SetAutostart,
    SetCpus,
    SetDescription,
    SetMemory,
    Start,
    Stop,
    Undefine,
)
from reconciler.model.placement import image_volume_name
from reconciler.model.plan import Impact
from reconciler.model.storage import DeletionPolicy
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.consent import Verdict
from reconciler.planner.devices import carries_uid
from reconciler.planner.difference import Difference
from reconciler.planner.names import ROOT
from reconciler.planner.resolve import volume_path, wanted_disks
from reconciler.planner.runstate import starts_new
from reconciler.planner.steps import Steps
from reconciler.planner.words import field_name


@dataclass(frozen=True, slots=True)
class Place:
    """A host with what it answered."""

    host: Host
    observed: ObservedHost

    def pool_with(self, path: str) -> Pool | None:
        """The active pool in whose folder a file lies directly."""
        volume = path.rpartition("/")[2]
        for name in sorted(self.observed.pools):
            pool = self.observed.pools[name]
            if pool.active and volume_path(pool, volume) == path:
                return pool
        return None


def create(
    steps: Steps, plan: Blueprint, applied: Applied, place: Place, *, after: Iterable[str], reason: str
) -> None:
    """Make a machine: image, volumes, domain, autostart, start.

    Args:
        steps: Where the actions go.
        plan: The machine.
        applied: What is pushed.
        place: Where.
        after: Ids of what must be done before.
        reason: Why, in a few words.
    """
    after = tuple(after)
    config = applied.config
    made = [disk for disk in config.disks or () if disk.name in _made_here(plan)]
    volumes = [name for disk in made for name in create_volume(steps, plan, disk, place, after=after)]
    defined = steps.add(Define(config, applied, plan.template), reason, after=(*after, *volumes))
    ready = [defined]
    if config.autostart:
        ready.append(steps.add(SetAutostart(True), "it starts with its host", after=[defined]))
    if starts_new(plan.vm.spec.run_strategy):
        steps.add(Start(), f"its run strategy is {plan.vm.spec.run_strategy}", after=ready)


def _made_here(plan: Blueprint) -> frozenset[str]:
    return frozenset(name for name, disk in wanted_disks(plan).items() if disk.path is None)


def create_volume(
    steps: Steps, plan: Blueprint, disk: DiskConfig, place: Place, *, after: Sequence[str] = ()
) -> list[str]:
    """Make a disk's volume, and bring its image before; nothing if the volume is there already."""
    pool = place.pool_with(disk.path)
    volume = disk.path.rpartition("/")[2]
    if pool is None or volume in pool.volumes:
        return []
    image = plan.image if disk.name == ROOT else None
    if image is None:
        blank = CreateVolume(pool.name, volume, disk.format, disk.size)
        return [steps.add(blank, f"disk {disk.name} is new", after=after, detail=disk.name or volume)]
    spec = image.spec
    backing = image_volume_name(image.name, spec.digest, spec.format)
    fetched = steps.share_image(
        EnsureImage(
            image=image.name,
            volume=backing,
            pool=pool.name,
            pool_path=pool.path,
            sha256=spec.sha256 or "",
            format=str(spec.format),
            path=spec.path,
            url=spec.url,
            sha512="" if spec.sha256 else spec.sha512 or "",
            from_pool=spec.volume.pool if spec.volume else None,
            from_volume=spec.volume.name if spec.volume else None,
        ),
        default_pool=pool.name == place.host.pool,
    )
    overlay = CreateVolume(pool.name, volume, disk.format, disk.size, backing, str(spec.format))
    reason = f"root disk over the image {image.name}"
    return [steps.add(overlay, reason, after=(*after, fetched), detail=disk.name or volume)]


def remove(steps: Steps, domain: ObservedDomain, mark: Applied, *, timeout: int, reason: str) -> str:
    """Remove a machine, and its disks if its mark says so. Returns the id of the last action.

    Volumes go before the domain does: if we die in between, the domain still says that they are to go.
    """
    last: list[str] = []
    if domain.state.active:
        last = [steps.add(Stop(timeout), reason, Impact.DESTROY)]
    if mark.deletion_policy == DeletionPolicy.DELETE:
        last += [
            steps.add(
                DeleteVolume(path),
                "its deletion policy is Delete",
                Impact.DESTROY,
                after=last[:1] if domain.state.active else (),
                detail=path.rpartition("/")[2],
            )
            for path in own_volumes(domain, mark)
        ]
    return steps.add(Undefine(), reason, Impact.DESTROY, after=last)


def own_volumes(domain: ObservedDomain, mark: Applied) -> list[str]:
    """Paths of the disks that the domain has and that we made for this very machine."""
    configs = [config for config in (domain.config, domain.live, mark.config) if config is not None]
    paths = {disk.path for config in configs for disk in config.disks or ()}
    return sorted(path for path in paths if carries_uid(path, mark.uid))


@dataclass(frozen=True, slots=True)
class Update:
    """What an update has to work with.

    Attributes:
        plan: The machine.
        applied: What is pushed.
        domain: Its domain.
        verdict: What may be done now.
        renew: The mark has to be written even if nothing else in the configuration has.
        place: Where.
    """

    plan: Blueprint
    applied: Applied
    domain: ObservedDomain
    verdict: Verdict
    renew: bool
    place: Place

    @property
    def config(self) -> DomainConfig:
        """What is pushed."""
        return self.applied.config


def update(steps: Steps, work: Update) -> None:
    """Change a machine: disks' files, the persistent configuration, then the running instance."""
    before = [*_grow(steps, work), *_new_volumes(steps, work)]
    ready = [*before, *_redefine(steps, work, before)]
    ready += _autostart(steps, work, ready)
    if work.verdict.restart:
        stopped = steps.add(_stop(work), "a change needs a restart", Impact.RESTART, after=ready)
        steps.add(Start(), "a change needs a restart", Impact.RESTART, after=[stopped])
        return
    live = [d for d in work.verdict.now if d.live and d.change.impact is Impact.LIVE]
    _run_state(steps, work, [*ready, *_live(steps, work, live, ready)])


def _stop(work: Update) -> Stop:
    return Stop(work.plan.vm.spec.stop_timeout)


def _grow(steps: Steps, work: Update) -> list[str]:
    disks = {disk.target: disk for disk in work.config.disks or ()}
    return [
        steps.add(
            GrowDisk(difference.device, disks[difference.device].path, difference.change.after),
            "it is larger in the manifest",
            difference.change.impact,
            detail=difference.device,
        )
        for difference in work.verdict.now
        if difference.change.path.endswith("].size")
    ]


def _new_volumes(steps: Steps, work: Update) -> list[str]:
    """Files for disks that the domain does not have yet."""
    added = {
        d.device for d in work.verdict.now + work.verdict.later if isinstance(d.change.after, DiskConfig)
    }
    made = _made_here(work.plan)
    fresh = [disk for disk in work.config.disks or () if disk.target in added and disk.name in made]
    return [name for disk in fresh for name in create_volume(steps, work.plan, disk, work.place)]


def _redefine(steps: Steps, work: Update, after: Sequence[str]) -> list[str]:
    """Write the persistent configuration; also what waits for a restart, so that any restart applies it."""
    if not work.domain.persistent:
        define = Define(work.config, work.applied, work.plan.template)
        return [steps.add(define, "it was undefined while it runs", after=after)]
    waiting = [d for d in work.verdict.later if d.change.impact is not Impact.REPLACE and not d.reported]
    fields = tuple(d.change.path for d in (*work.verdict.now, *waiting) if d.persistent)
    if not fields and not work.renew:
        return []
    reason = f"changed: {', '.join(field_name(path) for path in fields)}" if fields else "the mark is renewed"
    redefine = Redefine(work.config, work.applied, fields or ("metadata",), work.plan.template)
    return [steps.add(redefine, reason, after=after)]


def _autostart(steps: Steps, work: Update, after: Sequence[str]) -> list[str]:
    differs = any(d.change.path == "autostart" for d in work.verdict.now)
    if not differs:
        return []
    return [steps.add(SetAutostart(bool(work.config.autostart)), "autostart differs", after=after)]


def _live(steps: Steps, work: Update, live: Sequence[Difference], after: Sequence[str]) -> list[str]:
    """Change the running instance. Whatever is detached goes first: a newcomer may need its place."""
    names = {d.change.path: d for d in live}
    done = []
    if "cpus" in names:
        done.append(steps.add(SetCpus(work.config.cpus or 1), "cpus differ", Impact.LIVE, after=after))
    if "memory" in names:
        done.append(steps.add(SetMemory(work.config.memory or 0), "memory differs", Impact.LIVE, after=after))
    if "description" in names:
        text = SetDescription(work.config.description or "")
        done.append(steps.add(text, "the description differs", Impact.LIVE, after=after))
    return [*done, *_live_disks(steps, work, live, after), *_live_interfaces(steps, work, live, after)]


def _live_disks(steps: Steps, work: Update, live: Sequence[Difference], after: Sequence[str]) -> list[str]:
    devices = _devices(live, "disks[")
    has = {disk.target for disk in (work.domain.live.disks if work.domain.live else None) or ()}
    wants = {disk.target: disk for disk in work.config.disks or ()}
    gone = [
        steps.add(DetachDisk(target), "a disk goes, its file stays", Impact.LIVE, after=after, detail=target)
        for target in devices
        if target in has
    ]
    come = [
        steps.add(
            AttachDisk(wants[target]), "a disk comes", Impact.LIVE, after=[*after, *gone], detail=target
        )
        for target in devices
        if target in wants
    ]
    return gone + come


def _live_interfaces(
    steps: Steps, work: Update, live: Sequence[Difference], after: Sequence[str]
) -> list[str]:
    devices = _devices(live, "interfaces[")
    has = {i.mac for i in (work.domain.live.interfaces if work.domain.live else None) or ()}
    wants = {i.mac: i for i in work.config.interfaces or ()}
    gone = [
        steps.add(DetachInterface(mac), "an interface goes", Impact.LIVE, after=after, detail=mac)
        for mac in devices
        if mac in has
    ]
    come = [
        steps.add(
            AttachInterface(wants[mac]), "an interface comes", Impact.LIVE, after=[*after, *gone], detail=mac
        )
        for mac in devices
        if mac in wants
    ]
    return gone + come


def _devices(live: Sequence[Difference], prefix: str) -> list[str]:
    """Targets or MACs that the differences are about, each once; a growing disk stays plugged in."""
    chosen = [d for d in live if d.change.path.startswith(prefix) and not d.change.path.endswith("].size")]
    return list(dict.fromkeys(d.device for d in chosen))


def _run_state(steps: Steps, work: Update, after: Sequence[str]) -> None:
    state = next((d.change for d in work.verdict.now if d.change.path == "state"), None)
    if state is None:
        return
    strategy = work.plan.vm.spec.run_strategy
    if strategy is RunStrategy.HALTED:
        steps.add(_stop(work), "its run strategy is Halted", Impact.RESTART, after=after)
    else:
        steps.add(
            Start(), f"it is {state.before} and its run strategy is {strategy}", Impact.LIVE, after=after
        )
