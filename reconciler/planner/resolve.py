"""Desired state into a `DomainConfig`: every choice that the user left open is made or left open here.

A machine that exists keeps what was chosen for it once: its MACs, its disks' targets and paths, its type of
virtualisation.  `previous`, the applied configuration, carries those choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model.domain import DiskConfig, DomainConfig, InterfaceConfig
from reconciler.model.host import Host, ObservedHost, Pool
from reconciler.model.identity import derived_mac, interface_name
from reconciler.model.manifest import RootDisk
from reconciler.model.placement import volume_name
from reconciler.planner.blueprint import Blueprint, digest
from reconciler.planner.ignore import keep_ignored
from reconciler.planner.names import ROOT

_PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
_BEST_FIRST = ("kvm", "qemu", "lxc", "test")


class CannotResolveError(Exception):
    """A machine cannot become a domain on this host; becomes a `Blocked`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def domain_config(
    plan: Blueprint,
    uid: str,
    host: Host,
    observed: ObservedHost,
    previous: DomainConfig | None = None,
    taken: Iterable[str] = (),
) -> DomainConfig:
    """What the domain shall be on this host.

    Args:
        plan: The machine and what it names.
        uid: The machine's uid, which becomes the domain's UUID.
        host: For its inventory settings.
        observed: For its pools and what it can virtualise.
        previous: What was last pushed, or None for a new domain.
        taken: Disk targets that devices of others occupy.

    Raises:
        CannotResolveError: A storage pool is missing.
    """
    spec = plan.vm.spec
    sizes = plan.sizes
    config = DomainConfig(
        name=plan.name,
        uuid=uid,
        virt_type=(previous.virt_type if previous else None) or _virt_type(host, observed),
        arch=plan.arch,
        machine=plan.machine,
        firmware=plan.firmware,
        cpus=sizes.cpus,
        max_cpus=sizes.max_cpus,
        memory=sizes.memory,
        max_memory=sizes.max_memory,
        disks=_Disks(plan, uid, host, observed, previous, frozenset(taken)).resolve(),
        interfaces=_interfaces(plan, previous),
        console=str(spec.console) if spec.console else None,
        description=spec.description,
        autostart=spec.autostart,
        template=digest(plan.template_text) if plan.template_text is not None else None,
    )
    return keep_ignored(config, previous, spec.ignore) if previous else config


def _virt_type(host: Host, observed: ObservedHost) -> str:
    if host.virt_type:
        return host.virt_type
    return next((kind for kind in _BEST_FIRST if kind in observed.virt_types), "qemu")


def _interfaces(plan: Blueprint, previous: DomainConfig | None) -> tuple[InterfaceConfig, ...]:
    kept = {i.name: i.mac for i in (previous.interfaces or ()) if i.name} if previous else {}
    resolved = []
    for index, interface in enumerate(plan.vm.spec.interfaces):
        name = interface_name(interface, index)
        mac = interface.mac or kept.get(name) or derived_mac(plan.name, name)
        resolved.append(InterfaceConfig(mac, interface.network, interface.bridge, interface.model, name))
    return tuple(resolved)


def wanted_disks(plan: Blueprint) -> Mapping[str, RootDisk]:
    """The machine's disks by name, the root disk first, with its effective size."""
    disks: dict[str, RootDisk] = {}
    if plan.has_root:
        root = plan.vm.spec.root_disk or RootDisk()
        size = plan.sizes.root
        disks[ROOT] = root if root.size == size else root.model_copy(update={"size": size})
    return disks | {disk.name: disk for disk in plan.vm.spec.disks}


def pool_of(disk: RootDisk, host: Host) -> str:
    """The pool that a disk of ours goes to."""
    return disk.pool or host.pool


def find_volume(observed: ObservedHost, volume: str) -> Pool | None:
    """The active pool that holds a volume of this name, or None."""
    for name in sorted(observed.pools):
        pool = observed.pools[name]
        if pool.active and volume in pool.volumes:
            return pool
    return None


@dataclass(frozen=True, slots=True)
class _Disks:
    """Chooses targets and paths."""

    plan: Blueprint
    uid: str
    host: Host
    observed: ObservedHost
    previous: DomainConfig | None
    taken: frozenset[str]

    def resolve(self) -> tuple[DiskConfig, ...]:
        """The disks, ordered by target."""
        old = {d.name: d for d in (self.previous.disks or ()) if d.name} if self.previous else {}
        wanted = wanted_disks(self.plan)
        targets = self._targets(wanted, old)
        disks = [
            DiskConfig(
                target=targets[name],
                bus=str(disk.bus),
                path=self._path(name, disk, old.get(name)),
                format=str(disk.format),
                size=disk.size,
                name=name,
            )
            for name, disk in wanted.items()
        ]
        return tuple(sorted(disks, key=lambda disk: (len(disk.target), disk.target)))

    def _targets(self, wanted: Mapping[str, RootDisk], old: Mapping[str, DiskConfig]) -> dict[str, str]:
        """Disks that exist stay where they are; the others get the lowest letter that no bus uses."""
        targets = {
            name: old[name].target
            for name, disk in wanted.items()
            if name in old and (name == ROOT or _prefix(old[name].bus) == _prefix(disk.bus))
        }
        # Also what is about to be detached keeps its letter from newcomers of the same plan.
        busy = {
            _letters(target) for target in [*targets.values(), *self.taken, *(d.target for d in old.values())]
        }
        for name, disk in wanted.items():
            if name not in targets:
                letters = next(letter for letter in _alphabet() if letter not in busy)
                busy.add(letters)
                targets[name] = _prefix(str(disk.bus)) + letters
        return targets

    def _path(self, name: str, disk: RootDisk, old: DiskConfig | None) -> str:
        if disk.path is not None:
            return disk.path
        # Without a pool in the manifest the disk lies wherever it was put: the host's default may change.
        if old is not None and (disk.pool is None or not self._active(disk.pool)):
            return old.path
        volume = volume_name(self.plan.name, self.uid, name, str(disk.format))
        pool = find_volume(self.observed, volume) if self.previous is None else None
        return volume_path(pool or self._pool(disk), volume)

    def _active(self, pool: str) -> bool:
        return pool in self.observed.pools and self.observed.pools[pool].active

    def _pool(self, disk: RootDisk) -> Pool:
        name = pool_of(disk, self.host)
        if not self._active(name):
            state = "is not active" if name in self.observed.pools else "does not exist"
            raise CannotResolveError("PoolMissing", f"the storage pool {name!r} {state} on {self.host.name}")
        return self.observed.pools[name]


def volume_path(pool: Pool, volume: str) -> str:
    """Absolute path of a volume in a pool."""
    return f"{pool.path.rstrip('/')}/{volume}"


def _prefix(bus: str) -> str:
    return _PREFIXES.get(bus, "vd")


def _letters(target: str) -> str:
    return target[2:]


def _alphabet() -> Iterable[str]:
    """``a`` to ``z``, then ``aa`` to ``zz``."""
    single = "abcdefghijklmnopqrstuvwxyz"
    yield from single
    for first in single:
        for second in single:
            yield first + second
