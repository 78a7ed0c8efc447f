"""What can be wrong between objects that are each right in themselves. Pure.

Mistakes come as paths into an object; `source` knows the files and turns them into problems with a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from reconciler.desired.check_network import check_addresses, check_network
from reconciler.desired.check_pools import TEMPLATE, check_pool
from reconciler.desired.check_storage import check_disks, check_volume
from reconciler.desired.decode import Mistake
from reconciler.desired.explain import suggest
from reconciler.model.identity import derived_mac, interface_name
from reconciler.model.manifest import InstanceType, Object, VirtualMachine, VirtualMachineSpec
from reconciler.model.network import Network
from reconciler.model.placement import parse_own_volume_name
from reconciler.model.pool import VirtualMachinePool
from reconciler.model.storage import Image, StoragePool, Volume
from reconciler.model.units import format_size

_LEAST_DISK = 1 << 20
_LEAST_MEMORY = 1 << 20
_UNIT_MISSING = "is less than 1Mi: is a unit missing, as in 10Gi?"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What machines refer to.

    Attributes:
        instance_types: By name.
        images: By name, with absolute paths and digests filled in.
        image_sizes: Bytes of the disk inside of each image whose file is here.
        templates: Text of XML templates by path.
        pools: By name.
        volumes: By name.
        networks: By name.
        machine_pools: Pools of machines that are lent, by name.
        broken: ``Kind/name`` of objects that stand in the files but are wrong in themselves.
        partial: Some file could not be read at all, so a missing name proves nothing.
    """

    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    image_sizes: Mapping[str, int] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    pools: Mapping[str, StoragePool] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    partial: bool = False
    machine_pools: Mapping[str, VirtualMachinePool] = field(default_factory=dict)

    def excuses(self, kind: str, name: str) -> bool:
        """True if a missing object is a consequence of another mistake, which is told already."""
        return self.partial or f"{kind}/{name}" in self.broken


def check(one: Object, catalog: Catalog) -> list[Mistake]:
    """Every mistake of an object against the others."""
    if isinstance(one, VirtualMachine):
        return list(_check_machine(one.spec, catalog))
    if isinstance(one, InstanceType):
        return list(_check_instance_type(one, catalog))
    if isinstance(one, VirtualMachinePool):
        return [*_check_template_spec(one, catalog), *check_pool(one, catalog.networks, catalog.excuses)]
    if isinstance(one, Network):
        return list(check_network(one, catalog.networks))
    if isinstance(one, Volume):
        return [m for m in _check_stored(one, catalog) if not _excused(m, one, catalog)]
    return []


def _check_template_spec(pool: VirtualMachinePool, catalog: Catalog) -> Iterator[Mistake]:
    """What the template of a pool would have wrong as a machine, at its place in the pool."""
    for mistake in _check_machine(pool.spec.template.spec, catalog):
        # What names a volume or a file is refused there whole.
        if mistake.path[1:2] != ("disks",) or mistake.path[-1] not in ("volume", "path"):
            yield replace(mistake, path=(*TEMPLATE, *mistake.path))


def _check_stored(one: Volume, catalog: Catalog) -> Iterator[Mistake]:
    yield from check_volume(one, catalog.volumes, catalog.images, catalog.pools, catalog.image_sizes)


def _excused(mistake: Mistake, volume: Volume, catalog: Catalog) -> bool:
    """True if it is a reference to an object that stands there with a mistake of its own."""
    source = volume.spec.source
    if source is None or mistake.path[:2] != ("spec", "source") or not mistake.message.startswith("unknown"):
        return False
    return catalog.excuses("Volume", source.volume or "") or catalog.excuses("Image", source.image or "")


def macs(machine: VirtualMachine) -> Iterator[tuple[int, int]]:
    """MAC (as a number) and index of each interface, derived where the user fixed none."""
    for index, interface in enumerate(machine.spec.interfaces):
        mac = interface.mac or derived_mac(machine.name, interface_name(interface, index))
        yield int(mac.replace(":", ""), 16), index


def template_path(one: Object) -> str | None:
    """The XML template that an object names."""
    if isinstance(one, VirtualMachinePool):
        return one.spec.template.spec.xml_template
    return one.spec.xml_template if isinstance(one, (VirtualMachine, InstanceType)) else None


def check_draft(draft: VirtualMachine, catalog: Catalog, key: str = "") -> list[Mistake]:
    """What is wrong in a machine whatever its missing fields would say: what it names.

    Args:
        draft: The machine; of a pool, its template as one.
        catalog: What is there.
        key: ``Kind/name`` of the object.
    """
    found = _check_names(draft.spec, catalog)
    if key.startswith("VirtualMachinePool/"):
        return [replace(mistake, path=(*TEMPLATE, *mistake.path)) for mistake in found]
    return list(found)


def _check_names(spec: VirtualMachineSpec, catalog: Catalog) -> Iterator[Mistake]:
    yield from _check_reference("instanceType", "InstanceType", spec.instance_type, catalog)
    yield from _check_reference("image", "Image", spec.image, catalog)
    yield from _check_template(spec.xml_template, catalog)
    yield from _check_ignore(spec)


def _check_machine(spec: VirtualMachineSpec, catalog: Catalog) -> Iterator[Mistake]:
    yield from _check_names(spec, catalog)
    preset = catalog.instance_types.get(spec.instance_type or "")
    if preset is not None:
        yield from _check_sizes(spec, preset)
    yield from _check_disks(spec, preset, catalog)
    for name, mistake in check_disks(spec, catalog.volumes, catalog.pools):
        if name is None or not catalog.excuses("Volume", name):
            yield mistake
    yield from check_addresses(spec, catalog.networks, catalog.excuses)
    image = catalog.images.get(spec.image or "")
    arch = image.spec.architecture if image else None
    if arch and spec.architecture and arch != spec.architecture:
        message = f"the image {spec.image} is for {arch}, the machine for {spec.architecture}"
        yield Mistake(("spec", "architecture"), message)


def _check_reference(alias: str, kind: str, name: str | None, catalog: Catalog) -> Iterator[Mistake]:
    known: Mapping[str, object] = catalog.images if kind == "Image" else catalog.instance_types
    if name is None or name in known or catalog.excuses(kind, name):
        return
    hint = suggest(name, known) or (
        f"; known are {', '.join(sorted(known)[:8])}" if known else "; there is none"
    )
    yield Mistake(("spec", alias), f"unknown {kind} `{name}`{hint}")


def _check_template(path: str | None, catalog: Catalog) -> Iterator[Mistake]:
    if path is None or path in catalog.templates:
        return
    if not is_template_path(path):
        message = f"the template {path} leads out of the source: write a path inside of it"
    else:
        message = f"the template {path} is not in the source, or cannot be read as text"
    yield Mistake(("spec", "xmlTemplate"), message)


def is_template_path(path: str) -> bool:
    """A relative path that cannot leave the source."""
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts


def _check_sizes(spec: VirtualMachineSpec, preset: InstanceType) -> Iterator[Mistake]:
    """A machine's own fields win over its instance type's: together they have to make sense."""
    cpus = spec.cpus or preset.spec.cpus
    max_cpus = spec.max_cpus or preset.spec.max_cpus
    if max_cpus is not None and max_cpus < cpus:
        path = ("spec", "maxCpus" if spec.max_cpus else "cpus")
        yield Mistake(path, f"with instance type {preset.name}, maxCpus {max_cpus} is less than cpus {cpus}")
    memory = preset.spec.memory if spec.memory is None else spec.memory
    max_memory = preset.spec.max_memory if spec.max_memory is None else spec.max_memory
    if max_memory is not None and max_memory < memory:
        path = ("spec", "memory" if spec.max_memory is None else "maxMemory")
        sizes = f"maxMemory {format_size(max_memory)} is less than memory {format_size(memory)}"
        yield Mistake(path, f"with instance type {preset.name}, {sizes}")


def _check_disks(
    spec: VirtualMachineSpec, preset: InstanceType | None, catalog: Catalog
) -> Iterator[Mistake]:
    for index, disk in enumerate(spec.disks):
        if disk.size is not None and disk.size < _LEAST_DISK:
            yield Mistake(("spec", "disks", index, "size"), f"size {_UNIT_MISSING}")
        yield from _check_path(disk.path, ("spec", "disks", index, "path"))
    root = spec.root_disk
    yield from _check_path(root.path if root is not None else None, ("spec", "rootDisk", "path"))
    size = root.size if root is not None else None
    if size is not None and size < _LEAST_DISK:
        yield Mistake(("spec", "rootDisk", "size"), f"size {_UNIT_MISSING}")
        return
    if size is None and preset is not None:
        size = preset.spec.root_disk_size
    if root is not None and root.path is None and size is None and spec.image is None:
        yield Mistake(("spec", "rootDisk"), "a root disk without an image is blank and needs a size")
    least = catalog.image_sizes.get(spec.image or "", 0)
    if size is not None and size < least:
        path = ("spec", "rootDisk", "size") if root and root.size is not None else ("spec", "instanceType")
        wanted = f"the root disk of {format_size(size)} is smaller than the image {spec.image}"
        yield Mistake(path, f"{wanted} ({format_size(least)})")


def _check_path(path: str | None, at: tuple[str | int, ...]) -> Iterator[Mistake]:
    """By its path, a volume would be opened past the claim that keeps it from a second machine."""
    own = parse_own_volume_name((path or "").rpartition("/")[2])
    if own is not None:
        told = f"the path is that of the volume {own[0]}: take it as one, with volume: {own[0]} in spec.disks"
        yield Mistake(at, told)


# How we deal with a machine is no part of it, so there is nothing to ignore.
_POLICIES = {"update_policy", "deletion_policy", "stop_timeout", "protect", "suspend", "ignore"}
_IGNORABLE = frozenset(
    field.alias or name for name, field in VirtualMachineSpec.model_fields.items() if name not in _POLICIES
)


def _check_ignore(spec: VirtualMachineSpec) -> Iterator[Mistake]:
    for index, name in enumerate(spec.ignore):
        if name not in _IGNORABLE:
            message = f"`{name}` is no field that can be ignored{suggest(name, _IGNORABLE)}"
            yield Mistake(("spec", "ignore", index), message)


def _check_instance_type(preset: InstanceType, catalog: Catalog) -> Iterator[Mistake]:
    spec = preset.spec
    yield from _check_template(spec.xml_template, catalog)
    if spec.max_cpus is not None and spec.max_cpus < spec.cpus:
        yield Mistake(("spec", "maxCpus"), "maxCpus is less than cpus")
    if spec.memory < _LEAST_MEMORY:
        yield Mistake(("spec", "memory"), "memory is less than 1Mi: is a unit missing, as in 512Mi?")
    elif spec.max_memory is not None and spec.max_memory < spec.memory:
        yield Mistake(("spec", "maxMemory"), "maxMemory is less than memory")
    if spec.root_disk_size is not None and spec.root_disk_size < _LEAST_DISK:
        yield Mistake(("spec", "rootDiskSize"), f"rootDiskSize {_UNIT_MISSING}")
