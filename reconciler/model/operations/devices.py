"""Devices of a running domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.model.domain import DiskConfig, InterfaceConfig
from reconciler.model.parts import CdromConfig, IoLimits


@dataclass(frozen=True, slots=True)
class AttachDisk:
    """Hot plug a disk."""

    disk: DiskConfig
    kind: Literal["attach-disk"] = "attach-disk"


@dataclass(frozen=True, slots=True)
class DetachDisk:
    """Hot unplug the disk at `target`, and wait until the guest let go."""

    target: str
    kind: Literal["detach-disk"] = "detach-disk"


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Grow a disk to `size` bytes: online (virDomainBlockResize) when it runs, else its volume."""

    target: str
    path: str
    size: int
    kind: Literal["grow-disk"] = "grow-disk"


@dataclass(frozen=True, slots=True)
class AttachInterface:
    """Hot plug an interface."""

    interface: InterfaceConfig
    kind: Literal["attach-interface"] = "attach-interface"


@dataclass(frozen=True, slots=True)
class DetachInterface:
    """Hot unplug the interface with this MAC."""

    mac: str
    kind: Literal["detach-interface"] = "detach-interface"


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Limit what the disk at `target` may do in a second, while it is in use; all zero lifts the limits."""

    target: str
    limits: IoLimits
    kind: Literal["set-limits"] = "set-limits"


@dataclass(frozen=True, slots=True)
class ChangeMedia:
    """Put `drive.path` into a CD-ROM drive of the running domain, or empty its tray."""

    drive: CdromConfig
    kind: Literal["change-media"] = "change-media"


@dataclass(frozen=True, slots=True)
class PinCpus:
    """Tie the running domain's cpus to the host's; one that `pins` does not name runs anywhere.

    `pins` are as in `DomainConfig.pinning`; `cpus` is how many the domain has.
    """

    pins: tuple[str, ...]
    cpus: int
    kind: Literal["pin-cpus"] = "pin-cpus"


@dataclass(frozen=True, slots=True)
class AttachHostDevice:
    """Hand a device of the host to the running domain; `device` is as in `DomainConfig.host_devices`."""

    device: str
    kind: Literal["attach-host-device"] = "attach-host-device"


@dataclass(frozen=True, slots=True)
class DetachHostDevice:
    """Take a device of the host back from the running domain, and wait until the guest let go."""

    device: str
    kind: Literal["detach-host-device"] = "detach-host-device"
