"""The console of a booted guest on a terminal of ours: what it prints arrives, what is typed gets there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.scenario import Stage
from support.world import World

PATIENCE = 60.0


class Terminal:
    """`reconciler console` on a terminal of its own."""

    def __init__(self, stage: Stage, *words: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        self.said = ""
        argv = [sys.executable, "-m", "reconciler.cli.main", "console", *words, "--config", str(stage.config)]
        self.process = subprocess.Popen(
            argv, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True
        )

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def wait_for(self, text: str, *, again: str = "") -> None:
        """Read until it appears, typing `again` now and then."""
        until = time.monotonic() + PATIENCE
        while text not in self.said:
            assert time.monotonic() < until, f"{text!r} did not appear in {self.said!r}"
            if select.select([self.ours], [], [], 1.0)[0]:
                self.said += os.read(self.ours, 4096).decode(errors="replace")
            elif again:
                self.type(again)

    def end(self) -> int:
        """Exit code, once it ended; the terminal is as it was before."""
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.theirs) == self.before
        return code


@contextmanager
def terminal(stage: Stage, *words: str) -> Iterator[Terminal]:
    made = Terminal(stage, *words)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        os.close(made.ours)
        os.close(made.theirs)


@pytest.mark.lab
def test_a_console_goes_both_ways_and_is_given_back(world: World, tmp_path: Path) -> None:
    stage = Stage(world, tmp_path)
    stage.set_up({"machines": {"web": {"image": "tiny", "memory": "96Mi"}, "off": {"runStrategy": "Halted"}}})
    with terminal(stage, "web") as first:
        first.wait_for("Leave with ^]")
        first.wait_for("# ", again="\r")
        first.type("echo forty$((40+2)); echo a\tb\r")
        first.wait_for("forty42")
        # One at a time, unless one insists.
        with terminal(stage, "web") as second:
            second.wait_for("somebody else is on the console of web")
            assert second.end() == 1
        with terminal(stage, "web", "--force") as third:
            third.wait_for("# ", again="\r")
            first.wait_for("the machine closed its console")
            assert first.end() == 0
            third.type("echo still$((1+1))\r")
            third.wait_for("still2")
            third.type("\x1d")
            third.wait_for("web: left")
            assert third.end() == 0
    # Without a terminal too; and it ends with the machine.
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "reconciler.cli.main",
            "console",
            "web",
            "--linger",
            "5",
            "--config",
            str(stage.config),
        ],
        input="\recho piped$((6*7))\r",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "piped42" in said.stdout
    with terminal(stage, "web") as last:
        last.wait_for("# ", again="\r")
        stage.call("stop", "web", "--yes")
        last.wait_for("the machine closed its console")
        assert last.end() == 0
    assert "does not run" in stage.call("console", "off").text
    assert stage.call("console", "nobody").exit == 64
    assert "ConsoleOpened" in stage.call("events").text
