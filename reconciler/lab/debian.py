"""A whole Debian as a disk image: systemd, cloud-init, sshd and the QEMU guest agent.

Made without installing anything here and without loop devices: mmdebstrap builds the folder, `mkfs.ext4 -d`
the root file system, and syslinux on a small FAT partition boots it by BIOS.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reconciler.errors import LabError
from reconciler.lab import initramfs, kernel
from reconciler.lab.packages import DEBIAN_COMMANDS, GUEST_PACKAGES, missing_packages
from reconciler.lab.process import run

SCRIPTS: Final = Path(__file__).with_name("debian_guest")
"""Folder of the scripts that make it and boot it."""

PACKAGES: Final = (
    "cloud-guest-utils",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "openssh-server",
    "python3-minimal",
    "qemu-guest-agent",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
)
"""What is in it besides Debian's essential packages."""

UNPACKED: Final = (*GUEST_PACKAGES, "syslinux-common")
"""Where its kernel and its boot loader come from."""

BOOT_MODULES: Final = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix")
"""Kernel modules for finding the root file system; ext4 is in the kernel."""

MODULES: Final = (
    *BOOT_MODULES,
    "virtio_net",
    "virtio_balloon",
    "virtio_console",
    "virtio_rng",
    "virtio_mem",
    "virtiofs",
    "sr_mod",
    "isofs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "nls_utf8",
    "evdev",
    "button",
    "qemu_fw_cfg",
)
"""Kernel modules of the running system."""

# Checksums that a card would fill in get lost in Open vSwitch's user space: the guest fills them in itself.
MODPROBE: Final = "options virtio_net csum=0 gso=0\n"

SYSLINUX_CFG: Final = """\
DEFAULT debian
PROMPT 0
TIMEOUT 0
LABEL debian
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet loglevel=3 rdinit=/init memhp_default_state=online panic=10 mitigations=off \
net.ifnames=0 systemd.show_status=0
"""

BOOT_START: Final = 2048
BOOT_SECTORS: Final = 48 << 11
ROOT_START: Final = BOOT_START + BOOT_SECTORS
ROOT_SECTORS: Final = 900 << 11
SECTOR: Final = 512
"""The disk's layout in sectors of so many bytes: a FAT partition, and the root file system to the end."""


def build_debian(cache: Path, *, progress: Callable[[str], None] = lambda _line: None) -> Path:
    """Build the Debian guest, or take it from the cache while recipe and packages are the same.

    Args:
        cache: Folder for the result; made when missing.
        progress: Called with a line for each step.

    Returns:
        ``debian.qcow2`` in the cache: about a GiB virtual, boots by BIOS, logs to the first serial port.

    Raises:
        LabError: Not root, a package cannot be fetched, or a tool failed.
    """
    missing = missing_packages(DEBIAN_COMMANDS)
    if missing:
        raise LabError(f"the Debian guest needs Debian packages: {', '.join(missing)}")
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    target, record, wanted = cache / "debian.qcow2", cache / "debian.json", recipe()
    if target.exists() and _recorded(record) == wanted:
        return target
    with tempfile.TemporaryDirectory(dir=cache, prefix=".debian-") as name:
        work = Path(name)
        progress("debian: fetching and unpacking packages, a minute or two")
        unpacked = kernel.unpack_packages(work, UNPACKED)
        system = _bootstrap(work)
        _add_kernel(unpacked, system)
        progress("debian: building the disk")
        disk = _build_disk(work, unpacked, system)
        kernel.to_qcow2(disk, work / target.name)
        record.unlink(missing_ok=True)
        (work / target.name).replace(target)
    record.write_text(json.dumps({"recipe": wanted}) + "\n")
    return target


def recipe() -> str:
    """Digest of all that decides what is built, the versions of the named packages too."""
    parts = [path.name + path.read_text() for path in sorted(SCRIPTS.iterdir())]
    parts += [Path(__file__).read_text(), Path(kernel.__file__).read_text()]
    policy = run(["apt-cache", "policy", *PACKAGES, *UNPACKED], check=False).stdout
    parts += [line for line in policy.splitlines() if "Candidate:" in line]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _recorded(record: Path) -> str:
    try:
        return str(json.loads(record.read_text())["recipe"])
    except (OSError, ValueError, KeyError):
        return ""


def _sources(work: Path) -> Path:
    """This machine's own Debian sources, and no others, as a file for apt."""
    # As deb822 or as lines, with whatever mirror: apt knows them all.
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", form, "Origin: Debian", "Created-By: Packages"]
    listed = run(argv).stdout
    lines = sorted(set(listed.splitlines()))
    if not lines:
        raise LabError("apt knows no packages of Debian", hint="apt-get update")
    path = work / "sources.list"
    path.write_text("\n".join(lines) + "\n")
    return path


def _bootstrap(work: Path) -> Path:
    """Make the system's folder with mmdebstrap."""
    system = work / "system"
    suite = run(["sh", "-c", ". /etc/os-release && echo $VERSION_CODENAME"]).stdout.strip()
    excluded = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    argv += [f"--dpkgopt=path-exclude={path}" for path in excluded]
    argv += ["--aptopt=Apt::Install-Recommends false", *_proxies(), f"--include={','.join(PACKAGES)}"]
    argv += [f"--customize-hook={SCRIPTS / 'customize'}", suite, str(system), str(_sources(work))]
    run(["env", f"TMPDIR={work}", *argv], timeout=900)
    return system


def _proxies() -> list[str]:
    """What this machine's apt is told of proxies, for mmdebstrap's apt."""
    lines = run(["apt-config", "dump", "Acquire"]).stdout.splitlines()
    return [f"--aptopt={line.rstrip(';')}" for line in lines if "::Proxy " in line]


def _add_kernel(unpacked: Path, system: Path) -> None:
    """Put the modules, and what udev and modprobe need to find them, into the system."""
    (source,) = (unpacked / "lib/modules").iterdir()
    target = system / "lib/modules" / source.name
    (target / "kernel").mkdir(parents=True)
    for name, content in kernel.modules(unpacked, MODULES).items():
        (target / f"kernel/{name}.ko").write_bytes(content)
    for path in source.glob("modules.*"):
        shutil.copy(path, target)
    (system / "etc/modprobe.d/lab.conf").write_text(MODPROBE)
    run(["chroot", str(system), "depmod", source.name], timeout=60)


def _build_disk(work: Path, unpacked: Path, system: Path) -> Path:
    """Write the raw disk: partition table, boot partition, root file system."""
    disk = work / "debian.img"
    with disk.open("wb") as stream:
        stream.write((unpacked / "usr/lib/syslinux/mbr/mbr.bin").read_bytes())
        stream.truncate((ROOT_START + ROOT_SECTORS) * SECTOR)
    table = ["label: dos", f"start={BOOT_START}, size={BOOT_SECTORS}, type=c, bootable"]
    table += [f"start={ROOT_START}, type=83"]
    run(["sfdisk", "--quiet", str(disk)], stdin="\n".join(table) + "\n")
    offset = f"offset={ROOT_START * SECTOR}"
    size = f"{ROOT_SECTORS * SECTOR // 1024}k"
    argv = ["mkfs.ext4", "-q", "-F", "-L", "debian", "-m", "0", "-d", str(system), "-E"]
    run([*argv, f"{offset},lazy_itable_init=1", str(disk), size], timeout=300)
    _write_boot(work, unpacked, disk)
    return disk


def _write_boot(work: Path, unpacked: Path, disk: Path) -> None:
    """Fill the FAT partition: boot loader, kernel, initial RAM disk."""
    (vmlinuz,) = (unpacked / "boot").glob("vmlinuz-*")
    shutil.copy(vmlinuz, work / "vmlinuz")
    (work / "initrd").write_bytes(_initramfs(unpacked))
    (work / "syslinux.cfg").write_text(SYSLINUX_CFG)
    place = f"{disk}@@{BOOT_START * SECTOR}"
    shape = ["-T", str(BOOT_SECTORS), "-h", "16", "-s", "63", "-H", str(BOOT_START), "-v", "BOOT"]
    kernel.with_tools(unpacked, ["mformat", "-i", place, *shape, "::"])
    for name in ("vmlinuz", "initrd", "syslinux.cfg"):
        os.utime(work / name, (int(kernel.EPOCH), int(kernel.EPOCH)))
        kernel.with_tools(unpacked, ["mcopy", "-m", "-i", place, str(work / name), "::"])
    kernel.with_tools(unpacked, ["syslinux", "--install", "--offset", str(BOOT_START * SECTOR), str(disk)])


def _initramfs(unpacked: Path) -> bytes:
    modules = kernel.modules(unpacked, BOOT_MODULES)
    return initramfs.pack(
        [
            *(initramfs.folder(path) for path in ("bin", "dev", "proc", "sys", "root", "modules")),
            initramfs.character_device("dev/console", 5, 1),
            initramfs.executable("bin/busybox", Path("/usr/bin/busybox").read_bytes()),
            initramfs.link("bin/sh", "busybox"),
            initramfs.executable("init", (SCRIPTS / "init").read_bytes()),
            *(initramfs.plain(f"modules/{name}.ko", content) for name, content in modules.items()),
            initramfs.plain("modules/order", " ".join(modules).encode()),
        ]
    )
