"""A machine's cloud-init seed in the plan: where it lies, how it differs, and what is done about that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.model.domain import Applied, DomainConfig, ObservedDomain, SeedConfig
from reconciler.model.host import Host, ObservedHost, Pool
from reconciler.model.operations import PutSeed
from reconciler.model.placement import seed_name
from reconciler.model.plan import FieldChange, Impact
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.difference import Difference
from reconciler.planner.ignore import ignored
from reconciler.planner.seed_files import files_digest, seed_files
from reconciler.planner.steps import Steps
from reconciler.planner.unresolved import CannotResolveError

_FIELD = "seed"
PLACE, CONTENT, LEFTOVER = _FIELD, f"{_FIELD}.content", f"{_FIELD}.file"
"""Paths of the differences: the CD-ROM, what is on it, and its file when nobody wants it any more."""

_PREFIXES = {"scsi": "sd", "sata": "sd", "ide": "hd"}
_WITHOUT_FILES = frozenset({"rbd", "gluster", "sheepdog", "iscsi", "iscsi-direct", "scsi", "mpath"})


def with_seed(
    config: DomainConfig, plan: Blueprint, host: Host, observed: ObservedHost, previous: DomainConfig | None
) -> DomainConfig:
    """The configuration with its seed, if the machine has one.

    Args:
        config: Everything else, settled.
        plan: The machine.
        host: For its default pool.
        observed: For its pools.
        previous: What was last pushed: a seed stays where it is.

    Raises:
        CannotResolveError: No pool can hold it, or the domain can have no CD-ROM.
    """
    wish = plan.vm.spec.cloud_init
    if wish is None or (previous and _FIELD in ignored(plan.vm.spec.ignore)):
        return config
    if config.virt_type == "lxc":
        raise CannotResolveError(
            "Unsupported", "a container has no CD-ROM: take cloudInit out of its manifest"
        )
    old = previous.seed if previous else None
    bus = wish.bus or (old.bus if old else _bus(config.machine))
    target = old.target if old and _PREFIXES[bus] == old.target[:2] else _target(bus, config)
    path = old.path if old else _path(plan, config.uuid, host, observed)
    digest = files_digest(seed_files(wish, config, plan.networks))
    return replace(config, seed=SeedConfig(target, bus, path, digest))


def _bus(machine: str | None) -> str:
    """Debian's cloud kernels know no AHCI: on a PCI Express machine that leaves SCSI."""
    return "ide" if machine is not None and (machine == "pc" or machine.startswith("pc-i440fx")) else "scsi"


def _target(bus: str, config: DomainConfig) -> str:
    prefix = _PREFIXES[bus]
    return next(
        name
        for name in (prefix + letter for letter in "abcdefghijklmnopqrstuvwxyz")
        if name not in config.targets
    )


def _path(plan: Blueprint, uid: str, host: Host, observed: ObservedHost) -> str:
    name = seed_name(plan.name, uid)
    root = plan.vm.spec.root_disk
    wishes = list(dict.fromkeys([root.pool if root and root.pool else host.pool, host.pool]))
    for wish in wishes:
        pool = observed.pools.get(wish)
        if pool is not None and pool.active and pool.path and pool.type not in _WITHOUT_FILES:
            return _in(pool, name)
    tried = " nor ".join(repr(wish) for wish in wishes)
    message = f"neither the pool {tried} on {host.name} is active and can hold the file of a cloud-init seed"
    raise CannotResolveError("PoolMissing", message)


def _in(pool: Pool, volume: str) -> str:
    return f"{pool.path.rstrip('/')}/{volume}"


def differences(
    wanted: DomainConfig, domain: ObservedDomain, mark: Applied, observed: ObservedHost
) -> Iterable[Difference]:
    """Differences of the seed: the device, its content, and a file that is left of it.

    A CD-ROM cannot be hot plugged; its content can be written at any time, and counts at the next boot.
    """
    yield from _device(wanted.seed, domain, mark)
    lost = wanted.seed is not None and not _is_there(wanted.seed.path, observed)
    old = mark.config.seed
    if wanted.seed is not None and (lost or old is None or old.digest != wanted.seed.digest):
        before = None if lost or old is None else old.digest
        drift = lost and old is not None and old.digest == wanted.seed.digest
        change = FieldChange(CONTENT, before, wanted.seed.digest, Impact.NONE, drift)
        yield Difference(change, _FIELD)
    unused = wanted.seed is None and (domain.live is None or domain.live.seed is None)
    for path in _files(mark, observed) if unused else ():
        yield Difference(FieldChange(LEFTOVER, path, None, Impact.NONE), _FIELD)


def _device(wanted: SeedConfig | None, domain: ObservedDomain, mark: Applied) -> Iterable[Difference]:
    kept, running = domain.config.seed, domain.live.seed if domain.live else None
    stale = _place(kept) != _place(wanted)
    hot = domain.live is not None and _place(running) != _place(wanted)
    if not stale and not hot:
        return
    impact = Impact.RESTART if hot else Impact.NONE
    started = domain.applied_live.config.seed if domain.applied_live else wanted
    # A running guest that was never told has not drifted: it waits.
    told = stale or _place(started) == _place(wanted)
    drift = _place(mark.config.seed) == _place(wanted) and told
    before = running if hot else kept
    change = FieldChange(PLACE, before, wanted, impact, drift)
    yield Difference(change, _FIELD, persistent=stale, live=hot)


def _place(seed: SeedConfig | None) -> tuple[str, str, str] | None:
    return (seed.target, seed.bus, seed.path) if seed else None


def _is_there(path: str, observed: ObservedHost) -> bool:
    """False if a pool that would hold the file says that it does not; nothing is known of other places."""
    folder, _, name = path.rpartition("/")
    holding = [pool for pool in observed.pools.values() if pool.active and pool.path.rstrip("/") == folder]
    return not holding or any(name in pool.volumes for pool in holding)


def _files(mark: Applied, observed: ObservedHost) -> list[str]:
    """Paths of seeds that were made for this very machine and are still there."""
    name = seed_name(mark.name, mark.uid)
    pools = [pool for pool in observed.pools.values() if pool.active and name in pool.volumes]
    return sorted({_in(pool, name) for pool in pools})


def seeds_of(mark: Applied, domain: ObservedDomain, observed: ObservedHost | None) -> list[str]:
    """Paths of the seeds that go with a machine, whatever its deletion policy says: they may hold secrets."""
    configs = [config for config in (domain.config, domain.live, mark.config) if config is not None]
    named = {config.seed.path for config in configs if config.seed is not None}
    return sorted(named.union(_files(mark, observed) if observed else ()))


def put_seed(
    steps: Steps, plan: Blueprint, config: DomainConfig, pools: Iterable[Pool], after: Sequence[str] = ()
) -> list[str]:
    """Write the ISO; nothing for a machine without one. Returns the action's id."""
    wish, seed = plan.vm.spec.cloud_init, config.seed
    if wish is None or seed is None:
        return []
    folder, _, volume = seed.path.rpartition("/")
    pool = next((pool for pool in pools if pool.active and pool.path.rstrip("/") == folder), None)
    if pool is None:
        return []
    files = seed_files(wish, config, plan.networks)
    operation = PutSeed(pool.name, volume, files_digest(files), files)
    return [steps.add(operation, "what cloud-init reads at the first boot", after=after)]
