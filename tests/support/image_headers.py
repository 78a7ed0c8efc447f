"""First bytes of image files, with what is to be said of them: on the controller and on a host alike."""

from __future__ import annotations

import struct

GIB = 1 << 30


def qcow2(
    size: int = GIB,
    *,
    backing: int = 0,
    features: int = 0,
    version: int = 3,
    encryption: int = 0,
    extensions: bytes = b"",
) -> bytes:
    """A qcow2 header (as QEMU's interop/qcow2 describes it) and some padding."""
    header = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 0, 16, size, encryption).ljust(72, b"\0")
    if version == 3:
        header = (header + struct.pack(">Q", features)).ljust(100, b"\0") + struct.pack(">I", 104)
    return header + extensions + bytes(512)


def _extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">II", kind, len(content)) + content.ljust((len(content) + 7) // 8 * 8, b"\0")


_FORMAT = _extension(0xE2792ACA, b"raw")
_DATA_FILE = _extension(0x44415441, b"secret.raw")

HEADERS: dict[str, tuple[str, bytes, str]] = {
    "sound": ("qcow2", qcow2(), ""),
    "version 2": ("qcow2", qcow2(version=2), ""),
    "other extensions": ("qcow2", qcow2(extensions=_extension(0x6803F857, b"x" * 48)), ""),
    "lazy refcounts, not closed": ("qcow2", qcow2(features=1), ""),
    "backing file": ("qcow2", qcow2(backing=4096), "has a backing file"),
    "data file": ("qcow2", qcow2(features=1 << 2), "has an external data file"),
    "data file by its name alone": (
        "qcow2",
        qcow2(extensions=_FORMAT + _DATA_FILE),
        "has an external data file",
    ),
    "encrypted by AES": ("qcow2", qcow2(encryption=1), "is encrypted"),
    "encrypted by LUKS": ("qcow2", qcow2(encryption=2, version=2), "is encrypted"),
    "corrupt": ("qcow2", qcow2(features=1 << 1), "is marked as corrupt"),
    "version 1": ("qcow2", qcow2(version=1), "version 1"),
    "empty": ("qcow2", b"", "is not qcow2"),
    "zeros": ("qcow2", bytes(512), "is not qcow2"),
    "cut short": ("qcow2", qcow2()[:20], "is not qcow2"),
    "an endless extension": ("qcow2", qcow2(extensions=struct.pack(">II", 7, 0xFFFFFFFF)), ""),
    "a header longer than the file": ("qcow2", qcow2()[:100] + b"\xff" * 4, ""),
    "raw": ("raw", bytes(512), ""),
    "raw and empty": ("raw", b"", ""),
    "raw with a boot sector": ("raw", b"\xfa\xf4\xeb\xfd" + bytes(506) + b"\x55\xaa", ""),
    "raw that is probed as qcow2": ("raw", qcow2(backing=4096), "begins like qcow2"),
    "raw that is probed as vmdk": ("raw", b"KDMV" + bytes(512), "begins like vmdk"),
    "raw that is probed as a vmdk descriptor": ("raw", b"# Disk DescriptorFile\n", "begins like vmdk"),
    "raw that is probed as vhdx": ("raw", b"vhdxfile" + bytes(512), "begins like vhdx"),
    "raw that is encrypted": ("raw", b"LUKS\xba\xbe" + bytes(512), "begins like luks"),
}
"""Name to the stated format, the bytes, and words of the mistake; empty for a sound one."""
