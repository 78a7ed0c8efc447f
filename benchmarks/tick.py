"""A tick with nothing to do, over a fleet of the size of a company, against the first full tick.

Every part is real: YAML in files, Ansible's own inventory, the store on disk, libvirt connections with
domains that carry our mark. Only the hypervisors are libvirt's test driver, in this process, so that what
a host works to answer us is counted as ours, in every tick.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import _fleet
from benchmarks.ratio import Ratio
from reconciler.engine import Engine, Tick

_GIB = 1 << 30


@dataclass
class Figures:
    """What was measured: seconds of cpu and of the clock by stage, bytes of memory at its peak."""

    cpu: dict[str, float] = field(default_factory=dict)
    clock: dict[str, float] = field(default_factory=dict)
    peak: int = 0
    of_hosts: int = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure this; of several stages of one name the cheapest counts."""
        cpu, clock = time.process_time(), time.perf_counter()
        yield
        cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
        self.cpu[name] = min(cpu, self.cpu.get(name, cpu))
        self.clock[name] = min(clock, self.clock.get(name, clock))

    def told(self, name: str) -> str:
        return f"{_time(self.cpu[name])} cpu, {_time(self.clock[name])} by the clock"


def run(quick: bool = False) -> list[Ratio]:
    """The idle tick's cpu time, its memory, and what two small changes cost."""
    hosts, machines, files = (64, 1024, 16) if quick else (1250, 20_000, 250)
    with tempfile.TemporaryDirectory(prefix="tick-") as name:
        folder = Path(name)
        made = _in_a_fresh_process(populate, folder, hosts, machines, files)
        seen = _in_a_fresh_process(measure, folder, machines, 5 if quick else 10)
    size = f"{hosts} hosts, {machines} machines in {files} files"
    first = seen.cpu["first"]
    return [
        Ratio(
            "idle tick / first full tick, cpu",
            seen.cpu["idle"],
            first,
            at_most=0.05,
            note=f"{size}: {seen.told('idle')}; first {seen.told('first')}",
        ),
        Ratio(
            "peak memory of those ticks / 1 GiB",
            seen.peak,
            _GIB,
            at_most=1,
            note=f"{seen.peak >> 20} MiB, {seen.of_hosts >> 20} of them the hosts themselves",
        ),
        Ratio(
            "tick that sees one domain killed / first full tick, cpu",
            seen.cpu["killed"],
            first,
            note=seen.told("killed"),
        ),
        Ratio(
            "tick after a change of one file / first full tick, cpu",
            seen.cpu["edited"],
            first,
            note=seen.told("edited"),
        ),
        Ratio(
            "planning everything from nothing / first full tick, cpu",
            made.cpu["plan"],
            first,
            note=f"{made.told('plan')}, of which placing {made.told('place')}",
        ),
    ]


def populate(folder: Path, hosts: int, machines: int, files: int) -> Figures:
    """Plan the whole fleet from nothing, and put on every host what the plan would have made there."""
    figures = Figures()
    _fleet.lay_out(folder, hosts, machines, files)
    with _fleet.engine(folder) as engine:
        engine.rooms.observer.observe(engine.rooms.inventory.hosts())
        with figures.stage("plan"):
            look = engine.look()
        assert len(look.plan.changes) == machines, look.plan.blocked[:1]
        with figures.stage("place"):
            engine.rooms.allocator.place(look.survey.demands, look.survey.capacities)
        _fleet.populate(folder, engine.rooms, look.plan.by_host())
    return figures


def measure(folder: Path, machines: int, ticks: int) -> Figures:
    """The first tick, idle ones, and those that find a little to do."""
    figures = Figures()
    before = _memory("VmRSS")
    with _fleet.engine(folder) as whole:
        hosts = _fleet.Hosts(whole.rooms.inventory.hosts().values())
    figures.of_hosts = _memory("VmRSS") - before
    with _fleet.engine(folder, hosts) as engine:
        with figures.stage("first"):
            look = _turn(engine).look
        assert look.plan.empty, look.plan.actions[:1]
        assert look.plan.unchanged == machines
        for _ in range(ticks):
            with figures.stage("idle"):
                _turn(engine)
        _kill(hosts["h0"])
        with figures.stage("killed"):
            plan = _turn(engine).look.plan
        assert [action.operation.kind for action in plan.actions] == ["start"], plan.actions
        _edit(folder / "desired")
        with figures.stage("edited"):
            plan = _turn(engine).look.plan
        assert len(plan.changes) == 2, plan.changes
    figures.peak = _memory("VmHWM")
    return figures


def _turn(engine: Engine) -> Tick:
    """One tick that carries nothing out."""
    return engine.reconcile_once(push=False)


def _kill(host: Any) -> None:
    """End a domain, and wait for the event that tells of it."""
    host.listAllDomains(0)[0].destroy()
    time.sleep(0.5)


def _edit(desired: Path) -> None:
    file = desired / "machines-00001.yaml"
    file.write_text(file.read_text().replace("description: machine", "description: the machine", 1))


def _in_a_fresh_process(work: Callable[..., Figures], *arguments: object) -> Figures:
    """Nothing is warm there, and the memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _memory(word: str) -> int:
    """Bytes of a line of /proc/self/status. getrusage's peak would be inherited from our parent."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{word}:")) << 10


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
