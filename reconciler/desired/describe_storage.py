"""What editors show for pools and volumes; see `descriptions`."""

from __future__ import annotations

from collections.abc import Mapping

STORAGE: Mapping[str, Mapping[str, str]] = {
    "StoragePoolSpec": {
        "hosts": "On which hosts it shall be; without it on all.",
        "type": "dir, logical (LVM), netfs (NFS), rbd (Ceph) or zfs.",
        "path": "The folder where its volumes appear (dir), or the mount point (netfs).",
        "source": "Where its bytes come from; a dir pool has none.",
        "shared": "All its hosts see the same bytes.",
        "autostart": "Started by libvirt together with its host.",
        "warnBelow": "Free space under which the host carries a warning, for example 50Gi.",
    },
    "PoolSource": {
        "name": "The volume group (logical), the Ceph pool (rbd) or the zpool (zfs).",
        "host": "The NFS server (netfs).",
        "path": "What the NFS server exports (netfs).",
        "devices": "Physical volumes of the volume group, for example /dev/sdb (logical).",
        "hosts": "Ceph monitors, name or name:port (rbd).",
        "user": "Ceph user, without client. in front (rbd); goes with secret.",
        "secret": "UUID of the libvirt secret on the host that holds the user's key (rbd).",
    },
    "VolumeSpec": {
        "size": "For example 10Gi. It can grow, never shrink.",
        "pool": "Storage pool; without it the host's default. It is chosen once.",
        "host": "Where it is made; without it where its first machine is.",
        "format": "qcow2 or raw. It is chosen once; pools of devices have raw only.",
        "attachTo": "The machine that has it; the other way is volume: in the machine's disks.",
        "source": "What it begins as; without it it is blank.",
        "shared": "Several machines may have it at once; their guests must know how.",
        "deletionPolicy": "What becomes of the data when the manifest is removed: Retain or Delete.",
    },
    "AttachTo": {
        "machine": "Name of the VirtualMachine.",
        "name": "What the disk is called in the machine. Default: the volume's name.",
        "bus": "How the guest sees it; virtio and scsi can be plugged while the machine runs.",
    },
    "VolumeSource": {
        "volume": "Name of a Volume on the same host, which no running machine has.",
        "image": "Name of an Image; the volume is a full copy of it.",
    },
}
