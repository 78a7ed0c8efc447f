#!/usr/bin/python
# Copyright: the reconciler project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host: brings an image's file into its folder, piece by piece, and tells what lies over it.

A file grows as ``.NAME.part`` and gets its name only when it is whole, has the digest that was asked for
and is what its format says.  Whatever ends early leaves the part, and the next call goes on from there.
A lock on the part keeps two from writing at once, also where several hosts share the folder.

    do=fetch     read on from ``url``, for at most ``seconds``
    do=clone     read on from the file ``source`` of this host, likewise
    do=append    put the file ``piece`` at ``offset`` of the part; with ``last`` that was all
    do=chains    the files that each of ``paths`` lies over
    do=snapshot  take, restore or delete (``act``) a ``snapshot`` inside of the qcow2 file ``target``
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import struct
import subprocess
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

CHUNK = 1 << 20
HEADER_BYTES = 4096
ANSWER_WITHIN = 30
LONGEST_CHAIN = 200

MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQI")
INCOMPATIBLE_AT = 72
EXTENSIONS_AT = {2: 72, 3: 100}
CORRUPT, EXTERNAL_DATA = 1 << 1, 1 << 2
DATA_FILE_NAME = 0x44415441
NOT_RAW = {
    MAGIC: "qcow2",
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


class TroubleError(Exception):
    """It cannot be done: a CamelCase reason, a sentence, and whether to try the same again is pointless.

    `began` are the bytes that an earlier call left: they may be what was wrong.
    """

    def __init__(self, reason, message, terminal=False, began=0):
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.terminal = terminal
        self.began = began


# --- what a header says: as in reconciler/desired/image_header.py ----------------------------------------


def mistake_in(head, fmt):
    """What is wrong with a file that begins with `head` and is stated to be `fmt`; empty if nothing is."""
    return next(_raw(head) if fmt == "raw" else _qcow2(head), "")


def _raw(head):
    for magic, name in NOT_RAW.items():
        if head.startswith(magic):
            yield f"is stated to be raw, but begins like {name}"


def _qcow2(head):
    if len(head) < HEADER.size or head[:4] != MAGIC:
        yield "is not qcow2 (its first bytes are not 'QFI\\xfb'): is its format raw?"
        return
    _magic, version, backing_offset, _, _, _, encryption = HEADER.unpack_from(head)
    if version not in (2, 3):
        yield f"is qcow2 of version {version}; 2 and 3 are known"
        return
    if backing_offset:
        yield "has a backing file"
    if encryption:
        yield "is encrypted: nothing could boot from it"
    features = struct.unpack_from(">Q", head, INCOMPATIBLE_AT)[0] if version == 3 and len(head) >= 80 else 0
    if features & EXTERNAL_DATA or DATA_FILE_NAME in extensions(head, version):
        yield "has an external data file"
    if features & CORRUPT:
        yield "is marked as corrupt: `qemu-img check` tells more"


def extensions(head, version):
    """Types of the header's extensions, as far as `head` reaches."""
    at = EXTENSIONS_AT[version]
    if version == 3:
        at = struct.unpack_from(">I", head, at)[0] if len(head) >= at + 4 else len(head)
    found = set()
    while len(head) >= at + 8:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        found.add(kind)
        at += 8 + (length + 7) // 8 * 8
    return found


def chains(paths):
    """For each of these files those that it lies over, the nearest first; None where that cannot be told."""
    return {path: _chain(path) for path in paths}


def _chain(path):
    found = []
    while len(found) < LONGEST_CHAIN:
        try:
            below = _backing(path)
        except FileNotFoundError:
            return found
        except OSError:
            return None
        if below is None:
            return found
        path = str((Path(path).parent / below).resolve())
        found.append(path)
    return None


def _backing(path):
    with Path(path).open("rb") as file:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size or head[:4] != MAGIC:
            return None
        _magic, _version, offset, length = HEADER.unpack_from(head)[:4]
        if not offset or not 0 < length <= 1023:
            return None
        file.seek(offset)
        return os.fsdecode(file.read(length))


# --- a file that grows -----------------------------------------------------------------------------------


class Part:
    """The unfinished file, locked.

    Args:
        want: target, algorithm, digest and format of the whole file.
        wait: Seconds to wait for another writer.
    """

    def __init__(self, want, wait):
        self.want = want
        self.target = Path(want["target"])
        self.path = self.target.with_name(f".{self.target.name}.part")
        self.file = self._locked(time.monotonic() + wait)
        self.began = self.size() if self.file is not None else 0

    def _locked(self, end):
        """The part, open and locked; None if another writer holds it, or the whole file is there."""
        while not self.target.exists():
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            file = os.fdopen(descriptor, "r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                if time.monotonic() > end:
                    return None
                time.sleep(0.2)
                continue
            if self._is_mine(file):
                if not self.target.exists():
                    file.seek(0, os.SEEK_END)
                    return file
                self.path.unlink()  # the other one was done just before we made it
            file.close()  # while we waited it got its name, or was thrown away
        return None

    def _is_mine(self, file):
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(file.fileno())
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def is_done(self):
        """True if the whole file is there."""
        return self.target.exists()

    def size(self):
        """Bytes that are there."""
        try:
            return (self.target if self.is_done() else self.path).stat().st_size
        except FileNotFoundError:
            return 0

    def discard(self):
        """Throw away what is there."""
        self.path.unlink()

    def room_for(self, more):
        """Refuse what would not fit.

        Raises:
            TroubleError: PoolFull.
        """
        about = os.fstatvfs(self.file.fileno())
        free = about.f_bavail * about.f_frsize
        if more > free:
            raise TroubleError("PoolFull", f"there are {free} bytes free, and {more} more are needed")

    def finish(self):
        """Give it its name, if it is what was asked for.

        Raises:
            TroubleError: ChecksumMismatch or ImageRefused; the part is gone.
        """
        self.file.flush()
        self.file.seek(0)
        head = self.file.read(HEADER_BYTES)
        found = self._digest()
        if found != self.want["digest"]:
            self.discard()
            raise TroubleError(
                "ChecksumMismatch",
                f"it has the {self.want['algorithm']} {found}, not {self.want['digest']}",
                began=self.began,
            )
        mistake = mistake_in(head, self.want["format"])
        if mistake:
            self.discard()
            raise TroubleError("ImageRefused", f"it {mistake}", terminal=True)
        os.fchmod(self.file.fileno(), 0o644)
        os.fsync(self.file.fileno())
        self.path.rename(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _digest(self):
        digest = hashlib.new(self.want["algorithm"])
        self.file.seek(0)
        for chunk in iter(lambda: self.file.read(CHUNK), b""):
            digest.update(chunk)
        return digest.hexdigest()


def fetch(part, url, seconds):
    """Read on from `url`. Returns its length, or None, and whether all of it is there."""
    have = part.size()
    try:
        answer = open_url(
            url,
            headers={"Range": f"bytes={have}-", "Accept-Encoding": "identity"},
            timeout=ANSWER_WITHIN,
            decompress=False,
        )
    except HTTPError as error:
        if error.code == 416 and have:  # nothing is left: the part is whole, which the digest decides
            return have, True
        # Asking at once again helps where a server is busy, and not where it has no such file.
        reason = "FetchFailed" if error.code >= 500 else "FetchRefused"
        raise TroubleError(reason, f"{url}: HTTP {error.code} {error.reason}") from error
    with answer:
        match = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range") or "")
        resumes = getattr(answer, "status", None) == 206 and match is not None and int(match[1]) == have
        if resumes:
            total = int(match[2])
        else:
            part.file.seek(0)
            part.file.truncate()
            have = part.began = 0
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
        if total is not None:
            part.room_for(total - have)
        end = time.monotonic() + seconds
        while True:
            chunk = answer.read(CHUNK)
            if not chunk:
                return total, total is None or part.file.tell() >= total
            part.file.write(chunk)
            # A server that cannot go on from the middle has to be heard to the end.
            if resumes and time.monotonic() > end:
                return total, part.file.tell() >= total


def clone(part, source, seconds):
    """Read on from a file of this host; holes stay holes. Returns its length and whether all is there."""
    with Path(source).open("rb") as file:
        total = file.seek(0, os.SEEK_END)
        have = file.seek(min(part.size(), total))
        part.room_for(total - have)
        part.file.seek(have)
        end = time.monotonic() + seconds
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                part.file.truncate()
                return total, True
            if chunk.count(0) == len(chunk):
                part.file.seek(len(chunk), os.SEEK_CUR)
            else:
                part.file.write(chunk)
            if time.monotonic() > end:
                part.file.truncate()
                return total, False


def append(part, piece, offset):
    """Put the file `piece` at `offset` of the part, if that is where it ends; at 0 it begins anew."""
    if offset == 0:
        part.file.seek(0)
        part.file.truncate()
        part.began = 0
    if part.size() == offset:
        part.room_for(Path(piece).stat().st_size)
        with Path(piece).open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                part.file.write(chunk)
    Path(piece).unlink()


# --- snapshots inside of a file --------------------------------------------------------------------------


def snapshot(path, act, name):
    """Have qemu-img do it: it refuses a file that a guest has open, by QEMU's own lock. What was done."""
    if name.isdigit():  # which qemu-img would take for an id
        raise TroubleError("SnapshotFailed", f"{name!r} is no name of a snapshot")
    known = snapshots(path)
    if act == "restore" and name not in known:
        raise TroubleError("SnapshotMissing", f"{path} has no snapshot {name!r}")
    if act != "restore" and (act == "take") == (name in known):
        return ""
    option, did = {
        "take": ("-c", f"took the snapshot {name}"),
        "restore": ("-a", f"went back to the snapshot {name}"),
        "delete": ("-d", f"deleted the snapshot {name}"),
    }[act]
    _qemu_img("snapshot", option, name, path)
    return did


def snapshots(path):
    """Names of the snapshots inside of a qcow2 file."""
    told = json.loads(_qemu_img("info", "--output=json", "-f", "qcow2", path))
    return [one["name"] for one in told.get("snapshots", ())]


def _qemu_img(*arguments):
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise TroubleError("Unsupported", "the host has no qemu-img (Debian: qemu-utils)") from error
    if done.returncode:
        reason = "DiskInUse" if "lock" in done.stderr else "SnapshotFailed"
        raise TroubleError(reason, " ".join(done.stderr.split()))
    return done.stdout


# --- the module ------------------------------------------------------------------------------------------


def bring(arguments):
    """One call's worth of work: what is there now, of how much, and whether the file has its name."""
    part = Part(arguments, arguments["seconds"])
    total = None
    if part.file is not None:
        with part.file:
            total, whole = _work(part, arguments)
            part.file.flush()
            if whole:
                part.finish()
    return {
        "done": part.is_done(),
        "size": part.size(),
        "total": total,
        "began": part.began,
        "busy": part.file is None,
    }


def _work(part, arguments):
    try:
        if arguments["do"] == "fetch":
            return fetch(part, arguments["url"], arguments["seconds"])
        if arguments["do"] == "clone":
            return clone(part, arguments["source"], arguments["seconds"])
        if arguments["piece"]:
            append(part, arguments["piece"], arguments["offset"])
        part.file.flush()
        return arguments["length"], part.size() >= arguments["length"]
    except OSError as error:
        if error.errno == errno.ENOSPC:
            part.discard()  # guests on this pool need the room more than we need the part
        raise


def respond(arguments):
    """Do what the arguments say; trouble is an answer too: only a mistake of ours is a failure."""
    try:
        if arguments["do"] == "chains":
            return {"chains": chains(arguments["paths"])}
        if arguments["do"] == "snapshot":
            did = snapshot(arguments["target"], arguments["act"], arguments["snapshot"])
            return {"done": bool(did), "did": did}
        return bring(arguments)
    except TroubleError as trouble:
        return {
            "trouble": trouble.reason,
            "message": trouble.message,
            "terminal": trouble.terminal,
            "began": trouble.began,
        }
    except OSError as error:
        reason = "PoolFull" if error.errno == errno.ENOSPC else "TransferFailed"
        return {"trouble": reason, "message": str(error), "terminal": False}
    except (HTTPException, ValueError) as error:
        return {"trouble": "FetchFailed", "message": f"{type(error).__name__}: {error}", "terminal": False}


ARGUMENTS = {
    "do": {"type": "str", "required": True, "choices": ["fetch", "clone", "append", "chains", "snapshot"]},
    "target": {"type": "str", "default": ""},
    "algorithm": {"type": "str", "default": "sha256", "choices": ["sha256", "sha512"]},
    "digest": {"type": "str", "default": ""},
    "format": {"type": "str", "default": "qcow2", "choices": ["qcow2", "raw"]},
    "url": {"type": "str", "default": ""},
    "source": {"type": "str", "default": ""},
    "piece": {"type": "str", "default": ""},
    "offset": {"type": "int", "default": 0},
    "length": {"type": "int", "default": 0},
    "seconds": {"type": "float", "default": 10.0},
    "act": {"type": "str", "default": "take", "choices": ["take", "restore", "delete"]},
    "snapshot": {"type": "str", "default": ""},
    "paths": {"type": "list", "elements": "str", "default": []},
}


def main():
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec=ARGUMENTS)
    answer = respond(module.params)
    module.exit_json(changed=bool(answer.get("done")), **answer)


if __name__ == "__main__":
    main()
