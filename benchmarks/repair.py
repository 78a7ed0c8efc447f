"""From a domain killed behind our back to running again, against what Ansible alone needs to say hello.

A real host of the lab, a real daemon that libvirt's event wakes. Both floors are one ``ansible-playbook``
with one task on the same host: ``ping``, and the repair itself typed by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import libvirt
from benchmarks.ratio import Ratio
from reconciler.lab import Lab
from reconciler.lab.guests import HALT_MIB, halt_sector
from reconciler.settings import bin_dir, child_environment, data_dir

_MACHINE = """\
apiVersion: reconciler/v1
kind: Image
metadata: {name: halt}
spec: {path: halt.img, format: raw}
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: victim}
spec: {cpus: 1, memory: 32Mi, image: halt, runStrategy: Always}
"""
_PATIENCE = 120.0
_REST = 2.0
"""Seconds between two rounds, in which the daemon comes to rest."""


def run(quick: bool = False) -> list[Ratio]:
    """Medians of rounds in which the three take turns."""
    rounds = 2 if quick else 7
    with tempfile.TemporaryDirectory(prefix="repair-") as name:
        folder = Path(name)
        lab = Lab(folder / "lab", prefix="host")
        try:
            (host,) = lab.up(1)
            connection = libvirt.open(host.uri)
            with _daemon(folder, lab.inventory):
                domain = _appeared(connection)
                mended, hello, by_hand = [], [], []
                for _ in range(rounds):
                    time.sleep(_REST)
                    mended.append(_mended(domain))
                    time.sleep(_REST)
                    hello.append(_play(folder, lab.inventory, {"ansible.builtin.ping": {}}))
                    start = {"ansible.builtin.raw": "virsh start victim"}
                    by_hand.append(_by_hand(folder, lab.inventory, start, domain))
            connection.close()
        finally:
            lab.down()
    ours = median(mended)
    spread = f"median of {rounds}: {ours:.2f} s ({min(mended):.2f} to {max(mended):.2f})"
    return [
        Ratio(
            "killed domain running again / playbook with one ping",
            ours,
            median(hello),
            note=f"{spread} against {median(hello):.2f} s",
        ),
        Ratio(
            "killed domain running again / playbook that starts it",
            ours,
            median(by_hand),
            note=f"against {median(by_hand):.2f} s, when somebody stands by to type it",
        ),
    ]
