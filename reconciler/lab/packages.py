"""What the lab needs from Debian: the one list that set-up scripts and the preflight check share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEBIAN_PACKAGES: Final[tuple[str, ...]] = (
    "busybox-static",
    "dnsmasq-base",
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-lxc",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "openssh-client",
    "openssh-server",
    "python3",
    "qemu-system-x86",
    "qemu-utils",
    "util-linux",
)
"""Packages to install with apt before ``lab up``."""

EXTRA_PACKAGES: Final[tuple[str, ...]] = (
    "ceph-common",
    "ceph-mgr",
    "ceph-mon",
    "ceph-osd",
    "e2fsprogs",
    "fdisk",
    "libvirt-daemon-driver-storage-rbd",
    "mmdebstrap",
    "openvswitch-switch",
    "qemu-block-extra",
)
"""Packages that ``lab up --ceph``, ``--ovs`` and ``--debian`` need besides."""

GUEST_PACKAGES: Final[tuple[str, ...]] = ("linux-image-cloud-amd64", "mtools", "syslinux")
"""Packages that guests are built from: downloaded and unpacked into the cache, never installed."""

COMMANDS: Final[dict[str, str]] = {
    "busybox": "busybox-static",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "iptables": "iptables",
    "libvirtd": "libvirt-daemon",
    "nsenter": "util-linux",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "unshare": "util-linux",
    "virsh": "libvirt-clients",
}
"""Programs that the preflight check looks for, each with the package that brings it."""

FILES: Final[dict[str, str]] = {
    "/usr/bin/python3": "python3",
    "/etc/libvirt": "libvirt-daemon-system",
    "/var/lib/libvirt": "libvirt-daemon-system",
    "/var/log/libvirt": "libvirt-daemon-system",
    "/var/cache/libvirt": "libvirt-daemon-system",
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so": (
        "libvirt-daemon-driver-qemu"
    ),
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_lxc.so": (
        "libvirt-daemon-driver-lxc"
    ),
}
"""Paths that the preflight check looks for, each with the package that brings it."""

CEPH_COMMANDS: Final[dict[str, str]] = {
    "ceph": "ceph-common",
    "ceph-mgr": "ceph-mgr",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "rbd": "ceph-common",
}
"""Programs of the lab's Ceph."""

CEPH_FILES: Final[dict[str, str]] = {
    "/usr/lib/x86_64-linux-gnu/libvirt/storage-backend/libvirt_storage_backend_rbd.so": (
        "libvirt-daemon-driver-storage-rbd"
    ),
    "/usr/lib/x86_64-linux-gnu/qemu/block-rbd.so": "qemu-block-extra",
}
"""What the hosts need to use it."""

OVS_COMMANDS: Final[dict[str, str]] = {
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
}
"""Programs of Open vSwitch."""

DEBIAN_COMMANDS: Final[dict[str, str]] = {
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "sfdisk": "fdisk",
}
"""Programs that build the Debian guest."""


def missing_packages(commands: Mapping[str, str], files: Mapping[str, str] | None = None) -> list[str]:
    """Packages of which a program or a file is not there, in order."""
    missing = {package for name, package in commands.items() if not shutil.which(name, path=SEARCH_PATH)}
    missing |= {package for path, package in (files or {}).items() if not Path(path).exists()}
    return sorted(missing)
