"""Threads for calls that may never return.

A thread inside libvirt cannot be interrupted.  So a crew counts as working only those members that have
been at their job for a moment; one that has been at it for longer is left alone with it, and somebody
else is hired in its place.  However many are stuck, the others' capacity stays the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

Job = Callable[[], None]
Result = TypeVar("Result")


_BUSY = 0.7
"""Share of one cpu from which on more threads would not help."""


class Crew:
    """Daemon threads that carry out jobs, in order.

    Args:
        size: Members at most, beside those that are stuck.
        patience: Seconds at a job after which a member no longer counts.
    """

    def __init__(self, size: int, patience: float = 0.05) -> None:
        self._size = size
        self._patience = patience
        self._wanted = 2
        self._began = (0.0, 0.0)
        self._condition = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._busy_since: dict[int, float] = {}
        self._members = 0
        self._idle = 0
        self._dismissed = False
        self._hired = 0

    @property
    def members(self) -> int:
        """Threads alive, the stuck ones included."""
        return self._members

    @property
    def patience(self) -> float:
        """Seconds after which to call `relieve` again while work is waiting."""
        return self._patience

    def submit(self, jobs: Iterable[Job]) -> None:
        """Have these done. A job must not raise: nobody would hear it."""
        with self._condition:
            self._jobs.extend(jobs)
            self._began = (time.monotonic(), time.process_time())
            self._hire()
            self._condition.notify(len(self._jobs))

    def relieve(self) -> None:
        """Hire, if work is waiting: for each member that is stuck, and more while all that we do is wait.

        Members that compute get in each other's way: with one interpreter lock for all of them, many take
        several times the cpu of one.  So the crew grows only as long as our own cpu is idle.
        """
        with self._condition:
            if not self._jobs:
                return
            now, used = time.monotonic(), time.process_time()
            began, used_before = self._began
            self._began = (now, used)
            if used - used_before < _BUSY * (now - began):
                self._wanted = min(self._size, 4 * self._wanted)
            self._hire()

    def dismiss(self) -> None:
        """Let everybody go who has nothing left to do."""
        with self._condition:
            self._dismissed = True
            self._condition.notify_all()

    def _hire(self) -> None:
        long_ago = time.monotonic() - self._patience
        stuck = sum(1 for since in self._busy_since.values() if since < long_ago)
        room = self._wanted + stuck - self._members
        for _ in range(min(room, len(self._jobs) - self._idle)):
            self._members += 1
            self._hired += 1
            threading.Thread(target=self._work, name=f"observer-{self._hired}", daemon=True).start()

    def _work(self) -> None:
        me = threading.get_ident()
        while (job := self._next_job(me)) is not None:
            job()

    def _next_job(self, me: int) -> Job | None:
        """Wait for work; None to go home: dismissed, or others sit idle in sufficient number."""
        with self._condition:
            self._busy_since.pop(me, None)
            while not self._jobs:
                if self._dismissed or self._idle >= self._size:
                    self._members -= 1
                    return None
                self._idle += 1
                self._condition.wait()
                self._idle -= 1
            self._busy_since[me] = time.monotonic()
            return self._jobs.popleft()


def call_within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of `work`, which runs in a thread of its own, if it has one in time.

    Raises:
        TimeoutError: It has not. The thread is left alone with it.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised again, in the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="call-within", daemon=True).start()
    return future.result(seconds)
