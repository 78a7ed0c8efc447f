"""Which machine has which volume, and where volumes lie: what the rest of the planner asks about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from reconciler.model.desired import DesiredState
from reconciler.model.host import Pool
from reconciler.model.identity import object_uuid
from reconciler.model.manifest import VirtualMachine
from reconciler.model.placement import own_volume_name, parse_own_volume_name
from reconciler.model.storage import DiskBus, Volume

_RAW_ONLY = frozenset({"logical", "zfs", "rbd"})
_SHARED_BY_NATURE = frozenset({"rbd", "netfs", "gluster", "iscsi"})


@dataclass(frozen=True, slots=True)
class Attached:
    """A volume as a disk of a machine.

    Attributes:
        disk: The disk's name in the machine.
        bus: How it is plugged in.
        volume: The manifest.
        uid: The volume's uid.
    """

    disk: str
    bus: DiskBus
    volume: Volume
    uid: str

    @property
    def file(self) -> str:
        """The volume's name in its pool."""
        return own_volume_name(self.volume.name, self.uid, str(self.volume.spec.format))


@dataclass(frozen=True, slots=True)
class Home:
    """A place where a volume of ours was seen.

    Attributes:
        host: The host that shows it.
        pool: The pool.
        file: Its name there.
        volume: The name of the `Volume`.
        uid: Its uid.
        format: As its name says.
    """

    host: str
    pool: str
    file: str
    volume: str
    uid: str
    format: str


def volume_uid(owner: str, volume: str) -> str:
    """The uid of a volume: derived, so that it is known again when the store is lost."""
    return object_uuid("Volume", owner, volume)


def attached(desired: DesiredState, vm: VirtualMachine, owner: str) -> tuple[Attached, ...]:
    """The volumes of a machine: those that its disks list, and those that name it in ``attachTo``."""
    if not desired.volumes:
        return ()
    wishes = _wishes(_Same(desired)).by_machine.get(vm.name, ())
    return tuple(
        Attached(disk, bus, desired.volumes[volume], volume_uid(owner, volume))
        for disk, bus, volume in wishes
        if volume in desired.volumes
    )


def machines_of(desired: DesiredState, volume: str) -> tuple[str, ...]:
    """The machines that shall have a volume, by name."""
    return _wishes(_Same(desired)).by_volume.get(volume, ()) if desired.volumes else ()


def machines_with_volumes(desired: DesiredState) -> Mapping[str, object]:
    """The machines that shall have any volume; what they map to is nobody's concern."""
    return _wishes(_Same(desired)).by_machine if desired.volumes else {}


def raw_only(pool_type: str) -> bool:
    """True if volumes of such a pool are no files: they have no format of their own."""
    return pool_type in _RAW_ONLY


def disk_type(pool: Pool) -> str:
    """What libvirt calls disks that lie in a pool: ``file``, ``block`` or ``network``."""
    return "network" if pool.type == "rbd" else "block" if raw_only(pool.type) else "file"


def is_shared(desired: DesiredState, pool: Pool) -> bool:
    """True if several hosts see the same bytes in this pool; the manifest's word counts if there is one."""
    manifest = desired.pools.get(pool.name)
    return manifest.spec.shared if manifest is not None else pool.type in _SHARED_BY_NATURE


def homes_in(host: str, pools: Mapping[str, Pool]) -> list[Home]:
    """Every volume of anybody's naming like ours in the active pools of a host."""
    return [
        Home(host, pool.name, name, *parsed)
        for pool in pools.values()
        if pool.active
        for name in pool.volumes
        if name.startswith("volume-") and (parsed := parse_own_volume_name(name)) is not None
    ]


def uid_in_path(path: str) -> str | None:
    """The uid of the `Volume` that a disk's path leads to; None for any other disk."""
    name = path.rpartition("/")[2]
    parsed = parse_own_volume_name(name) if name.startswith("volume-") else None
    return parsed[1] if parsed is not None else None


@dataclass(frozen=True, slots=True)
class _Wishes:
    """Disk name, bus and volume by machine; machines by volume."""

    by_machine: Mapping[str, tuple[tuple[str, DiskBus, str], ...]]
    by_volume: Mapping[str, tuple[str, ...]]


class _Same:
    """A desired state that equals only itself, so that comparing two costs nothing."""

    def __init__(self, desired: DesiredState) -> None:
        self.desired = desired

    def __hash__(self) -> int:
        return id(self.desired)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.desired is other.desired


@lru_cache(maxsize=2)
def _wishes(same: _Same) -> _Wishes:
    desired = same.desired
    by_machine: dict[str, list[tuple[str, DiskBus, str]]] = defaultdict(list)
    for name, vm in desired.machines.items():
        for disk in vm.spec.disks:
            if disk.volume is not None:
                by_machine[name].append((disk.name, disk.bus, disk.volume))
    for name, volume in sorted(desired.volumes.items()):
        to = volume.spec.attach_to
        if to is not None:
            by_machine[to.machine].append((to.name or name, to.bus, name))
    by_volume: dict[str, list[str]] = defaultdict(list)
    for machine in sorted(by_machine):
        for _, _, volume_name in by_machine[machine]:
            by_volume[volume_name].append(machine)
    return _Wishes(
        {name: tuple(wishes) for name, wishes in by_machine.items()},
        {name: tuple(dict.fromkeys(machines)) for name, machines in by_volume.items()},
    )
