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
    GrowDisk,
    Redefine,
    ReleaseAddress,
    ReserveAddress,
    SetAutostart,
    SetCpus,
    SetDescription,
    SetMemory,
    Start,
    Stop,
    Undefine,
)
from reconciler.model.placement import SEED
from reconciler.model.plan import Impact
from reconciler.model.storage import DeletionPolicy
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.clone import half_copied
from reconciler.planner.consent import Verdict
from reconciler.planner.devices import carries_uid
from reconciler.planner.difference import Difference
from reconciler.planner.guest import CONTENT, LEFTOVER, put_seed
from reconciler.planner.live_hardware import LIMITS, live_hardware
from reconciler.planner.names import ROOT
from reconciler.planner.networks import is_ours, network_uuid, reservations
from reconciler.planner.resolve import volume_path, wanted_disks
from reconciler.planner.runstate import starts_new
from reconciler.planner.steps import Steps, ensure_image
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
    volumes += put_seed(steps, plan, config, place.observed.pools.values(), after)
    defined = steps.add(Define(config, applied, plan.template), reason, after=(*after, *volumes))
    ready = [defined, *_reserve(steps, plan, applied, place, defined)]
    if config.autostart:
        ready.append(steps.add(SetAutostart(True), "it starts with its host", after=[defined]))
    if starts_new(plan.vm.spec.run_strategy):
        steps.add(Start(), f"its run strategy is {plan.vm.spec.run_strategy}", after=ready)


def _reserve(steps: Steps, plan: Blueprint, applied: Applied, place: Place, defined: str) -> list[str]:
    """Have the networks of the host keep the machine's addresses for it, before it first asks."""
    host = place.host.name
    return [
        steps.add(
            ReserveAddress(network, network_uuid(applied.owner, network, host), reservation),
            f"{reservation.address} is its address on {network}",
            after=[defined],
            detail=reservation.mac,
        )
        for network, reservation in reservations(plan.name, applied.config.interfaces or (), plan.networks)
    ]


def release(steps: Steps, mark: Applied, observed: ObservedHost, after: str) -> None:
    """Give a machine's addresses back to the networks of ours that reserve them, once it is gone."""
    for interface in mark.config.interfaces or ():
        network = observed.network_configs.get(interface.network or "")
        if interface.address is None or network is None or not is_ours(network, mark.owner, observed.name):
            continue
        entries = {entry for side in (network.config, network.live) if side for entry in side.hosts}
        if any((entry.mac, entry.address) == (interface.mac, interface.address) for entry in entries):
            steps.add(
                ReleaseAddress(network.name, network.uuid, interface.mac, interface.address),
                f"{interface.address} is free again",
                after=[after],
                detail=interface.mac,
            )


def _made_here(plan: Blueprint) -> frozenset[str]:
    volumes = {one.disk for one in plan.volumes}
    disks = wanted_disks(plan).items()
    return frozenset(name for name, disk in disks if disk.path is None and name not in volumes)


def create_volume(
    steps: Steps, plan: Blueprint, disk: DiskConfig, place: Place, *, after: Sequence[str] = ()
) -> list[str]:
    """Make a disk's volume, and bring its image before; nothing if the volume is there already."""
    pool = place.pool_with(disk.path)
    volume = disk.path.rpartition("/")[2]
    if pool is None or (volume in pool.volumes and half_copied(steps.uid, volume) not in pool.volumes):
        return []
    source = plan.copies.get(disk.name or "")
    if source is not None:
        return _copy(steps, disk, source, place, after)
    image = plan.image if disk.name == ROOT else None
    if image is None:
        blank = CreateVolume(pool.name, volume, disk.format, disk.size)
        return [steps.add(blank, f"disk {disk.name} is new", after=after, detail=disk.name or volume)]
    bring = ensure_image(image, pool)
    fetched = steps.share_image(bring, default_pool=pool.name == place.host.pool)
    overlay = CreateVolume(pool.name, volume, disk.format, disk.size, bring.volume, bring.format)
    reason = f"root disk over the image {image.name}"
    return [steps.add(overlay, reason, after=(*after, fetched), detail=disk.name or volume)]


def _copy(
    steps: Steps, disk: DiskConfig, source: DiskConfig, place: Place, after: Sequence[str]
) -> list[str]:
    """Make a disk that begins as a copy of another machine's, which is off."""
    pool, theirs = place.pool_with(disk.path), place.pool_with(source.path)
    if pool is None or theirs is None:
        return []
    volume, origin = (path.rpartition("/")[2] for path in (disk.path, source.path))
    copied = CreateVolume(pool.name, volume, disk.format, disk.size, source=origin, source_pool=theirs.name)
    reason = f"disk {disk.name} begins as a copy of {origin}"
    return [steps.add(copied, reason, after=after, detail=disk.name or volume)]


def remove(
    steps: Steps,
    domain: ObservedDomain,
    mark: Applied,
    *,
    timeout: int,
    reason: str,
    seeds: Iterable[str] = (),
) -> str:
    """Remove a machine, and its disks if its mark says so. Returns the id of the last action.

    Volumes go before the domain does: if we die in between, the domain still says that they are to go.

    Args:
        steps: Where the actions go.
        domain: Its domain.
        mark: What was last pushed.
        timeout: Seconds that the guest gets to power off.
        reason: Why, in a few words.
        seeds: Paths of its cloud-init seeds, which go whatever the mark says: they may hold secrets.
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
    last += [
        steps.add(DeleteVolume(path), "a seed may hold secrets", Impact.DESTROY, after=last[:1], detail=SEED)
        for path in seeds
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
    before = [*_grow(steps, work), *_new_volumes(steps, work), *_seed(steps, work)]
    ready = [*before, *_redefine(steps, work, before)]
    ready += _autostart(steps, work, ready)
    _unused_seeds(steps, work, ready)
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


def _seed(steps: Steps, work: Update) -> list[str]:
    """What cloud-init shall read; also for a CD-ROM that comes with the next start only."""
    if all(difference.change.path != CONTENT for difference in work.verdict.now):
        return []
    return put_seed(steps, work.plan, work.config, work.place.observed.pools.values())


def _unused_seeds(steps: Steps, work: Update, after: Sequence[str]) -> None:
    for difference in work.verdict.now:
        if difference.change.path == LEFTOVER:
            delete = DeleteVolume(difference.change.before)
            steps.add(delete, "nothing reads it any more, and it may hold secrets", after=after, detail=SEED)


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
    done += [*_live_disks(steps, work, live, after), *_live_interfaces(steps, work, live, after)]
    running = work.domain.live or work.config
    return done + live_hardware(steps, work.config, running, live, [*after, *done])


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
    """Targets or MACs of what is plugged anew, each once; a disk that grows or is limited stays in."""
    stays = ("].size", LIMITS)
    chosen = [d for d in live if d.change.path.startswith(prefix) and not d.change.path.endswith(stays)]
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
