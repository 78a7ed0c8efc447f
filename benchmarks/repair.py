"""From a domain killed behind our back to running again, against what Ansible alone needs for one command.

A real host of the lab, a real daemon that libvirt's event wakes. The floor is one ``ansible-playbook`` with
one task on the same host; below that nothing can go that pushes through Ansible.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import libvirt

from benchmarks.ratio import Ratio
from reconciler.lab import Lab
from reconciler.lab.guests import HALT_MIB, halt_sector
from reconciler.settings import bin_dir, child_environment, data_dir

_CONFIG = """\
source: {path: desired}
inventory: [lab/inventory.yml]
stateDir: state
"""
_MACHINE = """\
apiVersion: reconciler/v1
kind: Image
metadata: {name: halt}
spec: {path: ../halt.img, format: raw}
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: victim}
spec: {cpus: 1, memory: 32Mi, image: halt}
"""
# What somebody else has on the host: it shows what a start alone takes.
_STRANGER = """\
<domain type='qemu'>
  <name>stranger</name>
  <memory unit='MiB'>32</memory>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <source file='/var/lib/libvirt/images/halt.img'/><target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>"""
_PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.raw": "true"}]}]
_PATIENCE = 120.0
_REST = 2.0
"""Seconds before each figure, in which the daemon comes to rest."""


def run(quick: bool = False) -> list[Ratio]:
    """Medians of rounds in which we and the floor take turns."""
    rounds = 2 if quick else 9
    with tempfile.TemporaryDirectory(prefix="repair-") as name:
        folder = Path(name)
        lab = Lab(folder / "lab", prefix="host")
        try:
            ours, hello, start = _rounds(folder, lab, rounds)
        finally:
            lab.down()
    floor = hello + start
    return [
        Ratio(
            "killed domain running again / playbook with one ssh command",
            ours,
            hello,
            note=f"median of {rounds}: {ours:.2f} s against {hello:.2f} s",
        ),
        Ratio(
            "the same / that playbook and the domain's start",
            ours,
            floor,
            note=f"the start alone: {start:.2f} s",
        ),
    ]


def _rounds(folder: Path, lab: Lab, rounds: int) -> tuple[float, float, float]:
    """Medians of the seconds of: our repair, a playbook with one ssh command, the start of a domain."""
    (host,) = lab.up(1)
    _write_desired(folder)
    host.add_images([folder / "halt.img"])
    connection = libvirt.open(host.uri)
    stranger = connection.defineXML(_STRANGER)
    ours, hello, start = [], [], []
    with _daemon(folder) as log:
        victim = _appeared(connection, log)
        for _ in range(rounds):
            time.sleep(_REST)
            victim.destroy()
            ours.append(_seconds(lambda: _until(victim.isActive, log)))
            time.sleep(_REST)
            hello.append(_seconds(lambda: _ping(folder)))
            start.append(_seconds(stranger.create))
            stranger.destroy()
    connection.close()
    return median(ours), median(hello), median(start)


def _write_desired(folder: Path) -> None:
    (folder / "reconciler.yaml").write_text(_CONFIG)
    (folder / "desired").mkdir()
    (folder / "desired/machines.yaml").write_text(_MACHINE)
    (folder / "halt.img").write_bytes(halt_sector().ljust(HALT_MIB << 20, b"\0"))
    (folder / "ping.yml").write_text(json.dumps(_PLAY))


@contextmanager
def _daemon(folder: Path) -> Iterator[Path]:
    """`reconciler run`, with the path of what it logs."""
    log = folder / "daemon.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "reconciler.cli.main", "run", "-c", str(folder / "reconciler.yaml")]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _appeared(connection: Any, log: Path) -> Any:
    """The machine's domain, once the daemon has made and started it."""
    names = lambda: [domain.name() for domain in connection.listAllDomains(0) if domain.isActive()]  # noqa: E731
    _until(lambda: "victim" in names(), log)
    return connection.lookupByName("victim")


def _ping(folder: Path) -> None:
    command = [str(bin_dir() / "ansible-playbook"), "-i", "lab/inventory.yml", "ping.yml"]
    settings = child_environment({"ANSIBLE_CONFIG": str(data_dir("playbooks") / "ansible.cfg")})
    subprocess.run(command, cwd=folder, env=settings, check=True, capture_output=True)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _until(what: Callable[[], object], log: Path) -> None:
    give_up = time.monotonic() + _PATIENCE
    while not what():
        if time.monotonic() > give_up:
            raise TimeoutError(f"the daemon did not do it:\n{log.read_text()}")
        time.sleep(0.005)


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
