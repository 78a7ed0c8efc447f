"""Filters: which hosts can take a machine at all. One small class a duty.

The order is fixed, and a host is counted under the first filter that it fails. `STANDING` filters look
at what does not change while machines are being placed; `ROOM` filters at what is left of a host.
The machines that stand on the hosts are the third thing to look at: see company.py.
"""

# What the methods are for is said once, in Filter; not every filter looks at both arguments.
# ruff: noqa: D102, ARG002

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from reconciler.allocator.usage import HostUsage
from reconciler.model.capacity import Demand
from reconciler.model.units import format_size


class Filter(ABC):
    """One reason why a host cannot take a machine.

    Attributes:
        reason: Short and always the same; hosts are counted by it.
        phrases: What is wrong with one host, and with several, as the rest of a sentence.
    """

    reason: ClassVar[str]
    phrases: ClassVar[tuple[str, str]]

    @abstractmethod
    def passes(self, demand: Demand, host: HostUsage) -> bool:
        """Whether the host is fit in this respect."""

    def need(self, demand: Demand) -> str:
        """What the machine needs, or nothing where the phrase says all."""
        return ""

    def words(self, demand: Demand, host: HostUsage) -> str:
        """The refusal of one host in words."""
        need = self.need(demand)
        return f"{self.phrases[0]} ({need})" if need else self.phrases[0]


class Pinned(Filter):
    """The host that the user named, or where the machine's kept disks lie."""

    reason = "pinned elsewhere"
    phrases = ("is not the host it belongs on", "are not the host it belongs on")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.placement.host in (None, host.name) and demand.only in (None, host.name)

    def need(self, demand: Demand) -> str:
        pins = []
        if demand.placement.host is not None:
            pins.append(f"pinned to {demand.placement.host}")
        if demand.only is not None:
            pins.append(f"its disks lie on {demand.only}")
        return ", ".join(pins)


class Alive(Filter):
    """The host's answer can be believed."""

    reason = "not answering"
    phrases = ("does not answer", "do not answer")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return host.capacity.alive

    def words(self, demand: Demand, host: HostUsage) -> str:
        message = host.capacity.message
        return f"cannot be used: {message}" if message else "does not answer"


class Maintenance(Filter):
    """The host is open for new machines."""

    reason = "maintenance"
    phrases = ("is in maintenance", "are in maintenance")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return not host.capacity.maintenance


class NameFree(Filter):
    """No other domain has the machine's name there."""

    reason = "name taken"
    phrases = ("has another domain of that name", "have another domain of that name")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return host.name not in demand.not_on


class Architecture(Filter):
    """The host is of the architecture that the machine needs."""

    reason = "architecture"
    phrases = ("is of another architecture", "are of another architecture")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.arch in (None, host.capacity.arch)

    def need(self, demand: Demand) -> str:
        return f"need {demand.arch}"


class HostSelector(Filter):
    """The host carries every label that the user asked for."""

    reason = "labels"
    phrases = ("lacks the labels", "lack the labels")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        labels = host.capacity.labels
        return all(labels.get(key) == value for key, value in demand.placement.host_selector.items())

    def need(self, demand: Demand) -> str:
        wanted = sorted(demand.placement.host_selector.items())
        return "need " + ", ".join(f"{key}={value}" for key, value in wanted)


class HasFirmware(Filter):
    """The firmware is there."""

    reason = "firmware"
    phrases = ("lacks the firmware", "lack the firmware")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.firmware is None or demand.firmware in host.capacity.firmwares

    def need(self, demand: Demand) -> str:
        return f"need {demand.firmware}"


class HasHardware(Filter):
    """The host can give what ties a machine to it. One that cannot tell passes: libvirt itself will say."""

    reason = "hardware"
    phrases = ("cannot give the hardware", "cannot give the hardware")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return host.capacity.hardware is None or demand.hardware <= host.capacity.hardware

    def need(self, demand: Demand) -> str:
        return "need " + ", ".join(sorted(demand.hardware))

    def words(self, demand: Demand, host: HostUsage) -> str:
        missing = sorted(demand.hardware - (host.capacity.hardware or frozenset()))
        return "cannot give " + ", ".join(missing)


class HasNetworks(Filter):
    """Every libvirt network is active."""

    reason = "network"
    phrases = ("lacks a network", "lack a network")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.networks <= host.capacity.networks

    def need(self, demand: Demand) -> str:
        return "need " + ", ".join(sorted(demand.networks))

    def words(self, demand: Demand, host: HostUsage) -> str:
        missing = sorted(demand.networks - host.capacity.networks)
        return "lacks an active network " + ", ".join(missing)


class HasBridges(Filter):
    """Every bridge exists. A host that cannot tell its bridges passes: libvirt itself will say."""

    reason = "bridge"
    phrases = ("lacks a bridge", "lack a bridge")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return host.capacity.bridges is None or demand.bridges <= host.capacity.bridges

    def need(self, demand: Demand) -> str:
        return "need " + ", ".join(sorted(demand.bridges))

    def words(self, demand: Demand, host: HostUsage) -> str:
        missing = sorted(demand.bridges - (host.capacity.bridges or frozenset()))
        return "lacks a bridge " + ", ".join(missing)


class HasPools(Filter):
    """Every pool is there and active."""

    reason = "pool"
    phrases = ("lacks a storage pool", "lack a storage pool")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return not demand.disks or host.by_pool(demand.disks).keys() <= host.capacity.pools.keys()

    def need(self, demand: Demand) -> str:
        return "need " + ", ".join(pool or "the default pool" for pool in sorted(demand.disks))

    def words(self, demand: Demand, host: HostUsage) -> str:
        missing = sorted(host.by_pool(demand.disks).keys() - host.capacity.pools.keys())
        return "lacks an active storage pool " + ", ".join(missing)


class HasCpus(Filter):
    """Virtual cpus are left, overcommit counted in."""

    reason = "cpus"
    phrases = ("lacks cpus", "lack cpus")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.cpus <= host.free_cpus

    def need(self, demand: Demand) -> str:
        return f"need {demand.cpus}"

    def words(self, demand: Demand, host: HostUsage) -> str:
        return f"lacks cpus ({max(host.free_cpus, 0)} free, need {demand.cpus})"


class HasMemory(Filter):
    """Memory is left, reserve and overcommit counted in."""

    reason = "memory"
    phrases = ("lacks memory", "lack memory")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        return demand.memory <= host.free_memory

    def need(self, demand: Demand) -> str:
        return f"need {rounded(demand.memory)}"

    def words(self, demand: Demand, host: HostUsage) -> str:
        return f"lacks memory ({rounded(host.free_memory)} free, need {rounded(demand.memory)})"


class HasDiskSpace(Filter):
    """Every pool has the space left."""

    reason = "disk space"
    phrases = ("lacks disk space", "lack disk space")

    def passes(self, demand: Demand, host: HostUsage) -> bool:
        if not demand.disks:
            return True
        return all(size <= host.free_disk(pool) for pool, size in host.by_pool(demand.disks).items())

    def need(self, demand: Demand) -> str:
        sizes = sorted(demand.disks.items())
        return "need " + ", ".join(rounded(s) + (f" in {pool}" if pool else "") for pool, s in sizes)

    def words(self, demand: Demand, host: HostUsage) -> str:
        short = [
            f"{rounded(host.free_disk(pool))} free in {pool}, need {rounded(size)}"
            for pool, size in sorted(host.by_pool(demand.disks).items())
            if size > host.free_disk(pool)
        ]
        return f"lacks disk space ({'; '.join(short)})"


STANDING: tuple[Filter, ...] = (
    Pinned(),
    Alive(),
    Maintenance(),
    NameFree(),
    Architecture(),
    HostSelector(),
    HasFirmware(),
    HasHardware(),
    HasNetworks(),
    HasBridges(),
    HasPools(),
)
ROOM: tuple[Filter, ...] = (HasCpus(), HasMemory(), HasDiskSpace())


def refusal(filters: tuple[Filter, ...], demand: Demand, host: HostUsage) -> Filter | None:
    """The first filter that refuses the host, or None."""
    for candidate in filters:
        if not candidate.passes(demand, host):
            return candidate
    return None


def rounded(size: int) -> str:
    """A size for people: exact where it is short, else with one decimal; nothing below zero."""
    exact = format_size(max(size, 0))
    if len(exact) <= 6:
        return exact
    for unit, shift in (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f}{unit}"
    return exact
