"""Thirty machines created and started on three lab hosts: ours against raw libvirt calls in parallel.

Ours is everything that a push does: rendering, ansible-runner, checks of names and marks.  The raw side
makes the same domains from the same XML with nothing but ``defineXML`` and ``create``, over connections that
are open already.  The aim allows 1.5 times the raw calls plus one start of Ansible.

Needs the lab (root, libvirtd, qemu). The machines boot a sector that halts, so they cost no CPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import libvirt

from benchmarks.ratio import Ratio
from reconciler.desired.inventory import Inventory
from reconciler.model.config import PushConfig
from reconciler.model.domain import Applied, DiskConfig, DomainConfig
from reconciler.model.host import Host
from reconciler.model.operations import Define, Start
from reconciler.model.plan import Action, Impact, Outcome, Plan
from reconciler.push.pusher import Pusher
from reconciler.push.render import HostTraits, render_domain
from reconciler.settings import bin_dir

_HOSTS = 3
_OWNER = "bench"
_PARALLEL = 4
_SECTOR = b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
"""cli; hlt; jmp back to hlt; and what makes a BIOS boot it."""
_PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.meta: noop\n"


def run(quick: bool) -> Iterable[Ratio]:
    each = 2 if quick else 10
    folder = Path(tempfile.mkdtemp(prefix="create-"))
    try:
        _reconciler("lab", "up", "--hosts", str(_HOSTS), "--dir", str(folder / "lab"))
        inventory = folder / "lab" / "inventory.yml"
        hosts = Inventory([inventory], folder / "state").hosts()
        connections = {name: libvirt.open(host.uri) for name, host in hosts.items()}
        machines = {name: _machines(at, each, conn) for at, (name, conn) in enumerate(connections.items())}
        raw = _raw(connections, machines)
        _remove(connections, machines)
        ours = _ours(folder, inventory, hosts, machines)
        _remove(connections, machines)
        start = _one_start(folder, inventory)
    finally:
        _reconciler("lab", "down", "--dir", str(folder / "lab"))
        shutil.rmtree(folder, ignore_errors=True)
    note = f"{each * _HOSTS} machines: {ours:.1f} s; raw calls {raw:.1f} s, one start {start:.1f} s"
    # The aim is 1.5 * raw + start, so what is compared is what a push takes beyond one start.
    yield Ratio("create machines, beyond one start of Ansible", ours - start, raw, at_most=1.5, note=note)


def _reconciler(*words: str) -> None:
    subprocess.run([bin_dir() / "reconciler", *words], check=True, stdout=subprocess.DEVNULL)


def _machines(host: int, count: int, conn: libvirt.virConnect) -> list[DomainConfig]:
    """Configurations of machines that share one read-only sector, which is put into the pool first."""
    pool = conn.storagePoolLookupByName("default")
    volume = pool.createXML("<volume><name>halt.bench.raw</name><capacity>1048576</capacity></volume>", 0)
    stream = conn.newStream(0)
    volume.upload(stream, 0, len(_SECTOR), 0)
    stream.send(_SECTOR)
    stream.finish()
    machines = []
    for number in range(count):
        uid = str(UUID(int=(4 << 76) + (8 << 60) + host * 1000 + number))
        path = f"{volume.path()[: -len('halt.bench.raw')]}{uid}.raw"
        pool.createXMLFrom(f"<volume><name>{uid}.raw</name><capacity>1048576</capacity></volume>", volume, 0)
        machines.append(
            DomainConfig(
                f"bench-{host}-{number}",
                uid,
                virt_type="qemu",
                cpus=1,
                memory=32 << 20,
                disks=(DiskConfig("vda", "virtio", path, "raw", None, "root"),),
                console="serial",
            )
        )
    return machines


def _mark(config: DomainConfig) -> Applied:
    return Applied(_OWNER, config.uuid, config.name, 1, "0" * 32, config)


def _raw(connections: Mapping[str, libvirt.virConnect], machines: Mapping[str, list[DomainConfig]]) -> float:
    def create(conn: libvirt.virConnect, xml: str) -> None:
        conn.defineXML(xml).create()

    work = [
        (connections[name], render_domain(config, _mark(config), HostTraits()))
        for name, configs in machines.items()
        for config in configs
    ]
    with ThreadPoolExecutor(_PARALLEL * _HOSTS) as threads:
        start = time.perf_counter()
        list(threads.map(lambda pair: create(*pair), work))
        return time.perf_counter() - start


def _ours(
    folder: Path, inventory: Path, hosts: Mapping[str, Host], machines: Mapping[str, list[DomainConfig]]
) -> float:
    actions: list[Action] = []
    for host, configs in machines.items():
        for config in configs:
            define, start = f"{config.name}/define", f"{config.name}/start"
            common = (host, config.name, config.uuid)
            actions.append(Action(define, *common, Define(config, _mark(config)), Impact.NONE, "benchmark"))
            actions.append(Action(start, *common, Start(), Impact.NONE, "benchmark", (define,)))
    pusher = Pusher(PushConfig(parallel=_PARALLEL), _OWNER, [inventory], folder / "state")
    began = time.perf_counter()
    results = pusher.push(Plan("bench", (), tuple(actions)), hosts, {}, {})
    seconds = time.perf_counter() - began
    bad = [result for result in results if result.outcome is not Outcome.CHANGED]
    if bad:
        raise RuntimeError(f"{len(bad)} of {len(results)} actions did not happen: {bad[0]}")
    return seconds


def _remove(
    connections: Mapping[str, libvirt.virConnect], machines: Mapping[str, list[DomainConfig]]
) -> None:
    for name, configs in machines.items():
        for config in configs:
            domain = connections[name].lookupByUUIDString(config.uuid)
            with suppress(libvirt.libvirtError):
                domain.destroy()
            domain.undefine()


def _one_start(folder: Path, inventory: Path) -> float:
    play = folder / "noop.yml"
    play.write_text(_PLAY)
    start = time.perf_counter()
    words = [bin_dir() / "ansible-playbook", "-i", inventory, play]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
