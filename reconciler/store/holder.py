"""Only one process acts on a store: a lock that dies with its holder, and a note of who that is.

The lock is flock(2) on a file beside the database.  The kernel lets go of it when the last process that
inherited the open file ends, so nothing stale is ever left.  A child that was forked without exec and
still works for a dead holder keeps it, and rightly so.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import BusyError, StoreError
from reconciler.store.base import Holder

FILE_NAME = "holder.lock"

# Who merely asks for the holder takes the lock for a moment, so a single refusal proves nothing.
_TRIES = 5
_PAUSE = 0.05


@contextmanager
def hold(folder: Path, purpose: str) -> Iterator[None]:
    """Hold the lock in `folder` until the block ends.

    Raises:
        BusyError: It is taken; the message says by whom.
        StoreError: The lock file cannot be opened.
    """
    lock = _open(folder)
    try:
        if not _take(lock):
            raise _busy(_read(lock))
        _write(lock, purpose)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def holder(folder: Path) -> Holder | None:
    """Who holds the lock in `folder` now."""
    lock = _open(folder)
    try:
        if _try(lock, fcntl.LOCK_SH):
            return None
        return _read(lock)
    finally:
        os.close(lock)


def _open(folder: Path) -> int:
    path = folder / FILE_NAME
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the lock {path} cannot be opened: {error.strerror}") from error


def _take(lock: int) -> bool:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        if _try(lock, fcntl.LOCK_EX):
            return True
    return False


def _try(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreError(f"the file system of the store cannot lock files: {error.strerror}") from error
        return False
    return True


def _write(lock: int, purpose: str) -> None:
    note = {"pid": os.getpid(), "machine": socket.gethostname(), "since": time.time(), "purpose": purpose}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(note).encode(), 0)


def _read(lock: int) -> Holder:
    """The note; for the moment between its taking the lock and its writing the note, an unnamed holder."""
    text = os.pread(lock, 4096, 0)
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return Holder(pid=0, machine="", since=0.0, purpose="another process")


def _busy(by: Holder) -> BusyError:
    who = by.purpose
    if by.pid:
        since = datetime.fromtimestamp(by.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        who = f"{by.purpose} (pid {by.pid} on {by.machine}, since {since})"
    return BusyError(
        f"{who} acts on this store; only one may",
        hint="wait until it is done, or stop it first; what only reads (plan, get, describe) works meanwhile",
    )
