"""Storage pools and what lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CreateVolume:
    """Make a blank disk, a qcow2 overlay on `backing` (a volume of the same pool), or a copy of `source`.

    `size` is bytes; None takes the backing volume's.  An existing volume of the name is kept as it is, unless
    it is a copy that was begun and not finished: such a one is made anew.  `source` lies in `source_pool`.
    """

    pool: str
    volume: str
    format: str
    size: int | None
    backing: str | None = None
    backing_format: str | None = None
    source: str | None = None
    source_pool: str | None = None
    kind: Literal["create-volume"] = "create-volume"


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file of a cloud-init seed, in which secrets are still references.

    Attributes:
        name: ``user-data``, ``meta-data``, ``network-config`` or ``vendor-data``.
        form: What `content` is: ``text`` as it is; ``yaml`` or ``cloud-config``, JSON of the data;
            ``secret``, JSON of the reference to a secret that is the whole file.
        content: See `form`.
    """

    name: str
    form: Literal["text", "yaml", "cloud-config", "secret"]
    content: str


@dataclass(frozen=True, slots=True)
class PutSeed:
    """Write the ISO with a machine's cloud-init files into a pool, over the one that is there.

    Its bytes are made while it is pushed, in memory: the secrets are in no plan.
    """

    pool: str
    volume: str
    digest: str
    files: tuple[SeedFile, ...]
    kind: Literal["put-seed"] = "put-seed"


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete a disk that we made, by its path. Only volumes that carry the machine's uid qualify."""

    path: str
    kind: Literal["delete-volume"] = "delete-volume"


@dataclass(frozen=True, slots=True)
class DefinePool:
    """Define a storage pool; the folder of a `dir` pool is made where it is missing.

    `source` is the volume group, Ceph pool or zpool, for netfs ``host:path``; `hosts` are ``name[:port]``;
    `auth` is ``user:uuid`` of a libvirt secret.  A pool of the name is kept as it is.
    """

    pool: str
    uuid: str
    type: str
    path: str = ""
    source: str = ""
    devices: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    auth: str | None = None
    kind: Literal["define-pool"] = "define-pool"


@dataclass(frozen=True, slots=True)
class StartPool:
    """Start a pool of ours; already active is success."""

    pool: str
    uuid: str
    kind: Literal["start-pool"] = "start-pool"


@dataclass(frozen=True, slots=True)
class SetPoolAutostart:
    """Start a pool of ours with its host, or not."""

    pool: str
    uuid: str
    autostart: bool
    kind: Literal["set-pool-autostart"] = "set-pool-autostart"


@dataclass(frozen=True, slots=True)
class UndefinePool:
    """Stop and undefine a pool of ours that no domain uses; whatever lies in it stays."""

    pool: str
    uuid: str
    kind: Literal["undefine-pool"] = "undefine-pool"


@dataclass(frozen=True, slots=True)
class ResizeVolume:
    """Grow a volume that no domain uses to `size` bytes; never shrinks it."""

    pool: str
    volume: str
    size: int
    kind: Literal["resize-volume"] = "resize-volume"


@dataclass(frozen=True, slots=True)
class SnapshotVolume:
    """Take a snapshot inside of a qcow2 volume, go back to it, or delete it, while nothing has it open.

    `users` are uids of machines that may have it, and are off.  To take one that is there, or to delete one
    that is not, is success.
    """

    pool: str
    volume: str
    name: str
    act: Literal["take", "restore", "delete"]
    users: tuple[str, ...] = ()
    kind: Literal["snapshot-volume"] = "snapshot-volume"


@dataclass(frozen=True, slots=True)
class DiscardVolume:
    """Delete a volume that carries our naming and the action's uid, and that no domain uses."""

    pool: str
    volume: str
    kind: Literal["discard-volume"] = "discard-volume"


@dataclass(frozen=True, slots=True)
class ClaimVolume:
    """Say in a shared pool that the volume with this uid belongs to the action's machine now.

    Refused while another machine says so; those in `stale` are provably gone, and their claims are removed.
    """

    pool: str
    volume_uid: str
    stale: tuple[str, ...] = ()
    kind: Literal["claim-volume"] = "claim-volume"


@dataclass(frozen=True, slots=True)
class ReleaseVolume:
    """Take back what `ClaimVolume` said for these machines; no claim is success."""

    pool: str
    volume_uid: str
    machines: tuple[str, ...]
    kind: Literal["release-volume"] = "release-volume"
