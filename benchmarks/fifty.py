"""Fifty machines with fifty root disks from one image on one host: ours against a loop of virt-install.

Ours is the whole of ``reconciler apply``: reading the manifests, looking at the host, placing, rendering,
Ansible, bringing the image over ssh and making disks and domains.  The rival is what people write: a loop in
the host's own shell that copies the image and calls ``virt-install --import``.  So that nobody has to wonder
what the copying costs, the same loop runs with ``qemu-img create -b`` in the place of the copy as well.

Needs the lab (root, libvirtd, qemu) and virt-install (Debian: virtinst).  The machines boot a sector that
halts, so they cost no CPU once they run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.ratio import Ratio
from reconciler.lab import Lab, LabHost
from reconciler.lab.guests import halt_sector
from reconciler.settings import bin_dir, child_environment

_MACHINES, _FEW = 50, 4
_IMAGE_MIB = 64
_MEMORY_MIB = 32
_POOL = "/var/lib/libvirt/images"
_CONFIG = """\
source: {path: desired}
inventory: [lab/inventory.yml, crowded.yml]
stateDir: state
"""
_CROWDED = "all: {vars: {reconciler_cpu_overcommit: 1000}}\n"
_IMAGE = """\
apiVersion: reconciler/v1
kind: Image
metadata: {name: base}
spec: {path: ../base.qcow2}
"""
_MACHINE = """\
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {{name: bench-{number}}}
spec: {{cpus: 1, memory: {memory}Mi, image: base}}
"""
_LOOP = """\
set -e
cd {pool}
for number in $(seq {count}); do
    {disk}
    virt-install --quiet --connect qemu:///system --name "rival-$number" --virt-type qemu \\
        --memory {memory} --vcpus 1 --import \\
        --disk "path={pool}/rival-$number.qcow2,format=qcow2,bus=virtio" \\
        --osinfo generic --network none --graphics none --noautoconsole
done
"""
_COPY = 'cp base.qcow2 "rival-$number.qcow2"'
_OVERLAY = 'qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "rival-$number.qcow2"'
_CLEAR = f"""\
for domain in $(virsh list --all --name); do virsh destroy "$domain"; virsh undefine "$domain"; done
find {_POOL} -type f ! -name base.qcow2 -delete
virsh pool-refresh default
"""
_MAY_TAKE = 900.0


def run(quick: bool) -> Iterable[Ratio]:
    if shutil.which("virt-install") is None:
        raise RuntimeError("there is no virt-install: apt-get install virtinst")
    count = _FEW if quick else _MACHINES
    folder = Path(tempfile.mkdtemp(prefix="fifty-"))
    lab = Lab(folder / "lab")
    try:
        lab.up(1)
        (host,) = lab.hosts
        _make_image(folder / "base.qcow2")
        ours = _ours(folder, count)
        images = _check(host, count, folder / "base.qcow2")
        _clear(host)
        shutil.copyfile(folder / "base.qcow2", host.images_dir / "base.qcow2")
        copying = _rival(host, count, _COPY)
        _clear(host)
        overlaying = _rival(host, count, _OVERLAY)
        _clear(host)
    finally:
        lab.down(purge=True)
        shutil.rmtree(folder, ignore_errors=True)
    sizes = f"{count} machines, image of {_IMAGE_MIB} MiB: {ours:.1f} s, {images} image copy"
    yield Ratio(
        "create machines from an image, against virt-install in a loop",
        ours,
        copying,
        at_least=3.0,
        note=f"{sizes}; the loop {copying:.1f} s and {count} copies",
    )
    yield Ratio(
        "the same, if the loop makes overlays instead of copies",
        ours,
        overlaying,
        at_least=1.0,
        note=f"{sizes}; the loop {overlaying:.1f} s",
    )


def _make_image(path: Path) -> None:
    """A disk full of noise, which no compression and no hole makes cheaper, and a sector that halts."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(halt_sector() + os.urandom((_IMAGE_MIB << 20) - 512))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    raw.unlink()


def _ours(folder: Path, count: int) -> float:
    (folder / "desired").mkdir()
    manifests = [_MACHINE.format(number=number, memory=_MEMORY_MIB) for number in range(count)]
    (folder / "desired" / "machines.yaml").write_text(_IMAGE + "".join(manifests))
    (folder / "reconciler.yaml").write_text(_CONFIG)
    (folder / "crowded.yml").write_text(_CROWDED)
    environment = child_environment({"RECONCILER_STATE_DIR": None})
    command = [bin_dir() / "reconciler", "apply", "--yes"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"reconciler apply failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return seconds


def _rival(host: LabHost, count: int, disk: str) -> float:
    script = _LOOP.format(pool=_POOL, count=count, memory=_MEMORY_MIB, disk=disk)
    start = time.perf_counter()
    host.run(script, timeout=_MAY_TAKE)
    seconds = time.perf_counter() - start
    _running(host, count)
    return seconds


def _check(host: LabHost, count: int, image: Path) -> int:
    """That every machine runs from a disk of its own; how often the image's bytes lie in the pool."""
    _running(host, count)
    disks = sorted(path for path in host.images_dir.iterdir() if ".root." in path.name)
    if len(disks) != count:
        raise RuntimeError(f"there are {len(disks)} disks for {count} machines")
    told = host.run(f"qemu-img info -U --output=json {_POOL}/{disks[0].name}").stdout
    if "backing-filename" not in json.loads(told):
        raise RuntimeError("the disks do not lie over the image")
    occupied = sum(path.stat().st_blocks * 512 for path in host.images_dir.iterdir())
    return occupied // image.stat().st_size


def _running(host: LabHost, count: int) -> None:
    running = len(host.virsh("list", "--name").split())
    if running != count:
        raise RuntimeError(f"{running} of {count} machines run")


def _clear(host: LabHost) -> None:
    host.run(_CLEAR, check=False, timeout=_MAY_TAKE)


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
