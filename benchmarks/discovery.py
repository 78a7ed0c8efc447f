"""Discovery of many hosts over a network with latency, against the loop that everybody writes first.

The hosts are connections to one real libvirtd with libvirt's test driver, each with a node of its own,
through a relay that adds a millisecond to every call.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import libvirt

from benchmarks._libvirtd import start_unprivileged
from benchmarks.ratio import Ratio
from reconciler.model.host import Host
from reconciler.observed import eventloop
from reconciler.observed.connection import Connection
from reconciler.observed.domain_xml import parse_domain
from reconciler.observed.fleet import Observer

LATENCY = 0.001
HUNG = "hung"
_DEADLINE = 60.0


def run(quick: bool = False) -> list[Ratio]:
    """First look, further looks, and what one hung host costs the others."""
    hosts, domains, sample, looks = (10, 10, 2, 3) if quick else (100, 100, 10, 15)
    with _network(hosts, domains) as (fleet, hung):
        eventloop.ensure()
        # Both sides start with the same open connections: connecting costs what it costs.
        connections = {host.name: libvirt.open(host.uri) for host in fleet.values()}
        naive = _naive(list(connections.values())[:sample]) * hosts / sample
        observer = Observer("default", opener=lambda host, news: Connection(connections[host.name], news))
        first = _look(observer, fleet)
        further = min(_look(observer, fleet) for _ in range(looks))
        alone, beside = _beside_a_hung_host(observer, fleet, hung, looks)
        observer.close()
    size = f"{hosts} hosts x {domains} domains, {LATENCY * 1000:g} ms a call"
    return [
        Ratio(
            "discovery, first look / per-domain calls",
            first,
            naive,
            at_least=20,
            note=f"{size}: {first:.2f} s against {naive:.1f} s (from {sample} hosts)",
        ),
        Ratio(
            "discovery, further looks / per-domain calls",
            further,
            naive,
            at_least=20,
            note=f"{further * 1000:.0f} ms against {naive:.1f} s",
        ),
        Ratio(
            "discovery of the others beside a hung host",
            beside,
            alone,
            at_most=1.05,
            note=f"{hosts - 1} hosts: {beside * 1000:.0f} ms beside it, {alone * 1000:.0f} ms without",
        ),
    ]


def _look(observer: Observer, fleet: Mapping[str, Host]) -> float:
    """Seconds of one look that has to succeed at every host but a hung one."""
    start = time.perf_counter()
    seen = observer.observe(fleet)
    seconds = time.perf_counter() - start
    assert [name for name, host in seen.items() if not host.known] == [HUNG] * (HUNG in fleet)
    return seconds


def _beside_a_hung_host(
    observer: Observer, fleet: dict[str, Host], hung: Host, looks: int
) -> tuple[float, float]:
    """The quickest of many looks at all hosts but one, and of as many with a hung one in its place."""
    others = dict(list(fleet.items())[1:])
    troubled = {**others, HUNG: hung}
    second = Observer("default")
    # The look at which the hung host costs its own deadline, once.
    _look(second, troubled)
    _look(observer, others)
    pairs = [(_look(observer, others), _look(second, troubled)) for _ in range(looks * 3)]
    second.close()
    return min(alone for alone, _ in pairs), min(beside for _, beside in pairs)


def _naive(connections: list[libvirt.virConnect]) -> float:
    """Seconds for one host after the other, one domain after the other."""
    start = time.perf_counter()
    for connection in connections:
        for domain in connection.listAllDomains(0):
            domain.state()
            domain.isPersistent()
            domain.autostart()
            parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "default")
            parse_domain(domain.XMLDesc(0), "default")
    return time.perf_counter() - start


@contextmanager
def _network(hosts: int, domains: int) -> Iterator[tuple[dict[str, Host], Host]]:
    """The hosts behind the relay, and one that takes connections and never answers."""
    folder = Path(tempfile.mkdtemp(prefix="discovery-"))
    folder.chmod(0o755)
    started = []
    silent = socket.socket(socket.AF_UNIX)
    try:
        started.append(_libvirtd(folder))
        relay = [sys.executable, "-m", "benchmarks._relay", folder / "relay", folder / "run/libvirt-sock"]
        started.append(subprocess.Popen([*relay, str(LATENCY)]))
        _until((folder / "relay").is_socket)
        fleet = {}
        for number in range(hosts):
            node = folder / f"node{number}.xml"
            node.write_text(_node(number, domains))
            uri = f"test+unix://{node}?socket={folder}/relay"
            fleet[f"h{number}"] = Host(f"h{number}", uri, deadline=_DEADLINE)
        silent.bind(str(folder / "silent"))
        silent.listen(16)
        yield fleet, Host(HUNG, f"test+unix:///default?socket={folder}/silent", deadline=0.5)
    finally:
        silent.close()
        for process in started:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def _libvirtd(folder: Path) -> subprocess.Popen[bytes]:
    """A libvirtd of our own that answers."""
    home = folder / "run"
    home.mkdir()
    process = start_unprivileged(home)
    _until((home / "libvirt-sock").is_socket)
    return process


def _node(number: int, domains: int) -> str:
    return f"""
    <node>
      {"".join(_domain(number, index) for index in range(domains))}
      <network><name>default</name><bridge name='virbr0'/><ip address='192.0.2.1'/></network>
      <pool type='dir'><name>default</name><target><path>/pool</path></target></pool>
      <cpu><mhz>2400</mhz><model>x86_64</model><active>64</active></cpu>
      <memory>268435456</memory>
    </node>"""


def _domain(host: int, index: int) -> str:
    return f"""
      <domain type='test'>
        <name>vm-{host}-{index}</name><uuid>{UUID(int=(4 << 76) + (8 << 60) + host * 10_000 + index)}</uuid>
        <memory unit='MiB'>1024</memory><vcpu>2</vcpu>
        <os><type arch='x86_64'>hvm</type></os>
        <devices>
          <disk type='file' device='disk'>
            <driver type='qcow2'/><source file='/pool/{host}-{index}'/><target dev='vda' bus='virtio'/>
          </disk>
          <interface type='network'><source network='default'/><model type='virtio'/></interface>
        </devices>
      </domain>"""


def _until(what: object) -> None:
    for _ in range(500):
        if what():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise TimeoutError("the benchmark's libvirtd or relay does not start")


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
