"""Small guests for the lab, built from Debian packages without installing any and without loop devices.

- ``halt``: a boot sector that says "halt" on the serial port and then costs no processor time; it
  ignores the power button, which makes it the guest for forced shutdowns and for scale.
- ``tiny``: Debian's cloud kernel and busybox on a FAT disk. Boots from its disk, asks for an address by
  DHCP, answers on port 80 (its state as text) and on 2323 (a shell), follows the power button, takes
  processors, memory, disks and cards while it runs, and counts its boots on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.lab import initramfs, kernel
from reconciler.lab.packages import GUEST_PACKAGES

TINY: Final = Path(__file__).with_name("tiny")
"""Folder of the scripts that run inside the tiny guest."""

MODULES: Final = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_balloon",
    "virtio_console",
    "virtio_rng",
    "virtio_scsi",
    "virtiofs",
    "ata_piix",
    "sd_mod",
    "sr_mod",
    "isofs",
    "evdev",
    "button",
    "nls_ascii",
    "nls_cp437",
    "vfat",
)
"""Kernel modules that the tiny guest needs; those that they need in turn are added."""

SYSLINUX_CFG: Final = """\
DEFAULT tiny
PROMPT 0
TIMEOUT 0
LABEL tiny
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet rdinit=/init memhp_default_state=online panic=10 mitigations=off
"""

TINY_MIB: Final = 24
HALT_MIB: Final = 1


@dataclass(frozen=True, slots=True)
class Guests:
    """Paths of the built guests.

    Attributes:
        halt: The halting boot sector as qcow2.
        halt_raw: The same as a raw image.
        tiny: The small Linux as qcow2.
        digests: sha256 of each file in hexadecimal.
    """

    halt: Path
    halt_raw: Path
    tiny: Path
    digests: dict[Path, str]


def build_guests(cache: Path, *, progress: Callable[[str], None] = lambda _line: None) -> Guests:
    """Build the guests, or take them from the cache while the recipe is the same.

    Args:
        cache: Folder for the results; made when missing.
        progress: Called with a line for each step.

    Raises:
        LabError: A package cannot be fetched, or a tool failed.
    """
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    cached = _from_cache(cache)
    if cached is not None:
        return cached
    with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as name:
        work = Path(name)
        progress("guests: fetching Debian packages")
        kernel.unpack_packages(work)
        progress("guests: building")
        names = [*_build_halt(work), _build_tiny(work)]
        for file in names:
            (work / file).replace(cache / file)
    digests = {file: _sha256(cache / file) for file in names}
    (cache / "recipe.json").write_text(json.dumps({"recipe": recipe(), "sha256": digests}, indent=2) + "\n")
    return _guests(cache, digests)


def recipe() -> str:
    """Digest of all that decides what is built, package versions aside."""
    parts = [*MODULES, *GUEST_PACKAGES, SYSLINUX_CFG, str(TINY_MIB), halt_sector().hex()]
    parts += [path.name + path.read_text() for path in sorted(TINY.iterdir())]
    parts += [Path(__file__).read_text(), Path(initramfs.__file__).read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _from_cache(cache: Path) -> Guests | None:
    """The cached guests if they are whole and of this recipe."""
    try:
        record = json.loads((cache / "recipe.json").read_text())
        digests = dict(record["sha256"])
        fits = record["recipe"] == recipe()
        if fits and all(_sha256(cache / file) == digest for file, digest in digests.items()):
            return _guests(cache, digests)
    except (OSError, ValueError, KeyError):
        return None
    return None


def _guests(cache: Path, digests: dict[str, str]) -> Guests:
    return Guests(
        halt=cache / "halt.qcow2",
        halt_raw=cache / "halt.img",
        tiny=cache / "tiny.qcow2",
        digests={cache / file: digest for file, digest in sorted(digests.items())},
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- the halting guest ---------------------------------------------------------------------------------


def halt_sector() -> bytes:
    """A boot sector that prints "halt" to COM1 and then halts the processor for good."""
    origin, text = 0x7C00, b"halt\r\n\0"
    load = bytes.fromhex("31c0 8ed8 be")  # xor ax, ax; mov ds, ax; mov si, <address of the text>
    rest = bytes.fromhex(
        "baf803"  # mov dx, 0x3f8: COM1
        "ac"  # next: lodsb
        "84c0"  # test al, al
        "7403"  # jz stop
        "ee"  # out dx, al
        "ebf8"  # jmp next
        "fa"  # stop: cli
        "f4"  # again: hlt
        "ebfd"  # jmp again
    )
    address = origin + len(load) + 2 + len(rest)
    code = load + address.to_bytes(2, "little") + rest
    return (code + text).ljust(510, b"\0") + b"\x55\xaa"


def _build_halt(work: Path) -> list[str]:
    """Write the halting guest as raw and as qcow2; names of the files."""
    (work / "halt.img").write_bytes(halt_sector().ljust(HALT_MIB << 20, b"\0"))
    kernel.to_qcow2(work / "halt.img", work / "halt.qcow2")
    return ["halt.img", "halt.qcow2"]


# -- the small Linux -----------------------------------------------------------------------------------


def _build_tiny(work: Path) -> str:
    """Write the small Linux as qcow2; name of the file."""
    root = work / "root"
    (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
    shutil.copy(vmlinuz, work / "vmlinuz")
    (work / "initrd").write_bytes(tiny_initramfs(root))
    (work / "syslinux.cfg").write_text(SYSLINUX_CFG)
    disk = work / "tiny.img"
    with disk.open("wb") as stream:
        stream.truncate(TINY_MIB << 20)
    sectors = str((TINY_MIB << 20) // 512)
    kernel.with_tools(
        root, ["mformat", "-i", str(disk), "-T", sectors, "-h", "16", "-s", "63", "-N", "7E1C0DE5", "::"]
    )
    for name in ("vmlinuz", "initrd", "syslinux.cfg"):
        os.utime(work / name, (int(kernel.EPOCH), int(kernel.EPOCH)))
        kernel.with_tools(root, ["mcopy", "-m", "-i", str(disk), str(work / name), "::"])
    kernel.with_tools(root, ["syslinux", "--install", str(disk)])
    kernel.to_qcow2(disk, work / "tiny.qcow2")
    return "tiny.qcow2"


def tiny_initramfs(root: Path) -> bytes:
    """The tiny guest's initial RAM file system: left uncompressed, unpacking costs more than reading.

    Args:
        root: Folder with the unpacked kernel package.

    Raises:
        LabError: The kernel lacks a module that the guest needs.
    """
    modules = kernel.modules(root, MODULES)
    folders = ("bin", "dev", "proc", "sys", "run", "disk", "modules", "www", "www/cgi-bin")
    scripts = {"init": "init", "bin/hotplug": "hotplug", "bin/lease": "lease", "bin/off": "off"}
    scripts["bin/agent"] = "agent"
    scripts["www/cgi-bin/index.cgi"] = "status.cgi"
    return initramfs.pack(
        [
            *(initramfs.folder(path) for path in folders),
            initramfs.character_device("dev/console", 5, 1),
            initramfs.executable("bin/busybox", Path("/usr/bin/busybox").read_bytes()),
            initramfs.link("bin/sh", "busybox"),
            *(initramfs.executable(path, (TINY / name).read_bytes()) for path, name in scripts.items()),
            *(initramfs.plain(f"modules/{name}.ko", content) for name, content in modules.items()),
            initramfs.plain("modules/order", " ".join(modules).encode()),
        ]
    )
