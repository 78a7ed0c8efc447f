"""Parts of a domain's hardware beyond disks and interfaces, as `DomainConfig` carries them.

What is just a word or two is text, so that it reads well in a plan: ``pci:0000:65:00.0``, ``i6300esb:reset``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IoLimits:
    """What a disk may do in a second; 0 is no limit.

    Attributes:
        total_bytes: Read and written together, bytes.
        read_bytes: Bytes.
        write_bytes: Bytes.
        total_iops: Requests of both kinds together.
        read_iops: Requests.
        write_iops: Requests.
    """

    total_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    total_iops: int = 0
    read_iops: int = 0
    write_iops: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """What the guest takes its cpus for; the product is the most that it can have."""

    sockets: int = 1
    dies: int = 1
    cores: int = 1
    threads: int = 1

    @property
    def product(self) -> int:
        """How many cpus that makes."""
        return self.sockets * self.dies * self.cores * self.threads


@dataclass(frozen=True, slots=True)
class NumaCell:
    """A node that the guest sees.

    Attributes:
        cpus: A set of its cpus, ``0-3,8``.
        memory: Bytes.
    """

    cpus: str
    memory: int


@dataclass(frozen=True, slots=True)
class CdromConfig:
    """A CD-ROM drive, identified by its target.

    Attributes:
        target: Device name, ``sda``.
        bus: libvirt's bus word.
        path: What is in it, or None: the tray is empty.
        name: The user's name of it; None when the domain is not ours.
    """

    target: str
    bus: str
    path: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class GraphicsConfig:
    """A screen that can be looked at from outside.

    Attributes:
        type: ``vnc``, ``spice`` or another word of libvirt's.
        listen: Address, or None: the host's default.
        port: TCP port, or None: a free one.
    """

    type: str
    listen: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class FilesystemConfig:
    """A folder of the host in the guest.

    Attributes:
        tag: What the guest mounts it by.
        source: Absolute path on the host.
        driver: ``virtiofs`` or ``9p``.
    """

    tag: str
    source: str
    driver: str = "virtiofs"
