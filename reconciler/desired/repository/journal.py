"""What a writer is in the middle of, for whoever comes after it has been killed.

Each writer has a file of its own in the repository's git folder, and holds a lock on it as long as it lives;
the git processes that it starts hold it too, so that nobody mends what is still being done.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

Record = Mapping[str, str | list[str]]


class Journal:
    """One writer's file.

    Args:
        common: The git folder that all work trees of the repository share.
    """

    def __init__(self, common: Path) -> None:
        self._folder = common / "reconciler"
        self._folder.mkdir(exist_ok=True)
        self.token = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._path = self._folder / self.token
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def note(self, record: Record) -> None:
        """Say what is about to be done."""
        content = json.dumps({**record, "token": self.token}).encode()
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))

    def done(self) -> None:
        """It is done, or undone."""
        os.ftruncate(self.descriptor, 0)

    def close(self) -> None:
        """End the writer."""
        if self.descriptor >= 0:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
                os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()

    def mend(self, how: Callable[[Record], None]) -> None:
        """Mend what dead writers left.

        Args:
            how: Gets what one was about to do; it has ``token`` at least.
        """
        for path in self._folder.iterdir():
            if path != self._path:
                _mend(path, how)


def _mend(path: Path, how: Callable[[Record], None]) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
            return  # another one was quicker
        record: dict[str, str | list[str]] = {"token": path.name}
        with suppress(ValueError):
            record.update(json.loads(os.pread(descriptor, 1 << 24, 0) or b"{}"))
        how(record)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass  # it lives
    finally:
        os.close(descriptor)
