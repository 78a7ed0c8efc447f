"""Verbs of a scenario that look into guests: by the serial console, and by ssh."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.errors import LabError
from reconciler.lab.guest_access import console
from support.command import Said

if TYPE_CHECKING:
    from support.scenario import Stage

SSH = ("ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
SSH += ("-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "LogLevel=ERROR")
NO_CONNECTION = 255


class InsideVerbs:
    """Part of `Stage`."""

    def do_inside(self: Stage, name: str, run: str, timeout: float = 60) -> None:
        """``inside: MACHINE, run: COMMAND``: a shell command as root in a guest, over its serial console.

        The machine needs ``console: serial``.  ``timeout`` covers the guest's boot: its shell is waited for.
        """
        name = self.fill(name)
        answer = console(self.world.host_of(name), name, self.fill(run), timeout=float(timeout))
        self.said = Said(("inside", name, run), answer.status, f"{answer.output}\n", "")

    def do_ssh(self: Stage, target: str, run: str, at: str, timeout: float = 20) -> None:
        """``ssh: USER@ADDRESS, run: COMMAND, at: HOST``: from a lab host, with the key whose public half is
        ``$ssh_key``; tried again for ``timeout`` seconds while nobody answers or the key is refused.
        """
        host = self.world.lab.host(at)
        argv = [*SSH, "-i", str(self.world.guest_key), self.fill(target), self.fill(run)]
        deadline = time.monotonic() + float(timeout)
        while True:
            done = host.run(argv, check=False, timeout=60)
            if done.returncode != NO_CONNECTION or time.monotonic() >= deadline:
                break
            time.sleep(0.5)
        self.said = Said(("ssh", target, run), done.returncode, done.stdout, done.stderr)

    def do_wait_inside(self: Stage, name: str, run: str, timeout: float = 30) -> None:
        """``wait_inside: MACHINE, run: COMMAND``: again and again until the command ends with 0."""
        deadline = time.monotonic() + float(timeout)
        while True:
            left = max(deadline - time.monotonic(), 1.0)
            answer = console(self.world.host_of(name), name, self.fill(run), timeout=left)
            if answer.status == 0:
                self.said = Said(("inside", name, run), 0, f"{answer.output}\n", "")
                return
            if time.monotonic() >= deadline:
                raise LabError(f"inside {name}, `{run}` still ends with {answer.status}: {answer.output}")
            time.sleep(0.3)
