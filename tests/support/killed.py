"""Runs ``reconciler`` and kills it, as `kill -9` would, at the n-th step that it persists.

    python -m support.killed KIND N COUNTS reconciler-arguments…

KIND is what is counted:

``before``, ``after``   a committed transaction of the store: killed just before, or just after the commit
``step``                a line of a push's progress (an action began or ended): the process dies, Ansible's
                        workers are left behind
``worker``              the same, and Ansible's workers die with it

N is the step to die at; 0 lives on.  COUNTS is a file to which the number of steps is written at the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.cli.main import main
from reconciler.lab.process import send
from reconciler.push.run_dir import RunDirectory
from reconciler.store.session import Session


class Killer:
    """Counts steps of one kind, and ends this process at one of them."""

    def __init__(self, kind: str, at: int) -> None:
        self._kind = kind
        self._at = at
        self.count = 0

    def step(self) -> None:
        """One more; perhaps the last."""
        self.count += 1
        if self.count == self._at:
            if self._kind == "worker":
                for pid in descendants(os.getpid()):
                    send(pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Put the counter where the steps are."""
        if self._kind in ("before", "after"):
            self._watch_commits()
        else:
            self._watch_progress()

    def _watch_commits(self) -> None:
        begin = Session._begin
        killer = self

        @contextlib.contextmanager
        def counted(session: Session, **options: bool) -> Iterator[Any]:
            with begin(session, **options) as connection:
                yield connection
                if options.get("write") and killer._kind == "before":
                    killer.step()
            if options.get("write") and killer._kind == "after":
                killer.step()

        Session._begin = counted  # type: ignore[method-assign]

    def _watch_progress(self) -> None:
        news = RunDirectory.news

        def counted(run: RunDirectory) -> list[dict[str, Any]]:
            lines = news(run)
            for _ in lines:
                self.step()
            return lines

        RunDirectory.news = counted  # type: ignore[method-assign]


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, the deepest first."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = []
    for file in children:
        for child in map(int, file.read_text().split()):
            found += [*descendants(child), child]
    return found


def run(kind: str, at: int, counts: Path, arguments: list[str]) -> None:
    """Run the command line with the killer in place."""
    killer = Killer(kind, at)
    killer.install()
    try:
        main(arguments)
    finally:
        counts.write_text(str(killer.count))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
