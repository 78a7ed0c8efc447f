# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is in a storage pool: many may make volumes side by side, but one looks at it anew alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_PATIENCE = 60.0
"""Seconds to wait for a turn: a clone may take many minutes, and libvirt has the last word anyway."""


class Turns:
    """The turns of one pool.

    libvirt refuses to refresh a pool in which a volume is being made.  With many machines made at once one
    always is, so a refresh that only tried again might never have its turn: here those who come after it
    wait for it.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._building = 0
        self._looking = 0
        self._alone = threading.Lock()

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """A volume is being made, beside others, and not while somebody looks at the pool."""
        with self._free:
            self._free.wait_for(lambda: not self._looking, _PATIENCE)
            self._building += 1
        try:
            yield
        finally:
            with self._free:
                self._building -= 1
                self._free.notify_all()

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """The pool is looked at anew: alone."""
        with self._free:
            self._looking += 1
            self._free.wait_for(lambda: not self._building, _PATIENCE)
        try:
            with self._alone:
                yield
        finally:
            with self._free:
                self._looking -= 1
                self._free.notify_all()
