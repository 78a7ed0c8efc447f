"""The machine of a pool's slot, and what it is made from."""

from __future__ import annotations

import hashlib

from reconciler.model.desired import DesiredState
from reconciler.model.envelope import Metadata
from reconciler.model.machine import VirtualMachine, VirtualMachineSpec
from reconciler.model.pool import LIFE_ANNOTATION, POOL_LABEL, VirtualMachinePool
from reconciler.model.storage import DeletionPolicy

_DIGITS = 16


def machine_of(pool: VirtualMachinePool, slot: int, life: int) -> VirtualMachine:
    """The manifest of a member.

    Its disks go with it, and cloud-init takes each life for a new instance.

    Args:
        pool: The pool.
        slot: 1-based.
        life: How often it was made.
    """
    name, template = f"{pool.name}-{slot}", pool.spec.template
    return VirtualMachine(
        metadata=Metadata(
            name=name,
            labels={**template.labels, POOL_LABEL: pool.name},
            annotations={**template.annotations, LIFE_ANNOTATION: str(life)},
        ),
        spec=_spec(pool, slot, f"{name}.{life}"),
    )


def _spec(pool: VirtualMachinePool, slot: int, instance: str) -> VirtualMachineSpec:
    spec = pool.spec.template.spec
    update: dict[str, object] = {"deletion_policy": DeletionPolicy.DELETE}
    address = address_of(pool, slot)
    if address is not None and spec.interfaces:
        first = spec.interfaces[0].model_copy(update={"address": address})
        update["interfaces"] = (first, *spec.interfaces[1:])
    if spec.cloud_init is not None:
        update["cloud_init"] = spec.cloud_init.model_copy(update={"instance_id": instance})
    return spec.model_copy(update=update)


def address_of(pool: VirtualMachinePool, slot: int) -> str | None:
    """The fixed address of a slot, or None."""
    addresses = pool.spec.addresses
    return addresses[slot - 1] if slot <= len(addresses) else None


def template_of(desired: DesiredState, pool: VirtualMachinePool) -> str:
    """Digest of all that people said about a pool's machines, but for the address of each."""
    spec = pool.spec.template.spec
    preset = desired.instance_types.get(spec.instance_type or "")
    image = desired.images.get(spec.image or "")
    path = spec.xml_template or (preset.spec.xml_template if preset else None) or ""
    said = [
        pool.spec.template.model_dump_json(exclude_defaults=True),
        preset.spec.model_dump_json(exclude_defaults=True) if preset else "",
        f"{image.spec.digest} {image.spec.format}" if image else "",
        desired.templates.get(path, ""),
    ]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:_DIGITS]


def made_from(template: str, pool: VirtualMachinePool, slot: int) -> str:
    """What a member's machine is made from: the template (`template_of`) and the slot's own address."""
    address = address_of(pool, slot)
    return f"{template}@{address}" if address is not None else template
