"""What can be wrong with pools of machines: in their templates, and against machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.desired.check_network import Excuses, check_addresses, fixed_addresses
from reconciler.desired.decode import Mistake
from reconciler.model.machine import UpdatePolicy, VirtualMachine, VirtualMachineSpec
from reconciler.model.network import Network
from reconciler.model.pool import VirtualMachinePool, VirtualMachinePoolSpec, pool_slot
from reconciler.model.storage import DeletionPolicy

TEMPLATE = ("spec", "template")
"""Where a pool says what its machines are like; below it stands ``spec``, as in a machine."""

_LONGEST = 63


def check_pool(
    pool: VirtualMachinePool, networks: Mapping[str, Network], excuses: Excuses
) -> Iterator[Mistake]:
    """Every mistake of a pool, but for those that its template would have as a machine."""
    spec = pool.spec
    if len(f"{pool.name}-{spec.size.max}") > _LONGEST:
        longest = f"{pool.name}-{spec.size.max}"
        message = f"its machines have names up to {longest}, and a name has at most {_LONGEST} characters"
        yield Mistake(("metadata", "name"), message)
    for path, message in _not_for_many(spec.template.spec):
        yield Mistake((*TEMPLATE, "spec", *path), message)
    yield from _check_addresses(spec, networks, excuses)


def _not_for_many(spec: VirtualMachineSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What one machine can have and many cannot."""
    if spec.root_disk is not None and spec.root_disk.path is not None:
        yield ("rootDisk", "path"), "one file cannot be the disk of many machines: take an image"
    for at, disk in enumerate(spec.disks):
        if disk.volume is not None:
            yield ("disks", at, "volume"), "a volume belongs to one machine at a time, and a pool has many"
        if disk.path is not None:
            yield ("disks", at, "path"), "one file cannot be the disk of many machines"
    for at, interface in enumerate(spec.interfaces):
        if interface.mac is not None:
            yield ("interfaces", at, "mac"), "a MAC is one machine's: leave it out, and each gets its own"
        if interface.address not in (None, "auto"):
            yield ("interfaces", at, "address"), "an address is one machine's: list them in spec.addresses"
    yield from _single(spec)
    yield from _policies(spec)


def _single(spec: VirtualMachineSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if spec.host_devices:
        yield ("hostDevices",), "a device of a host is one machine's, and a pool has many"
    if spec.clone_of is not None:
        yield ("cloneOf",), "machines of a pool begin from an image, or blank"
    if spec.cloud_init is not None and spec.cloud_init.instance_id is not None:
        yield ("cloudInit", "instanceId"), "each machine of a pool has its own, and a new one in each life"


def _policies(spec: VirtualMachineSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if spec.protect:
        yield ("protect",), "machines of a pool come and go: they cannot be protected"
    if spec.suspend:
        yield ("suspend",), "machines of a pool come and go: they cannot be left alone"
    if spec.update_policy is UpdatePolicy.REPLACE:
        yield ("updatePolicy",), "machines of a pool are made anew when nobody has them: leave it out"
    if "deletion_policy" in spec.model_fields_set and spec.deletion_policy is not DeletionPolicy.DELETE:
        yield ("deletionPolicy",), "disks of a pool's machines go with them: leave it out"


def _check_addresses(
    spec: VirtualMachinePoolSpec, networks: Mapping[str, Network], excuses: Excuses
) -> Iterator[Mistake]:
    if not spec.addresses:
        return
    if len(spec.addresses) < spec.size.max:
        message = f"{len(spec.addresses)} addresses are not enough for size.max {spec.size.max}"
        yield Mistake(("spec", "addresses"), message)
    interfaces = spec.template.spec.interfaces
    if not interfaces:
        yield Mistake(
            ("spec", "addresses"), "addresses are of the first interface, and the template has none"
        )
        return
    if interfaces[0].address == "auto":
        message = "spec.addresses says which address it has: leave auto out"
        yield Mistake((*TEMPLATE, "spec", "interfaces", 0, "address"), message)
    first: dict[str, int] = {}
    for at, address in enumerate(spec.addresses):
        if first.setdefault(address, at) != at:
            yield Mistake(("spec", "addresses", at), f"{address} is listed twice")
            continue
        alone = interfaces[0].model_copy(update={"address": address})
        one = spec.template.spec.model_copy(update={"interfaces": (alone,)})
        for mistake in check_addresses(one, networks, excuses):
            yield Mistake(("spec", "addresses", at), mistake.message)


Rivalry = tuple[str, Mistake, str]
"""``Kind/name`` of an object, its mistake, and the ``Kind/name`` that is in the way."""


def names_taken(
    machines: Mapping[str, VirtualMachine], pools: Mapping[str, VirtualMachinePool]
) -> Iterator[Rivalry]:
    """Machines that have the name of a pool's."""
    for name in machines:
        found = pool_slot(name)
        pool = pools.get(found[0]) if found is not None else None
        if found is not None and pool is not None and found[1] <= pool.spec.size.max:
            message = f"the name {name} belongs to a machine of the pool {pool.name}"
            mistake = Mistake(("metadata", "name"), message)
            yield f"VirtualMachine/{name}", mistake, f"VirtualMachinePool/{pool.name}"


def addresses_taken(
    machines: Iterable[VirtualMachine], pools: Mapping[str, VirtualMachinePool]
) -> Iterator[Rivalry]:
    """Addresses of pools that a machine, or an earlier pool, has on the same network."""
    with_addresses = [pool for _, pool in sorted(pools.items()) if pool.spec.addresses]
    if not with_addresses:
        return
    taken = {
        place: f"VirtualMachine/{machine.name}"
        for machine in machines
        for place, _ in fixed_addresses(machine)
    }
    for pool in with_addresses:
        key, interfaces = f"VirtualMachinePool/{pool.name}", pool.spec.template.spec.interfaces
        network = interfaces[0].network if interfaces else None
        for at, address in enumerate(pool.spec.addresses if network is not None else ()):
            other = taken.setdefault((network or "", address), key)
            if other != key:
                message = f"{address} on the network {network} belongs to {other.partition('/')[2]} too"
                yield key, Mistake(("spec", "addresses", at), message), other
