"""Verbs of a scenario that kill: at once, or in the midst of an operation."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.lab import LabHost
from reconciler.lab.process import send
from support.command import Said, options
from support.killed import descendants

if TYPE_CHECKING:
    from support.scenario import Stage

PATIENCE = 60.0
SETTLE = 0.3
"""Seconds from the line that says that a step begins until it is under way."""


class FateVerbs:
    """Part of `Stage`."""

    def do_kill(self: Stage, what: Mapping[str, str]) -> None:
        """``kill: {qemu: MACHINE}`` or ``{libvirtd: HOST}``: SIGKILL; a dead libvirtd stays dead."""
        for kind, name in what.items():
            if kind == "qemu":
                send(self._emulator(name), signal.SIGKILL)
            else:
                self.broken = True
                self.world.lab.host(name).kill_libvirtd()

    def do_cut(
        self: Stage,
        victim: str,
        machine: str = "",
        at: str = "",
        when: str = "",
        once: str = "",
        command: str | list[str] = "apply --yes",
    ) -> None:
        """``cut: qemu|libvirtd|push``: run ``command``, and SIGKILL the victim in the midst of a step.

        ``when`` is a pattern of the step's id; the first one without it.  The emulator of ``machine`` stands
        still from the beginning of the push until after the kill, so that a step that needs it cannot end
        before; while the command looks and plans it answers.  ``once`` is a file of the source that has to
        be there as well before the kill.
        ``at`` is the host whose libvirtd dies (that of ``machine`` without it); it is started again.
        """
        host = self.world.lab.host(at) if at else self.world.host_of(machine) if machine else None
        emulator = self._emulator(machine) if machine else None
        log = self.folder / "cut.log"
        known = self._runs()
        argv = [sys.executable, "-m", "reconciler.cli.main", *options(command), "--config", str(self.config)]
        with log.open("w") as out:
            process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
        try:
            self._await(process, lambda: bool(self._runs() - known), "a push")
            with _standing_still(emulator):
                step = f"a step like {when!r}"
                self._await(process, lambda: any(began(run, when) for run in self._runs() - known), step)
                self._await(process, lambda: not once or (self.source / once).exists(), f"the file {once}")
                time.sleep(SETTLE)
                self._strike(victim, process, emulator, host)
        except BaseException:
            process.kill()
            raise
        if victim == "libvirtd" and host is not None:
            host.start_libvirtd()
        try:
            status = process.wait(PATIENCE)
        finally:
            process.kill()
        self.said = Said(tuple(argv[3:]), status, log.read_text(), "")

    def _strike(
        self: Stage,
        victim: str,
        process: subprocess.Popen[bytes],
        emulator: int | None,
        host: LabHost | None,
    ) -> None:
        if victim == "push":
            for pid in [*descendants(process.pid), process.pid]:
                send(pid, signal.SIGKILL)
        elif victim == "libvirtd":
            assert host is not None, "cut: libvirtd needs `at` or `machine`"
            self.broken = True
            host.kill_libvirtd()
        else:
            assert victim == "qemu", f"cut: {victim}?"
            assert emulator is not None, "cut: qemu needs `machine`"
            send(emulator, signal.SIGKILL)

    def _runs(self: Stage) -> set[Path]:
        return set((self.state / "runs").glob("*"))

    def _await(self: Stage, process: subprocess.Popen[bytes], seen: Callable[[], bool], what: str) -> None:
        """Wait until something is seen; the process must not have ended before."""
        deadline = time.monotonic() + PATIENCE
        while not seen():
            said = (self.folder / "cut.log").read_text()
            assert process.poll() is None or seen(), f"it ended before {what} began, and said:\n{said}"
            assert time.monotonic() < deadline, f"{what} does not begin; so far it said:\n{said}"
            time.sleep(0.02)

    def _emulator(self: Stage, name: str) -> int:
        pid = self.world.look(name).run
        assert pid is not None, f"{name} does not run"
        return pid


@contextlib.contextmanager
def _standing_still(pid: int | None) -> Iterator[None]:
    """A process is stopped meanwhile."""
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid is not None:
            send(pid, signal.SIGCONT)


def began(run: Path, when: str) -> bool:
    """Whether a run's progress has the beginning of a step whose id fits."""
    try:
        whole, _, _ = (run / "progress.jsonl").read_text().rpartition("\n")
    except OSError:
        return False
    lines = [json.loads(line) for line in whole.splitlines()]
    return any(line["event"] == "began" and re.search(when, line["id"]) for line in lines)
