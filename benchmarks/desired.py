"""Reading 20,000 machines: the first time, and again with one file changed.

    python benchmarks/desired.py [--machines 20000] [--files 200] [--git]

Seconds and memory depend on the machine; the ratio does not much.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from reconciler.desired.source import Source, open_source
from reconciler.model.config import SourceConfig
from reconciler.model.desired import DesiredState

MACHINE = """\
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata:
  name: vm-{number}
  labels: {{app: web, shard: "{shard}"}}
spec:
  instanceType: small
  rootDisk:
    size: 10Gi
  interfaces:
    - network: default
  runStrategy: Always
  placement:
    hostSelector: {{zone: "{shard}"}}
    antiAffinity:
      - selector: {{app: web}}
        policy: Preferred
"""
PRESET = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""


def write(root: Path, machines: int, files: int) -> None:
    each = machines // files
    for index in range(files):
        numbers = range(index * each, (index + 1) * each)
        text = "".join(MACHINE.format(number=number, shard=number % 16) for number in numbers)
        (root / f"machines-{index:05}.yaml").write_text(text)
    (root / "types.yaml").write_text(PRESET)


def commit(root: Path) -> None:
    git = ["git", "-C", str(root), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=bench"]):
        subprocess.run([*git, *command], check=True)


def timed(source: Source) -> tuple[float, DesiredState]:
    started = time.perf_counter()
    state = source.read()
    return time.perf_counter() - started, state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--git", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, options.machines, options.files)
        if options.git:
            commit(root)
        source = open_source(SourceConfig(path=folder, git=options.git), root)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first, state = timed(source)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        idle, same = timed(source)
        changed = root / "machines-00000.yaml"
        changed.write_text(changed.read_text().replace("10Gi", "11Gi", 1))
        if options.git:
            commit(root)
        second, again = timed(source)
        kept = sum(again.machines[name] is machine for name, machine in state.machines.items())
        assert same is state
        assert kept == options.machines - 1
    print(
        f"{options.machines} machines in {options.files} files{' of a git repository' if options.git else ''}"
    )
    print(f"first read          {first:8.3f} s, {grown:.0f} MiB")
    print(f"nothing changed     {idle:8.3f} s  = {idle / first:7.2%} of the first")
    print(f"one file changed    {second:8.3f} s  = {second / first:7.2%} of the first")


if __name__ == "__main__":
    main()
