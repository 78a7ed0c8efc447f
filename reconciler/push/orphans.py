"""Waits for the workers of a daemon that died, so that two of us never work on one host."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from reconciler.push.run_dir import workers_lock

_PAUSE = 0.1


def wait_for_orphans(state_dir: Path, timeout: float) -> bool:
    """Wait until no worker of an earlier daemon works any more.

    Such a worker notices by itself that nobody waits for it, before its next step; only the step in hand
    takes its time.  Call this before the first push, while holding the store.

    Args:
        state_dir: Where the runs are.
        timeout: Seconds to wait at most.

    Returns:
        True if nobody works; False if somebody still did when the time was over.
    """
    lock = workers_lock(state_dir)
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(min(_PAUSE, max(0.0, end - time.monotonic())))
            else:
                return True
    finally:
        os.close(descriptor)
