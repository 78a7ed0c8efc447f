"""What the templates need to know of a machine's hardware, worked out from its `DomainConfig`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model.domain import DiskConfig, DomainConfig
from reconciler.model.units import parse_size

_MODES = frozenset({"host-passthrough", "host-model", "maximum"})
_BOOT_WORDS = frozenset({"hd", "cdrom", "network", "fd"})


def hardware_context(config: DomainConfig, virt_type: str) -> dict[str, Any]:
    """Variables of ``domain.xml.j2`` and of the pieces that it includes.

    Args:
        config: The domain; None in it is left to the host.
        virt_type: Its domain type, which may be the host's choice.
    """
    words, order = boot_of(config)
    return {
        "boot": order,
        "boot_words": words,
        "cpu": cpu_context(config, virt_type),
        "hugepages": _hugepages(config.hugepages),
        "shared_memory": any(folder.driver == "virtiofs" for folder in config.filesystems or ()),
        "pins": [tuple(pin.split("=", 1)) for pin in config.pinning or ()],
        "numatune": _numatune(config.numatune),
        "tpm": _pair(config.tpm),
        "watchdog": _pair(config.watchdog),
        "consoles": consoles_of(config),
        "screens": config.graphics or (),
        "host_devices": [host_device(key) for key in config.host_devices or ()],
        "usb": any(key.startswith("usb:") for key in config.host_devices or ())
        or any(drive.bus == "usb" for drive in config.cdroms or ()),
    }


def pci_devices(config: DomainConfig) -> int:
    """How many slots the extras take."""
    flags = (config.agent or config.consoles, config.rng, config.watchdog, config.video or config.graphics)
    return (
        sum(map(bool, flags))
        + len(config.filesystems or ())
        + sum(key.startswith("pci:") for key in config.host_devices or ())
    )


def boot_of(config: DomainConfig) -> tuple[Sequence[str], Mapping[str, int]]:
    """Libvirt's boot words, or the place of each device by its key; without a wish the root disk is first."""
    if config.boot is not None:
        if _BOOT_WORDS.issuperset(config.boot):
            return config.boot, {}
        return (), {key: at for at, key in enumerate(config.boot, start=1)}
    disks = config.disks or ()
    return (), {disks[_root_disk(disks)].target: 1} if disks else {}


def _root_disk(disks: Sequence[DiskConfig]) -> int:
    """Index of the root disk: BIOS would take the first one listed, whatever the user calls root."""
    names = [disk.name for disk in disks]
    return names.index("root") if "root" in names else 0


def cpu_context(config: DomainConfig, virt_type: str) -> dict[str, Any] | None:
    """What stands in ``<cpu>``; None without anything."""
    model = config.cpu_model or ("host-passthrough" if virt_type == "kvm" else None)
    if model is None and not (config.topology or config.numa or config.cpu_features):
        return None
    return {
        "mode": model if model in _MODES else "custom" if model else None,
        "model": None if model in _MODES else model,
        "features": [tuple(feature.split("=", 1)) for feature in config.cpu_features or ()],
        "topology": config.topology,
        "cells": [(cell.cpus, -(-cell.memory // 1024)) for cell in config.numa or ()],
    }


def consoles_of(config: DomainConfig) -> Sequence[str]:
    """``serial`` and ``virtio``, one for each."""
    if config.consoles is not None:
        return config.consoles
    return ("serial",) if config.console == "serial" else ()


def host_device(key: str) -> dict[str, str]:
    """The attributes of an address, from ``pci:0000:65:00.0``, ``usb:046d:c52b`` or ``usb:1.4``."""
    kind, _, place = key.partition(":")
    if kind == "pci":
        domain, bus, rest = place.split(":")
        slot, _, function = rest.partition(".")
        parts = {"domain": domain, "bus": bus, "slot": slot, "function": function}
        return {"kind": "pci", "key": key, **{name: f"0x{value}" for name, value in parts.items()}}
    if ":" in place:
        vendor, _, product = place.partition(":")
        return {"kind": "usb", "key": key, "vendor": f"0x{vendor}", "product": f"0x{product}"}
    bus, _, device = place.partition(".")
    return {"kind": "usb-address", "key": key, "bus": bus, "device": device}


def _hugepages(told: str | None) -> list[tuple[int, str]] | None:
    """Pages as size (KiB) and nodes; an empty list is the host's default size, None no huge pages."""
    if told in (None, "none"):
        return None
    pages = [page.partition("@") for page in told.split()] if told != "default" else []
    return [(parse_size(size) // 1024, nodes) for size, _, nodes in pages]


def _numatune(told: str | None) -> tuple[str, str] | None:
    mode, _, where = (told or "none").partition(":")
    return None if mode == "none" else (mode, where)


def _pair(told: str | None) -> tuple[str, str] | None:
    """``("i6300esb", "reset")`` of ``i6300esb:reset``; None for nothing and for ``none``."""
    if told in (None, "none"):
        return None
    first, _, second = told.partition(":")
    return first, second
