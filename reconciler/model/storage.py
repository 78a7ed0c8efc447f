"""Where bytes live: StoragePool, Volume and Image, as they stand in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from reconciler.model.envelope import (
    API_VERSION,
    ApiVersion,
    Architecture,
    Identifier,
    Manifest,
    Metadata,
    Name,
    refuse,
)
from reconciler.model.units import Size


class Hosts(Manifest):
    """On which hosts of the inventory an object shall be: those named, and those whose labels match.

    With neither it is meant for every host.
    """

    names: tuple[Name, ...] = ()
    selector: dict[str, str] = {}


class DeletionPolicy(StrEnum):
    """What becomes of the data when the object is removed."""

    RETAIN = "Retain"
    DELETE = "Delete"


class DiskBus(StrEnum):
    """How a disk is attached."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"


class DiskFormat(StrEnum):
    """Format of a disk or image; stated, never probed."""

    QCOW2 = "qcow2"
    RAW = "raw"


class PoolType(StrEnum):
    """libvirt's pool types that we make."""

    DIR = "dir"
    LOGICAL = "logical"
    NETFS = "netfs"
    RBD = "rbd"
    ZFS = "zfs"


class PoolSource(Manifest):
    """Where the pool's bytes come from; which fields go together depends on the pool's type.

    ``name`` is the volume group (logical), the Ceph pool (rbd) or the zpool (zfs); ``host`` and ``path`` are
    the NFS server and its export; ``devices`` are the physical volumes of a volume group; ``hosts`` are Ceph
    monitors, ``name[:port]``; ``user`` and ``secret`` (the UUID of a libvirt secret on the host) are Ceph's.
    """

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")
    host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$")
    path: str | None = Field(default=None, pattern=r"^/[^\x00-\x1f]*$")
    devices: tuple[Annotated[str, Field(pattern=r"^/dev/[^\x00-\x20]+$")], ...] = ()
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9\[][A-Za-z0-9.:\[\]_-]*$")], ...] = ()
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")
    secret: str | None = Field(default=None, pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class StoragePoolSpec(Manifest):
    """A storage pool on every host that it is meant for.

    ``path`` is where its volumes appear: the folder (dir), the mount point (netfs); logical and zfs have one
    of their own.  ``shared`` means that all its hosts see the same bytes.  ``warn_below`` is the free space
    in bytes under which the host carries a warning.
    """

    hosts: Hosts = Hosts()
    type: PoolType = PoolType.DIR
    path: str | None = Field(default=None, pattern=r"^/[^\x00-\x1f]*$")
    source: PoolSource | None = None
    shared: StrictBool = False
    autostart: StrictBool = True
    warn_below: Size | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        source = self.source or PoolSource()
        kind = self.type
        if kind in (PoolType.DIR, PoolType.NETFS) and self.path is None:
            yield f"a {kind} pool needs a path, the folder where its volumes appear"
        if kind not in (PoolType.DIR, PoolType.NETFS) and self.path is not None:
            yield f"a {kind} pool takes no path"
        needed = {
            PoolType.DIR: (),
            PoolType.LOGICAL: ("name",),
            PoolType.NETFS: ("host", "path"),
            PoolType.RBD: ("name", "hosts"),
            PoolType.ZFS: ("name",),
        }[kind]
        allowed = {*needed, *_OPTIONAL.get(kind, ())}
        yield from (f"a {kind} pool needs source.{name}" for name in needed if not getattr(source, name))
        yield from (
            f"a {kind} pool takes no source.{name}"
            for name in PoolSource.model_fields
            if getattr(source, name) and name not in allowed
        )
        if (source.user is None) != (source.secret is None):
            yield "source.user and source.secret go together"


_OPTIONAL = {PoolType.LOGICAL: ("devices",), PoolType.RBD: ("user", "secret")}


class StoragePool(Manifest):
    """A storage pool that shall exist on hosts."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["StoragePool"] = "StoragePool"
    metadata: Metadata
    spec: StoragePoolSpec

    @property
    def name(self) -> str:
        """Unique among pools, and libvirt's name of it on every host."""
        return self.metadata.name


class AttachTo(Manifest):
    """The machine that a volume is plugged into, as what."""

    machine: Name
    name: Identifier | None = None
    bus: DiskBus = DiskBus.VIRTIO


class VolumeSource(Manifest):
    """What a new volume begins as: a copy of another volume or of an image."""

    volume: Name | None = None
    image: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.volume is None) == (self.image is None):
            raise ValueError("a volume comes from either a volume or an image")
        return self


class VolumeSpec(Manifest):
    """A disk with a life of its own. ``size`` is bytes; it grows and never shrinks.

    Without ``host`` it is made where its first machine is; a volume in a shared pool can be attached on any
    host that has the pool.  It belongs to one machine at a time unless ``shared``.
    """

    size: Size
    pool: Name | None = None
    host: Name | None = None
    format: DiskFormat = DiskFormat.QCOW2
    attach_to: AttachTo | None = None
    source: VolumeSource | None = None
    shared: StrictBool = False
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN


class Volume(Manifest):
    """A volume that shall exist."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Volume"] = "Volume"
    metadata: Metadata
    spec: VolumeSpec

    @property
    def name(self) -> str:
        """Unique among volumes."""
        return self.metadata.name


class VolumeRef(Manifest):
    """A volume that is on the host already: libvirt's names of its pool and of itself."""

    pool: Name
    name: str = Field(pattern=r"^[^/\x00-\x1f\x7f]{1,255}$")


class ImageSpec(Manifest):
    """A base disk: a file on the controller (``path``), one that hosts fetch (``url``), or their ``volume``.

    A relative path starts at the folder of the state repository.  A file's digest is worked out where it
    is not given.  The others need one: ``sha256``, ``sha512``, or (for a URL) ``checksums``, the URL of the
    file in which a distribution publishes the digests of its images.
    """

    path: str | None = None
    url: str | None = Field(default=None, pattern=r"^(https?|ftp)://[^\s]+$")
    volume: VolumeRef | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    sha512: str | None = Field(default=None, pattern=r"^[0-9a-f]{128}$")
    checksums: str | None = Field(default=None, pattern=r"^(https?|ftp)://[^\s]+$")
    format: DiskFormat = DiskFormat.QCOW2
    architecture: Architecture | None = None

    @property
    def digest(self) -> str:
        """Of the content, hexadecimal; empty while a checksum file has not told it."""
        return self.sha256 or self.sha512 or ""

    @property
    def source(self) -> str:
        """Where it comes from, in a word for people."""
        volume = f"volume {self.volume.pool}/{self.volume.name}" if self.volume else ""
        return self.path or self.url or volume

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        sources = [source for source in (self.path, self.url, self.volume) if source is not None]
        if len(sources) != 1:
            yield "an image has exactly one of path, url and volume"
        given = [digest for digest in (self.sha256, self.sha512, self.checksums) if digest is not None]
        if len(given) > 1:
            yield "an image takes one of sha256, sha512 and checksums"
        if self.url is not None and not given:
            yield "an image from a url needs its sha256, its sha512, or checksums: the url of a checksum file"
        if self.volume is not None and not given:
            yield "an image from a volume needs its sha256: `sha256sum FILE` on the host tells it"
        if self.checksums is not None and self.url is None:
            yield "checksums go with a url, whose last part names the file in them"


class Image(Manifest):
    """A base disk that root disks are laid over."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Image"] = "Image"
    metadata: Metadata
    spec: ImageSpec

    @property
    def name(self) -> str:
        """Unique among images."""
        return self.metadata.name
