"""SIGTERM and SIGINT ask to stop; a second one insists."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether someone asked to stop.

    Not a `threading.Event`: that takes a lock, which the interrupted main thread may hold.  Calling it
    answers, so that it can be given away as a ``Callable[[], bool]``.
    """

    def __init__(self) -> None:
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Finish, or abandon, what you do."""
        return bool(self.reason)

    def __call__(self) -> bool:
        """Same as `requested`."""
        return self.requested

    def request(self, reason: str) -> None:
        """Ask to stop; the first reason stays."""
        self.reason = self.reason or reason


@contextmanager
def stop_on_signals(on_stop: Callable[[str], None]) -> Iterator[Stop]:
    """Within the block, the first signal requests a stop and the second ends the process at once.

    Must be entered in the main thread.

    Args:
        on_stop: Called once, with the signal's name, inside the signal handler: it may only do what is safe
            there, such as ``Waker.wake(name, urgent=True)``.

    Yields:
        What the loop looks at.
    """
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            # No cleaning up: that is what hangs. The store and the hosts are consistent at every moment.
            os._exit(128 + number)
        stop.request(signal.Signals(number).name)
        on_stop(stop.reason)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
