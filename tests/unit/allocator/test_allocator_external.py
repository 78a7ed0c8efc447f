"""The runner of external programs, with programs that misbehave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler import external
from reconciler.errors import AllocatorError
from reconciler.external import run_program

Program = Callable[[str], tuple[str, ...]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def make(body: str) -> tuple[str, ...]:
        path = tmp_path / "allocator"
        path.write_text(f"#!{sys.executable}\nimport sys, os, time, signal, pathlib\n{body}\n")
        path.chmod(0o755)
        return (str(path),)

    return make


def test_it_gets_the_request_as_a_file_and_nothing_to_read(program: Program) -> None:
    command = program("print(sys.argv[1:-1], open(sys.argv[-1]).read(), repr(sys.stdin.read()))")
    assert run_program((*command, "--option"), '{"a": 1}', 10) == "['--option'] {\"a\": 1} ''\n"


def test_the_request_is_private_and_gone_afterwards(program: Program) -> None:
    command = program("p = sys.argv[1]; print(p, oct(os.stat(os.path.dirname(p)).st_mode & 0o777), end='')")
    path, mode = run_program(command, "{}", 10).split()
    assert mode == "0o700"
    assert not Path(path).parent.exists()


def test_a_failure_is_told_with_its_words(program: Program) -> None:
    with pytest.raises(AllocatorError, match=r"failed \(exit status 3\): no idea"):
        run_program(program("print('no idea', file=sys.stderr); sys.exit(3)"), "{}", 10)
    with pytest.raises(AllocatorError, match=r"ended by SIGABRT.*it said nothing"):
        run_program(program("os.abort()"), "{}", 10)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(AllocatorError, match="is not installed") as error:
        run_program(("no-such-allocator",), "{}", 10)
    assert "ganeti-htools" in error.value.hint


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("\x7f not a program")
    path.chmod(0o755)
    with pytest.raises(AllocatorError, match="cannot be started"):
        run_program((str(path),), "{}", 10)


def test_a_time_out_ends_the_whole_family(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "GRACE", 0.1)
    pids = tmp_path / "pids"
    command = program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "parent, child = os.getpid(), os.fork()\n"
        f"if child: pathlib.Path({str(pids)!r}).write_text(f'{{parent}} {{child}}')\n"
        "time.sleep(60)"
    )
    with pytest.raises(AllocatorError, match="did not answer within 1 s"):
        run_program(command, "{}", 1)
    family = [int(pid) for pid in pids.read_text().split()]
    assert len(family) == 2
    assert not running(family[0])
    assert ends(family[1])


def test_what_a_program_leaves_running_is_ended(program: Program, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = program(
        "print('{}', flush=True)\n"
        "if os.fork() == 0:\n"
        f"    pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        f"while not pathlib.Path({str(pid)!r}).exists(): time.sleep(0.01)"
    )
    assert run_program(command, "{}", 10) == "{}\n"
    assert ends(int(pid.read_text()))


def ends(pid: int) -> bool:
    """Whether a process ends soon: the kernel ends it, but nobody can wait for another's child."""
    for _ in range(500):
        if not running(pid):
            return True
        time.sleep(0.01)
    return False


def running(pid: int) -> bool:
    """Whether a process lives; one that has ended and waits for init to collect it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_endless_words_are_refused(program: Program) -> None:
    with pytest.raises(AllocatorError, match="wrote more than 16 MiB"):
        run_program(program("os.truncate(1, 17 << 20)"), "{}", 10)


def test_what_is_not_text_is_still_an_answer(program: Program) -> None:
    assert run_program(program("os.write(1, b'\\xff{}')"), "{}", 10) == "\ufffd{}"


def test_hail_is_installed() -> None:
    """scripts/setup installs it; a machine without it cannot prove the protocol."""
    assert os.access("/usr/lib/ganeti/iallocators/hail", os.X_OK)
    assert "hail" in run_program(("hail", "--version"), "{}", 10)
