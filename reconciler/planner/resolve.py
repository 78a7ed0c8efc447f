"""Desired state into a `DomainConfig`: every choice that the user left open is made or left open here.

A machine that exists keeps what was chosen for it once: its MACs, its disks' targets and paths, its type of
virtualisation.  `previous`, the applied configuration, carries those choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.model.domain import DiskConfig, DomainConfig, InterfaceConfig
from reconciler.model.host import Host, ObservedHost, Pool
from reconciler.model.identity import derived_mac, interface_name
from reconciler.model.manifest import ExtraDisk, RootDisk, VirtualMachine
from reconciler.model.placement import volume_name
from reconciler.planner.blueprint import Blueprint, digest, digest_unknown
from reconciler.planner.guest import with_seed
from reconciler.planner.hardware import TUNING, tuning, with_hardware
from reconciler.planner.ignore import keep_ignored
from reconciler.planner.names import ROOT
from reconciler.planner.unresolved import CannotResolveError
from reconciler.planner.volumes import Attached, disk_type, raw_only

_PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
_BEST_FIRST = ("kvm", "qemu", "lxc", "test")


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
        CannotResolveError: A storage pool is missing, or an image's digest is not known.
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
        interfaces=interface_configs(plan.vm, previous, plan.addresses),
        console=str(spec.console) if spec.console else None,
        description=spec.description,
        autostart=spec.autostart,
        template=digest(plan.template_text) if plan.template_text is not None else None,
    )
    config = with_hardware(config, plan, observed, previous, taken)
    config = keep_ignored(config, previous, spec.ignore) if previous else config
    return with_seed(config, plan, host, observed, previous)


def _virt_type(host: Host, observed: ObservedHost) -> str:
    if host.virt_type:
        return host.virt_type
    return next((kind for kind in _BEST_FIRST if kind in observed.virt_types), "qemu")


def interface_configs(
    vm: VirtualMachine, previous: DomainConfig | None, addresses: Mapping[str, str]
) -> tuple[InterfaceConfig, ...]:
    """The machine's interfaces, each with the MAC that it has or gets and its address by name."""
    kept = {i.name: i.mac for i in (previous.interfaces or ()) if i.name} if previous else {}
    resolved = []
    for index, interface in enumerate(vm.spec.interfaces):
        name = interface_name(interface, index)
        resolved.append(
            InterfaceConfig(
                mac=interface.mac or kept.get(name) or derived_mac(vm.name, name),
                network=interface.network,
                bridge=interface.bridge,
                model=interface.model,
                name=name,
                address=addresses.get(name),
            )
        )
    return tuple(resolved)


def wanted_disks(plan: Blueprint) -> Mapping[str, RootDisk]:
    """The machine's disks by name, the root disk first, with their effective sizes; volumes among them."""
    disks: dict[str, RootDisk] = {}
    if plan.has_root:
        root = plan.vm.spec.root_disk or RootDisk()
        size = plan.sizes.root
        disks[ROOT] = root if root.size == size else root.model_copy(update={"size": size})
    disks |= {disk.name: disk for disk in plan.vm.spec.disks if disk.volume is None}
    for one in plan.volumes:
        spec = one.volume.spec
        listed = disks.get(one.disk)
        tuned = {name: getattr(listed, name) for name in TUNING} if listed is not None else {}
        disks[one.disk] = ExtraDisk(name=one.disk, volume=one.volume.name, bus=one.bus).model_copy(
            update={"size": spec.size, "format": spec.format, "pool": spec.pool, **tuned}
        )
    return disks


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
        volumes = {one.disk: one for one in self.plan.volumes}
        disks = [
            self._disk(name, disk, targets[name], old.get(name), volumes.get(name))
            for name, disk in wanted.items()
        ]
        return tuple(sorted(disks, key=lambda disk: (len(disk.target), disk.target)))

    def _disk(
        self, name: str, disk: RootDisk, target: str, old: DiskConfig | None, volume: Attached | None
    ) -> DiskConfig:
        chosen = DiskConfig(
            target=target,
            bus=str(disk.bus),
            path="",
            format=str(disk.format),
            size=disk.size,
            name=name,
            **tuning(disk),
        )
        pool: Pool | None
        if volume is not None:
            pool = self._home(volume, disk)
            chosen = replace(
                chosen,
                path=volume_path(pool, volume.file),
                volume=volume.volume.name,
                shared=volume.volume.spec.shared,
            )
        else:
            chosen = replace(chosen, path=self._path(name, disk, old))
            pool = self._pool_with(chosen.path)
        if pool is None or disk.path is not None:
            if old is not None and old.path == chosen.path:
                return replace(chosen, type=old.type, hosts=old.hosts, auth=old.auth)
            device = chosen.path.startswith("/dev/") and not chosen.path.startswith("/dev/shm/")  # noqa: S108
            return replace(chosen, type="block" if device else "file")
        self._refuse_unfit(name, disk, pool, chosen, old)
        if pool.type != "rbd":
            return replace(chosen, type=disk_type(pool))
        return replace(chosen, type=disk_type(pool), hosts=pool.hosts, auth=pool.auth)

    def _home(self, volume: Attached, disk: RootDisk) -> Pool:
        """The pool where a volume lies, or where the same plan makes it."""
        return find_volume(self.observed, volume.file) or self._pool(disk)

    def _pool_with(self, path: str) -> Pool | None:
        volume = path.rpartition("/")[2]
        pools = sorted(self.observed.pools.items())
        return next((pool for _, pool in pools if volume_path(pool, volume) == path), None)

    def _refuse_unfit(
        self, name: str, disk: RootDisk, pool: Pool, chosen: DiskConfig, old: DiskConfig | None
    ) -> None:
        """Refuse to make a disk that a pool of devices or images cannot hold."""
        if not raw_only(pool.type) or (old is not None and old.path == chosen.path):
            return
        kind = f"disk {name}: the pool {pool.name} on {self.host.name} is of type {pool.type}"
        if str(disk.format) != "raw":
            raise CannotResolveError(
                "FormatUnsupported", f"{kind}, whose volumes have no format: write format: raw"
            )
        if name == ROOT and self.plan.image is not None:
            message = (
                f"{kind}: an overlay needs a pool of files, and libvirt cannot bring an image there. Put the "
                "root disk into a pool of files and the data on volumes, or leave the image out"
            )
            raise CannotResolveError("PoolUnsuitable", message)

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
        if self.previous is not None and self.previous.seed is not None:
            busy.add(_letters(self.previous.seed.target))
        if self.previous is not None:
            busy |= {_letters(drive.target) for drive in self.previous.cdroms or ()}
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
        image = self.plan.image if name == ROOT and pool is None else None
        if image is not None and not image.spec.digest:
            raise CannotResolveError("ChecksumUnknown", digest_unknown(image))
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
    """Absolute path of a volume in a pool; ``rbd:pool/image`` in one of Ceph's."""
    if pool.type == "rbd":
        return f"rbd:{pool.source}/{volume}"
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
