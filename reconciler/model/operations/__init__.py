"""What an action does. Every operation is idempotent: repeated where it was done, it changes nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reconciler.model.operations.devices import (
    AttachDisk,
    AttachHostDevice,
    AttachInterface,
    ChangeMedia,
    DetachDisk,
    DetachHostDevice,
    DetachInterface,
    GrowDisk,
    PinCpus,
    SetLimits,
)
from reconciler.model.operations.domains import (
    Define,
    DeleteSnapshot,
    Mark,
    Redefine,
    RestoreSnapshot,
    SetAutostart,
    SetCpus,
    SetDescription,
    SetMemory,
    Start,
    Stop,
    TakeSnapshot,
    Undefine,
    Unmark,
)
from reconciler.model.operations.images import (
    DeleteImage,
    EnsureImage,
)
from reconciler.model.operations.networks import (
    DefineNetwork,
    ReleaseAddress,
    ReserveAddress,
    RestartNetwork,
    SetNetworkAutostart,
    StartNetwork,
    UndefineNetwork,
    UpdateNetwork,
)
from reconciler.model.operations.volumes import (
    ClaimVolume,
    CreateVolume,
    DefinePool,
    DeleteVolume,
    DiscardVolume,
    PutSeed,
    ReleaseVolume,
    ResizeVolume,
    SeedFile,
    SetPoolAutostart,
    SnapshotVolume,
    StartPool,
    UndefinePool,
)

Operation = Annotated[
    EnsureImage
    | DeleteImage
    | CreateVolume
    | PutSeed
    | Define
    | Redefine
    | Start
    | Stop
    | TakeSnapshot
    | RestoreSnapshot
    | DeleteSnapshot
    | SetMemory
    | SetCpus
    | SetDescription
    | SetAutostart
    | AttachDisk
    | DetachDisk
    | GrowDisk
    | AttachInterface
    | DetachInterface
    | SetLimits
    | ChangeMedia
    | PinCpus
    | AttachHostDevice
    | DetachHostDevice
    | Mark
    | Unmark
    | Undefine
    | DeleteVolume
    | DefinePool
    | StartPool
    | SetPoolAutostart
    | UndefinePool
    | ResizeVolume
    | SnapshotVolume
    | DiscardVolume
    | ClaimVolume
    | ReleaseVolume
    | DefineNetwork
    | StartNetwork
    | SetNetworkAutostart
    | UpdateNetwork
    | RestartNetwork
    | UndefineNetwork
    | ReserveAddress
    | ReleaseAddress,
    Field(discriminator="kind"),
]

__all__ = [
    "AttachDisk",
    "AttachHostDevice",
    "AttachInterface",
    "ChangeMedia",
    "ClaimVolume",
    "CreateVolume",
    "Define",
    "DefineNetwork",
    "DefinePool",
    "DeleteImage",
    "DeleteSnapshot",
    "DeleteVolume",
    "DetachDisk",
    "DetachHostDevice",
    "DetachInterface",
    "DiscardVolume",
    "EnsureImage",
    "GrowDisk",
    "Mark",
    "Operation",
    "PinCpus",
    "PutSeed",
    "Redefine",
    "ReleaseAddress",
    "ReleaseVolume",
    "ReserveAddress",
    "ResizeVolume",
    "RestartNetwork",
    "RestoreSnapshot",
    "SeedFile",
    "SetAutostart",
    "SetCpus",
    "SetDescription",
    "SetLimits",
    "SetMemory",
    "SetNetworkAutostart",
    "SetPoolAutostart",
    "SnapshotVolume",
    "Start",
    "StartNetwork",
    "StartPool",
    "Stop",
    "TakeSnapshot",
    "Undefine",
    "UndefineNetwork",
    "UndefinePool",
    "Unmark",
    "UpdateNetwork",
]
