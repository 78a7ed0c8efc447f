"""What can be wrong between volumes, pools and the machines that name them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.desired.decode import Mistake
from reconciler.desired.explain import suggest
from reconciler.model.envelope import check_identifier
from reconciler.model.manifest import VirtualMachine, VirtualMachineSpec
from reconciler.model.storage import DiskFormat, Image, PoolType, StoragePool, Volume
from reconciler.model.units import format_size

_LEAST_VOLUME = 1 << 20
_RAW_ONLY = (PoolType.LOGICAL, PoolType.ZFS, PoolType.RBD)


@dataclass(frozen=True, slots=True)
class Claim:
    """A place in the manifests that gives a volume to a machine.

    Attributes:
        volume: The volume's name.
        machine: The machine's.
        disk: What the disk is called there.
        key: ``Kind/name`` of the object that says so.
        path: Where in that object.
    """

    volume: str
    machine: str
    disk: str
    key: str
    path: tuple[str | int, ...]


def claims(machines: Iterable[VirtualMachine], volumes: Iterable[Volume]) -> Iterator[Claim]:
    """Every place that gives a volume to a machine: a machine's ``disks``, and a volume's ``attachTo``."""
    for vm in machines:
        for index, disk in enumerate(vm.spec.disks):
            if disk.volume is not None:
                path = ("spec", "disks", index, "volume")
                yield Claim(disk.volume, vm.name, disk.name, f"VirtualMachine/{vm.name}", path)
    for volume in volumes:
        to = volume.spec.attach_to
        if to is not None:
            name = to.name or volume.name
            yield Claim(volume.name, to.machine, name, f"Volume/{volume.name}", ("spec", "attachTo"))


def check_disks(
    spec: VirtualMachineSpec, volumes: Mapping[str, Volume], pools: Mapping[str, StoragePool]
) -> Iterator[tuple[str | None, Mistake]]:
    """What is wrong between a machine's disks, volumes and pools, each with the volume that is unknown."""
    root = spec.root_disk
    if root is not None and root.path is None and (misfit := misfit_of(root.format, root.pool, pools)):
        yield None, Mistake(("spec", "rootDisk", "format"), misfit)
    for index, disk in enumerate(spec.disks):
        path = ("spec", "disks", index)
        if disk.volume is not None and disk.volume not in volumes:
            yield disk.volume, Mistake((*path, "volume"), unknown("Volume", disk.volume, volumes))
        if disk.volume is None and disk.path is None and (misfit := misfit_of(disk.format, disk.pool, pools)):
            yield None, Mistake((*path, "format"), misfit)


def check_volume(
    volume: Volume,
    volumes: Mapping[str, Volume],
    images: Mapping[str, Image],
    pools: Mapping[str, StoragePool],
    image_sizes: Mapping[str, int],
) -> Iterator[Mistake]:
    """What is wrong in a volume by itself, in what it begins as, and with its pool."""
    spec = volume.spec
    if spec.size < _LEAST_VOLUME:
        yield Mistake(("spec", "size"), "size is less than 1Mi: is a unit missing, as in 10Gi?")
    if spec.shared and spec.format is not DiskFormat.RAW:
        yield Mistake(
            ("spec", "format"), "machines that share a volume cannot share a qcow2: write format: raw"
        )
    to = spec.attach_to
    if to is not None and to.name is None and not _is_identifier(volume.name):
        message = f"{volume.name!r} cannot be the name of a disk: give attachTo.name, a short lower-case word"
        yield Mistake(("spec", "attachTo", "machine"), message)
    if to is not None and to.name == "root":
        yield Mistake(("spec", "attachTo", "name"), "the name 'root' belongs to the root disk")
    misfit = misfit_of(spec.format, spec.pool, pools)
    if misfit:
        yield Mistake(("spec", "format"), misfit)
    yield from _check_source(volume, volumes, images)
    least = image_sizes.get(spec.source.image or "", 0) if spec.source is not None else 0
    if spec.size < least:
        told = f"{format_size(spec.size)} is less than the {format_size(least)} of its image"
        yield Mistake(("spec", "size"), told)
    if spec.source is not None and spec.source.image is not None and _holds_no_files(spec.pool, pools):
        message = f"the pool {spec.pool} holds no files: libvirt cannot bring an image there"
        yield Mistake(("spec", "source", "image"), message)


def _holds_no_files(pool: str | None, pools: Mapping[str, StoragePool]) -> bool:
    manifest = pools.get(pool or "")
    return manifest is not None and manifest.spec.type in _RAW_ONLY


def _is_identifier(name: str) -> bool:
    try:
        check_identifier(name)
    except ValueError:
        return False
    return name != "root"


def _check_source(
    volume: Volume, volumes: Mapping[str, Volume], images: Mapping[str, Image]
) -> Iterator[Mistake]:
    source = volume.spec.source
    if source is None:
        return
    other = volumes.get(source.volume or "")
    if source.volume == volume.name:
        yield Mistake(("spec", "source", "volume"), "a volume cannot begin as a copy of itself")
    elif other is not None and other.spec.size > volume.spec.size:
        told = (
            f"{format_size(volume.spec.size)} is less than the {format_size(other.spec.size)} of its source"
        )
        yield Mistake(("spec", "size"), f"{told} {other.name}")
    if source.volume is not None and other is None:
        yield Mistake(("spec", "source", "volume"), unknown("Volume", source.volume, volumes))
    if source.image is not None and source.image not in images:
        yield Mistake(("spec", "source", "image"), unknown("Image", source.image, images))


def misfit_of(fmt: DiskFormat, pool: str | None, pools: Mapping[str, StoragePool]) -> str | None:
    """Why a disk of this format cannot lie in this pool, as far as its manifest tells."""
    manifest = pools.get(pool or "")
    if manifest is None or manifest.spec.type not in _RAW_ONLY or fmt is DiskFormat.RAW:
        return None
    return (
        f"the pool {manifest.name} is of type {manifest.spec.type}, whose volumes have no format: write "
        f"format: raw, not {fmt}"
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a reference that leads nowhere."""
    known = sorted(known)
    hint = suggest(name, known) or (f"; known are {', '.join(known[:8])}" if known else "; there is none")
    return f"unknown {kind} `{name}`{hint}"


def between(
    machines: Mapping[str, VirtualMachine], volumes: Mapping[str, Volume]
) -> Iterator[tuple[Claim, str | None, str]]:
    """Places that cannot be: the place, the key of the object that is in the way, and why."""
    first: dict[str, Claim] = {}
    disks: dict[tuple[str, str], Claim] = {}
    for claim in claims(machines.values(), volumes.values()):
        if claim.machine not in machines:
            yield claim, None, unknown("VirtualMachine", claim.machine, machines)
            continue
        before = first.setdefault(claim.volume, claim)
        volume = volumes.get(claim.volume)
        if before is not claim and before.machine == claim.machine:
            yield (
                claim,
                before.key,
                f"the volume {claim.volume} is in {claim.machine} already, as {before.disk}",
            )
        elif before is not claim and (volume is None or not volume.spec.shared):
            why = "one machine at a time has a volume, unless it is shared: true"
            yield claim, before.key, f"the volume {claim.volume} belongs to {before.machine} already; {why}"
        same = disks.setdefault((claim.machine, claim.disk), claim)
        plain = claim.key.startswith("Volume/") and any(
            disk.name == claim.disk and disk.volume is None for disk in machines[claim.machine].spec.disks
        )
        if plain or (same is not claim and same.volume != claim.volume):
            key = f"VirtualMachine/{claim.machine}" if plain else same.key
            yield claim, key, f"{claim.machine} has a disk called {claim.disk} already: give attachTo.name"
