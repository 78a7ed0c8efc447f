# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks that tell a worker whether anybody still waits for it.

``run.lock``      held exclusively by the daemon while it waits for this run.  When it can be had, the daemon
                  died: whatever has not begun must not begin, since the next daemon plans anew.
``workers.lock``  held shared by every worker while it works.  The next daemon takes it exclusively before
                  it acts, and so never works beside an orphan.
``cancel``        a file that asks the run to stop after the step in hand.

Run by hand there is no ``run.lock``, and nothing to guard.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .outcome import Interrupted


class Guard:
    """Watches over the run in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._run_lock = directory / "run.lock"
        self._cancel = directory / "cancel"
        self.by_hand = not self._run_lock.exists()

    def check(self) -> None:
        """Go on only if somebody waits.

        Raises:
            Interrupted: The run was cancelled, or the daemon that began it is gone.
        """
        if self._cancel.exists():
            raise Interrupted("Cancelled", "the run was asked to stop")
        if not self.by_hand and not self._held():
            raise Interrupted("Abandoned", "the daemon that began this run is gone")

    def _held(self) -> bool:
        try:
            descriptor = os.open(self._run_lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextlib.contextmanager
def working(lock: str | None) -> Iterator[None]:
    """Hold ``workers.lock`` shared for the time of the work. None: nobody looks at it.

    Raises:
        Interrupted: A new daemon has taken over already.
    """
    if lock is None:
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Interrupted("Abandoned", "another daemon has taken over") from None
    try:
        yield
    finally:
        os.close(descriptor)
