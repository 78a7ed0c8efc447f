"""Running programs and finding the processes of a lab host."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.errors import LabError

CLEAN_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
"""Lab hosts live long and are visible to guests' tests: they inherit nothing of the caller's."""


def run(
    argv: Sequence[str], *, timeout: float = 30.0, check: bool = True, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a clean environment.

    Args:
        argv: Program and arguments.
        timeout: Seconds after which it is killed.
        check: Raise when the exit status is not 0.
        stdin: Text for its standard input.

    Raises:
        LabError: It is missing, too slow, or failed while `check` is set.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{_shown(argv)}` did not end within {timeout:g} s") from error
    except OSError as error:
        raise LabError(f"`{_shown(argv)}` cannot run: {error.strerror}") from error
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LabError(f"`{_shown(argv)}` failed with status {done.returncode}: {said}")
    return done


def spawn(argv: Sequence[str], log: Path) -> None:
    """Start something that outlives us (it forks); what it says goes to the end of `log`."""
    with log.open("ab") as said:
        subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            timeout=10,
            check=True,
        )


def _shown(argv: Sequence[str]) -> str:
    """A command as it is shown in messages: whole, but not endless."""
    text = " ".join(argv)
    return text if len(text) <= 200 else text[:197] + "..."


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Every process of the machine that has a command line: its id and its arguments."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        raw = _read(Path(entry.path, "cmdline"))
        if raw:
            yield int(entry.name), raw.rstrip("\0").split("\0")


def inner_pid(pid: int) -> int | None:
    """The process's id within its own pid namespace, or None once it is gone."""
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return None


def namespace_members(pid: int) -> dict[int, str]:
    """Processes in the same pid namespace as `pid`: machine-wide id to short name."""
    namespace = _namespace(pid)
    if namespace is None:
        return {}
    members = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _namespace(int(entry.name)) == namespace:
            members[int(entry.name)] = _read(Path(entry.path, "comm")).strip()
    return members


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _read(path: Path) -> str:
    """Text of a file in /proc; empty when the process is gone."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is already gone is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], *, timeout: float, pause: float = 0.02) -> bool:
    """Poll until the condition holds; False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def tail(path: Path, lines: int = 15) -> str:
    """The end of a log, indented for an error message; empty when there is none."""
    kept = _read(path).splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in kept)
