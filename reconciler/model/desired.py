"""Everything a source holds at one revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.network import Network
from reconciler.model.pool import VirtualMachinePool
from reconciler.model.storage import Image, StoragePool, Volume


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object stands: file relative to the source's root, 1-based line."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A complete, valid desired state. Two reads with the same content share the same objects.

    Attributes:
        revision: The git commit id, or ``folder:`` and a digest of the files.
        machines: By name.
        instance_types: By name.
        images: By name; ``spec.path`` is absolute here, and ``spec.digest`` is filled in unless a
            checksum file that tells it could never be read.
        pools: Storage pools by name.
        volumes: By name.
        networks: By name.
        templates: Text of each XML template that a machine or instance type names, by path.
        machine_pools: Pools of machines that are lent, by name; the machines themselves are only in
            `machines` where `planner.lent.expand` put them.
        origins: ``Kind/name`` to the place where it stands.
    """

    revision: str
    machines: Mapping[str, VirtualMachine]
    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    pools: Mapping[str, StoragePool] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    machine_pools: Mapping[str, VirtualMachinePool] = field(default_factory=dict)
