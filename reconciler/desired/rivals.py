"""What cannot be true of all files together: one name twice, one address, one volume. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from reconciler.desired.check import Catalog
from reconciler.desired.check_pools import addresses_taken, names_taken
from reconciler.desired.check_storage import between
from reconciler.desired.decode import Mistake
from reconciler.desired.parsed import ParsedFile
from reconciler.model.desired import Origin
from reconciler.model.manifest import VirtualMachine

Files = Collection[ParsedFile]

_ORIGINS = attrgetter("origins")


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake of an object, whose line is not known yet."""

    key: str
    origin: Origin
    mistake: Mistake


def rivals(
    files: Files, machines: Mapping[str, VirtualMachine], catalog: Catalog, origins: Mapping[str, Origin]
) -> Iterator[Finding]:
    """Every mistake between objects of these files.

    Args:
        files: All of them.
        machines: Their machines by name.
        catalog: What machines refer to.
        origins: Place of each object.
    """
    yield from _twins(files, origins)
    yield from _mac_twins(files, origins)
    yield from _address_twins(files, origins)
    yield from _volume_rivals(machines, catalog, origins)
    yield from _pool_rivals(machines, catalog, origins)


def _twins(files: Files, origins: Mapping[str, Origin]) -> Iterator[Finding]:
    """Two objects of one name."""
    if len(origins) == sum(map(len, map(_ORIGINS, files))):
        return
    first: dict[str, Origin] = {}
    for file in files:
        for key, origin in file.origins:
            if key in first:
                message = f"{key.replace('/', ' ', 1)} is declared twice, first in {_show(first[key])}"
                yield Finding(key, origin, Mistake(("metadata", "name"), message))
            first.setdefault(key, origin)


def _mac_twins(files: Files, origins: Mapping[str, Origin]) -> Iterator[Finding]:
    """Two interfaces with one MAC."""
    macs = [mac for file in files for mac, _ in file.macs]
    if len(set(macs)) == len(macs):
        return
    first: dict[int, tuple[str, int]] = {}
    for file in files:
        for mac, (name, index) in file.macs:
            other, at = first.setdefault(mac, (name, index))
            if (other, at) != (name, index):
                key = f"VirtualMachine/{name}"
                origin = origins[f"VirtualMachine/{other}"]
                owner = f"interfaces[{at}]" if other == name else other
                message = f"the MAC {_show_mac(mac)} belongs to {owner} too ({_show(origin)})"
                path = ("spec", "interfaces", index, "mac")
                yield Finding(key, origins[key], Mistake(path, message))


def _address_twins(files: Files, origins: Mapping[str, Origin]) -> Iterator[Finding]:
    """Two interfaces that fix one address on one network."""
    first: dict[tuple[str, str], tuple[str, int]] = {}
    for file in files:
        for place, (name, index) in file.addresses:
            other, at = first.setdefault(place, (name, index))
            if (other, at) != (name, index):
                key, origin = f"VirtualMachine/{name}", origins[f"VirtualMachine/{other}"]
                owner = f"interfaces[{at}]" if other == name else other
                message = f"{place[1]} on the network {place[0]} belongs to {owner} too ({_show(origin)})"
                path = ("spec", "interfaces", index, "address")
                yield Finding(key, origins[key], Mistake(path, message))


def _volume_rivals(
    machines: Mapping[str, VirtualMachine], catalog: Catalog, origins: Mapping[str, Origin]
) -> Iterator[Finding]:
    """Two machines with one volume, and disks of one name."""
    if not catalog.volumes:
        return
    for claim, other, message in between(machines, catalog.volumes):
        if other is None and catalog.excuses("VirtualMachine", claim.machine):
            continue
        where = f" ({_show(origins[other])})" if other is not None else ""
        yield Finding(claim.key, origins[claim.key], Mistake(claim.path, message + where))


def _pool_rivals(
    machines: Mapping[str, VirtualMachine], catalog: Catalog, origins: Mapping[str, Origin]
) -> Iterator[Finding]:
    """Machines with a name or an address of a pool's."""
    pools = catalog.machine_pools
    if not pools:
        return
    for key, mistake, other in (*names_taken(machines, pools), *addresses_taken(machines.values(), pools)):
        yield Finding(
            key, origins[key], replace(mistake, message=f"{mistake.message} ({_show(origins[other])})")
        )


def _show(origin: Origin) -> str:
    return f"{origin.file}:{origin.line}"


def _show_mac(mac: int) -> str:
    return mac.to_bytes(6, "big").hex(":")
