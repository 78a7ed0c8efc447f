"""Whether the first bytes of an image's file are what the manifest states.

The format is stated, never probed: a guest that writes a qcow2 header into its raw disk would otherwise
choose what the host opens.  So a header is read only to refuse: a file stated to be raw that some program
would take for another format, and one stated to be qcow2 that is none, is encrypted, or names a further
file (backing file or external data file), which would be opened on the hosts.

A host looks in the same way at what it fetched itself, in ``playbooks/library``; one test holds both to
the same table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from reconciler.model.storage import DiskFormat

HEADER_BYTES = 4096
"""How much of a file has to be read for `mistake_in`."""

_MAGIC = b"QFI\xfb"
# Magic, version, backing file's offset and name length, cluster bits, virtual size, encryption: QEMU's
# interop/qcow2.
_HEADER = struct.Struct(">4sIQIIQI")
_INCOMPATIBLE_AT = 72
_EXTENSIONS_AT = {2: 72, 3: 100}
"""Where the header extensions begin; from version 3 on the length of the header stands at 100."""
_CORRUPT, _EXTERNAL_DATA = 1 << 1, 1 << 2
_DATA_FILE_NAME = 0x44415441
_NOT_RAW = {
    _MAGIC: "qcow2",
    b"QED\0": "qed",
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"# Disk DescriptorFile": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
    b"LUKS\xba\xbe": "luks, which is encrypted",
}
"""What QEMU would probe these first bytes to be."""
_FLATTEN = "flatten it with `qemu-img convert -O qcow2`"


def mistake_in(head: bytes, fmt: DiskFormat) -> str:
    """What is wrong with a file that begins with `head` and is stated to be `fmt`; empty if nothing is."""
    return next(_raw(head) if fmt is DiskFormat.RAW else _qcow2(head), "")


def virtual_size(head: bytes) -> int:
    """Bytes of the disk inside of a sound qcow2 file."""
    return int(_HEADER.unpack_from(head)[5])


def _raw(head: bytes) -> Iterator[str]:
    for magic, name in _NOT_RAW.items():
        if head.startswith(magic):
            yield f"is stated to be raw, but begins like {name}"


def _qcow2(head: bytes) -> Iterator[str]:
    if len(head) < _HEADER.size or head[:4] != _MAGIC:
        yield "is not qcow2 (its first bytes are not 'QFI\\xfb'): is its format raw?"
        return
    _, version, backing_offset, _, _, _, encryption = _HEADER.unpack_from(head)
    if version not in (2, 3):
        yield f"is qcow2 of version {version}; 2 and 3 are known"
        return
    if backing_offset:
        yield f"has a backing file: {_FLATTEN}"
    if encryption:
        yield "is encrypted: nothing could boot from it"
    features = struct.unpack_from(">Q", head, _INCOMPATIBLE_AT)[0] if version == 3 and len(head) >= 80 else 0
    if features & _EXTERNAL_DATA or _DATA_FILE_NAME in _extensions(head, version):
        yield f"has an external data file: {_FLATTEN}"
    if features & _CORRUPT:
        yield "is marked as corrupt: `qemu-img check` tells more"


def _extensions(head: bytes, version: int) -> set[int]:
    """Types of the header's extensions, as far as `head` reaches."""
    at = _EXTENSIONS_AT[version]
    if version == 3:
        at = struct.unpack_from(">I", head, at)[0] if len(head) >= at + 4 else len(head)
    found: set[int] = set()
    while len(head) >= at + 8:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        found.add(kind)
        at += 8 + (length + 7) // 8 * 8
    return found
