"""The snapshots inside of a qcow2 volume, read from the file itself: libvirt knows nothing of them.

The layout is that of QEMU's docs/interop/qcow2.txt: the header says how many there are and where they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import libvirt

from reconciler.model.host import Host
from reconciler.model.snapshot import Snapshot
from reconciler.observed.ask import ask

_HEADER = struct.Struct(">60xIQ")
"""Of it the number of snapshots and the offset of their table."""
_ENTRY = struct.Struct(">QIHHIIQII")
"""Begin of an entry; then extra data, id and name follow, up to a multiple of eight bytes."""
_MAGIC = b"QFI\xfb"
_LARGEST_TABLE = 1 << 20
"""Bytes; QEMU writes at most 65,536 snapshots, and people a handful."""


def read_volume_snapshots(host: Host, pool: str, volume: str) -> tuple[Snapshot, ...]:
    """The snapshots in a volume, oldest first; none of one that is not qcow2.

    Raises:
        HostError: The host does not answer, or the volume is gone.
    """

    def question(raw: libvirt.virConnect) -> tuple[Snapshot, ...]:
        found = raw.storagePoolLookupByName(pool).storageVolLookupByName(volume)
        header = _bytes(raw, found, 0, _HEADER.size)
        if len(header) < _HEADER.size or header[:4] != _MAGIC:
            return ()
        count, offset = _HEADER.unpack(header)
        table = _bytes(raw, found, offset, _LARGEST_TABLE) if count else b""
        return tuple(sorted(parse_table(table, count), key=lambda one: (one.created, one.name)))

    return ask(host, question)


def parse_table(table: bytes, count: int) -> Iterator[Snapshot]:
    """The snapshots of a table that may go on with other things; one that is cut off ends it."""
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(table):
            return
        _, _, id_size, name_size, seconds, _, _, state_size, extra_size = _ENTRY.unpack_from(table, at)
        begin = at + _ENTRY.size + extra_size + id_size
        end = begin + name_size
        if end > len(table):
            return
        name = table[begin:end].decode(errors="replace")
        yield Snapshot(name=name, created=float(seconds), state="", memory=state_size > 0)
        at = (end + 7) & ~7


def _bytes(raw: libvirt.virConnect, volume: libvirt.virStorageVol, offset: int, length: int) -> bytes:
    """So many bytes of the file, or fewer where it ends."""
    stream = raw.newStream(0)
    volume.download(stream, offset, length, 0)
    found = bytearray()
    while len(found) < length:
        chunk = stream.recv(min(length - len(found), 256 << 10))
        if not chunk:
            break
        found += chunk
    if len(found) < length:
        stream.finish()
    else:
        stream.abort()
    return bytes(found)
