"""One git process that gives the content of files as long as it is asked, instead of one for each."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class CatFile:
    """``git cat-file --batch-command``; see git-cat-file(1). Safe from any thread.

    Args:
        root: The repository.
        environment: Of the process.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._command = ["git", "-C", str(root), "cat-file", "--batch-command"]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def read(self, blobs: Sequence[str], limit: int) -> list[bytes | int] | None:
        """The content of each blob, or its size if that is more than `limit`.

        None if it cannot be had this way, for example from a git before 2.36.
        """
        with self._lock:
            try:
                return [self._one(blob, limit) for blob in blobs]
            except (OSError, ValueError):
                self._end()
                return None

    def _one(self, blob: str, limit: int) -> bytes | int:
        size = self._ask(f"info {blob}\n")
        if size > limit:
            return size
        self._ask(f"contents {blob}\n")
        content = self._running().stdout.read(size + 1)  # type: ignore[union-attr]  # it is a pipe
        if len(content) != size + 1:
            raise ValueError("it ended")
        return content[:-1]

    def _ask(self, order: str) -> int:
        """Ask about one blob, and take its size from the answer's first line."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        process.stdin.write(order.encode())
        process.stdin.flush()
        words = process.stdout.readline().split()
        if len(words) != 3 or words[1] != b"blob":
            raise ValueError(b" ".join(words))
        return int(words[2])

    def _running(self) -> subprocess.Popen[bytes]:
        # A fork has the pipes of its parent, which are not its to use.
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        with suppress(OSError, ValueError):
            process.communicate()

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be at its end
            self._end()
