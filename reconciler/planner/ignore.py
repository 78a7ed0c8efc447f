"""`ignore`: fields of a manifest that are set on creation and never changed after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.model.domain import DiskConfig, DomainConfig
from reconciler.planner.names import ROOT

# A manifest's field to what it covers: fields of DomainConfig, and the few that are none.
IGNORABLE: dict[str, frozenset[str]] = {
    "instanceType": frozenset({"cpus", "max_cpus", "memory", "max_memory"}),
    "cpus": frozenset({"cpus", "max_cpus"}),
    "maxCpus": frozenset({"max_cpus"}),
    "memory": frozenset({"memory", "max_memory"}),
    "maxMemory": frozenset({"max_memory"}),
    "architecture": frozenset({"arch"}),
    "image": frozenset({"image"}),
    "rootDisk": frozenset({"root_disk"}),
    "disks": frozenset({"disks"}),
    "interfaces": frozenset({"interfaces"}),
    "firmware": frozenset({"firmware"}),
    "machine": frozenset({"machine"}),
    "console": frozenset({"console"}),
    "description": frozenset({"description"}),
    "autostart": frozenset({"autostart"}),
    "runStrategy": frozenset({"state"}),
    "placement": frozenset({"host"}),
    "xmlTemplate": frozenset({"template"}),
    "cloudInit": frozenset({"seed"}),
    "cpu": frozenset({"cpu_model", "cpu_features", "topology", "pinning"}),
    "numa": frozenset({"numa", "numatune"}),
    "hugepages": frozenset({"hugepages"}),
    "secureBoot": frozenset({"secure_boot"}),
    "tpm": frozenset({"tpm"}),
    "watchdog": frozenset({"watchdog"}),
    "agent": frozenset({"agent"}),
    "rng": frozenset({"rng"}),
    "video": frozenset({"video"}),
    "graphics": frozenset({"graphics"}),
    "consoles": frozenset({"consoles", "console"}),
    "cdroms": frozenset({"cdroms"}),
    "filesystems": frozenset({"filesystems"}),
    "hostDevices": frozenset({"host_devices"}),
    "boot": frozenset({"boot"}),
}
_NOT_OF_A_CONFIG = frozenset({"image", "root_disk", "disks", "state", "host"})


def ignored(names: Iterable[str]) -> frozenset[str]:
    """What a manifest's `ignore` list covers; unknown names cover nothing."""
    covered: frozenset[str] = frozenset()
    for name in names:
        covered |= IGNORABLE.get(name, frozenset())
    return covered


def unknown(names: Iterable[str]) -> list[str]:
    """Names in an `ignore` list that are no field."""
    return [name for name in names if name not in IGNORABLE]


def keep_ignored(config: DomainConfig, previous: DomainConfig, names: Iterable[str]) -> DomainConfig:
    """`config`, with the applied values in the ignored fields: they neither change nor count as changed."""
    covered = ignored(names)
    if not covered:
        return config
    config = replace(config, **{name: getattr(previous, name) for name in covered - _NOT_OF_A_CONFIG})
    if not covered & {"root_disk", "disks"}:
        return config
    return replace(config, disks=_keep_disks(config, previous, covered))


def _keep_disks(
    config: DomainConfig, previous: DomainConfig, covered: frozenset[str]
) -> tuple[DiskConfig, ...] | None:
    def kept(disk: DiskConfig) -> bool:
        return ("root_disk" if disk.name == ROOT else "disks") in covered

    fresh = [disk for disk in config.disks or () if not kept(disk)]
    old = [disk for disk in previous.disks or () if kept(disk)]
    return tuple(sorted(fresh + old, key=lambda disk: (len(disk.target), disk.target)))
