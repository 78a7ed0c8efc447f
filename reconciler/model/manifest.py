"""What a user declares: InstanceType, as it stands in YAML, and all kinds together.

A machine is described in `reconciler.model.machine`, and can be had from here, too.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.envelope import API_VERSION, ApiVersion, Manifest, Metadata
from reconciler.model.machine import (
    AntiAffinity,
    Console,
    ExtraDisk,
    Firmware,
    Interface,
    Placement,
    Policy,
    RootDisk,
    RunStrategy,
    Spread,
    UpdatePolicy,
    VirtualMachine,
    VirtualMachineSpec,
)
from reconciler.model.network import Network
from reconciler.model.pool import VirtualMachinePool
from reconciler.model.storage import Image, StoragePool, Volume
from reconciler.model.units import Size


class InstanceTypeSpec(Manifest):
    """A size preset; a machine's own fields win over it. Sizes in bytes."""

    cpus: int = Field(ge=1, le=4096, strict=True)
    max_cpus: int | None = Field(default=None, ge=1, le=4096, strict=True)
    memory: Size
    max_memory: Size | None = None
    root_disk_size: Size | None = None
    firmware: Firmware | None = None
    machine: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9._-]+$")
    xml_template: str | None = None


class InstanceType(Manifest):
    """A size preset that machines name."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["InstanceType"] = "InstanceType"
    metadata: Metadata
    spec: InstanceTypeSpec

    @property
    def name(self) -> str:
        """Unique among instance types."""
        return self.metadata.name


Object = VirtualMachine | InstanceType | Image | StoragePool | Volume | Network | VirtualMachinePool
KINDS: dict[
    str,
    type[VirtualMachine]
    | type[InstanceType]
    | type[Image]
    | type[StoragePool]
    | type[Volume]
    | type[Network]
    | type[VirtualMachinePool],
] = {
    "VirtualMachine": VirtualMachine,
    "InstanceType": InstanceType,
    "Image": Image,
    "StoragePool": StoragePool,
    "Volume": Volume,
    "Network": Network,
    "VirtualMachinePool": VirtualMachinePool,
}

__all__ = [
    "KINDS",
    "AntiAffinity",
    "Console",
    "ExtraDisk",
    "Firmware",
    "InstanceType",
    "InstanceTypeSpec",
    "Interface",
    "Object",
    "Placement",
    "Policy",
    "RootDisk",
    "RunStrategy",
    "Spread",
    "UpdatePolicy",
    "VirtualMachine",
    "VirtualMachineSpec",
]
