"""The kinds of objects: their paths, and where the desired state has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from reconciler.model.desired import DesiredState
from reconciler.model.manifest import KINDS, Object

_FIELDS = {
    "VirtualMachine": "machines",
    "InstanceType": "instance_types",
    "Image": "images",
    "StoragePool": "pools",
    "Volume": "volumes",
    "Network": "networks",
    "VirtualMachinePool": "machine_pools",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Attributes:
        name: ``VirtualMachine``.
        field: Where `DesiredState` has its objects.
    """

    name: str
    field: str

    @property
    def path(self) -> str:
        """Its collection: ``virtualmachines``."""
        return self.name.lower() + "s"

    @property
    def words(self) -> str:
        """For people: ``virtual machine``."""
        return re.sub(r"(?<!^)(?=[A-Z])", " ", self.name).lower()

    def objects(self, state: DesiredState) -> Mapping[str, Object]:
        """Its objects by name."""
        return cast("Mapping[str, Object]", getattr(state, self.field))


ALL: Mapping[str, Kind] = {name: Kind(name, _FIELDS[name]) for name in KINDS}
"""By name."""
