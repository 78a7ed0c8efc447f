"""Runs the external program that chooses hosts: the one place where the allocator meets a process.

As Ganeti's protocol says, the program gets the path of a file with the request as its last argument
and answers on its standard output.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from reconciler.errors import AllocatorError

ANSWER_LIMIT = 16 << 20
"""Bytes of an answer that are read; an honest one has a few hundred."""

GRACE = 2.0
"""Seconds between asking a program to end and ending it."""

GANETI_FOLDERS = ("/usr/lib/ganeti/iallocators", "/usr/local/lib/ganeti/iallocators")
"""Where Ganeti keeps its allocators, which are on nobody's PATH."""


def run_program(command: tuple[str, ...], request: str, timeout: int) -> str:
    """Run an iallocator program and return what it wrote.

    When this returns the program has ended, and whatever it left running in its session is killed.

    Args:
        command: Program and arguments; the path of the request file is added as the last one.
        request: The request message.
        timeout: Seconds that the program may take.

    Raises:
        AllocatorError: It is missing, took too long, failed or wrote too much.
    """
    program = find_program(command[0])
    with tempfile.TemporaryDirectory(prefix="reconciler-allocator-") as folder:
        question, answer, complaint = (Path(folder) / name for name in ("request.json", "stdout", "stderr"))
        question.write_text(request)
        status = _run([program, *command[1:], str(question)], answer, complaint, timeout)
        if status is None:
            raise AllocatorError(
                f"the allocator program {command[0]} did not answer within {timeout} s",
                hint="raise allocator.timeout, or choose a built-in algorithm",
            )
        if status != 0:
            said = _tail(complaint) or _tail(answer) or "it said nothing"
            raise AllocatorError(f"the allocator program {command[0]} failed ({_ending(status)}): {said}")
        if answer.stat().st_size > ANSWER_LIMIT:
            raise AllocatorError(
                f"the allocator program {command[0]} wrote more than {ANSWER_LIMIT >> 20} MiB"
            )
        return answer.read_text(errors="replace")


def find_program(name: str) -> str:
    """The path of a program: from PATH, or from Ganeti's folders of allocators.

    Raises:
        AllocatorError: It is nowhere.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(GANETI_FOLDERS))
    if found is None:
        raise AllocatorError(
            f"the allocator program {name} is not installed, or not executable",
            hint="on Debian, hail comes with the package ganeti-htools",
        )
    return found


def _run(command: list[str], answer: Path, complaint: Path, timeout: int) -> int | None:
    """Exit status of the program, or None when its time was up."""
    # Files rather than pipes: a grandchild that keeps a pipe open would hold us beyond the time-out.
    with answer.open("wb") as stdout, complaint.open("wb") as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except OSError as error:
            raise AllocatorError(
                f"the allocator program {command[0]} cannot be started: {error.strerror}"
            ) from error
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's session: politely, then not; and collect the program itself."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # everybody of that group has ended
        os.killpg(process.pid, number)


def _ending(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"ended by {signal.Signals(-status).name}"


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2000, 0))
        return file.read().decode(errors="replace").strip()
