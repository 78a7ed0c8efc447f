"""What the lab needs from Debian: the one list that set-up scripts and the preflight check share."""

from __future__ import annotations

from typing import Final

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
