"""Fields in the words of a manifest, for reasons, conditions and the plan that people read."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.plan import FieldChange

# What a manifest calls a field, where that is not the path itself.
_NAMES = {
    "arch": "architecture",
    "host": "placement.host",
    "max_cpus": "maxCpus",
    "seed": "cloudInit",
    "seed.content": "cloudInit",
    "seed.file": "cloudInit",
    "max_memory": "maxMemory",
    "template": "xmlTemplate",
    "virt_type": "virtType",
    "cpu_model": "cpu.model",
    "cpu_features": "cpu.features",
    "topology": "cpu.topology",
    "pinning": "cpu.pinning",
    "numatune": "numa.hostNodes",
    "secure_boot": "secureBoot",
    "host_devices": "hostDevices",
}


def field_name(path: str) -> str:
    """``maxCpus`` of ``max_cpus``; a device's path is what people call it already."""
    return _NAMES.get(path, path)


def worth_showing(fields: Iterable[FieldChange]) -> list[FieldChange]:
    """Without a maximum that just goes along with its value: hardly anybody wrote it."""
    fields = tuple(fields)
    values = {(f"max_{field.path}", str(field.before), str(field.after)) for field in fields}
    return [field for field in fields if (field.path, str(field.before), str(field.after)) not in values]


def named(fields: Iterable[FieldChange]) -> str:
    """``cpus, disks[data].size``: the fields, listed."""
    return ", ".join(field_name(field.path) for field in worth_showing(fields))
