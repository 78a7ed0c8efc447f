"""The private folder of a run: what the plugin reads, what it reports, and the locks between us.

<state_dir>/runs/workers.lock          held shared by every worker while it works
<state_dir>/runs/20260730T101502.1/    0700
    hosts/<host>.json                  the host's part of the plan; the name is percent-encoded
    limit                              the hosts of this run, for --limit @limit
    progress.jsonl                     a line for each step that began or ended: the record
    run.lock                           held exclusively by us while we wait
    cancel                             appears when the run shall stop
    ansible/                           what ansible-runner writes
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reconciler.errors import PushError


class RunDirectory:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    @classmethod
    def create(cls, path: Path, documents: Mapping[str, Mapping[str, Any]]) -> RunDirectory:
        """Write a folder with the documents of its hosts, readable for us alone.

        Raises:
            PushError: It cannot be written.
        """
        run = cls(path)
        try:
            (path / "hosts").mkdir(mode=0o700, parents=True)
            path.chmod(0o700)
            for host, document in documents.items():
                _write(path / "hosts" / f"{quote(host, safe='')}.json", json.dumps(document, indent=1))
            _write(run.limit, "".join(f"{host}\n" for host in documents))
        except FileExistsError as error:
            raise PushError(
                f"the folder {path} holds a run already",
                hint="name a folder that does not exist yet, or remove this one",
            ) from error
        except OSError as error:
            raise PushError(f"the folder {path} cannot be written: {error.strerror}") from error
        return run

    @property
    def limit(self) -> Path:
        """File with the run's hosts, a line each."""
        return self.path / "limit"

    @property
    def runner(self) -> Path:
        """Folder for ansible-runner."""
        return self.path / "ansible"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Tell the workers, for this while, that somebody waits for them."""
        descriptor = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def cancel(self) -> None:
        """Ask the workers to stop after the steps in hand."""
        with contextlib.suppress(OSError):
            (self.path / "cancel").touch(mode=0o600)

    def news(self) -> list[dict[str, Any]]:
        """Lines of progress since the last call; a line still being written waits for the next."""
        try:
            with (self.path / "progress.jsonl").open("rb") as file:
                file.seek(self._read)
                whole, newline, _rest = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._read += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


_count = itertools.count(1)


def new_path(state_dir: Path) -> Path:
    """A path for the next run; names sort by time."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return runs_folder(state_dir) / f"{stamp}.{time.time_ns() % 10**9:09d}.{next(_count)}"


def runs_folder(state_dir: Path) -> Path:
    """Where the runs of an installation are."""
    return state_dir / "runs"


def workers_lock(state_dir: Path) -> Path:
    """The file that workers hold while they work."""
    return runs_folder(state_dir) / "workers.lock"


def prune(state_dir: Path, keep: int) -> None:
    """Remove the oldest runs, so that at most `keep` are left; one that somebody waits for stays."""
    runs = sorted(path for path in runs_folder(state_dir).iterdir() if path.is_dir())
    for path in runs[: max(0, len(runs) - keep)]:
        if not _is_held(path / "run.lock"):
            shutil.rmtree(path, ignore_errors=True)


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
