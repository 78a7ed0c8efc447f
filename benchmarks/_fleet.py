"""A fleet without hypervisors: each host is a connection of its own to libvirt's test driver.

FOLDER/desired/     YAML, as people write it
FOLDER/hosts.yml    the Ansible inventory
FOLDER/nodes/       what each host is and holds, in the format of the test driver
FOLDER/state/       our store
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt

from reconciler.cli.app import App
from reconciler.engine import Engine, Rooms
from reconciler.model.host import Host
from reconciler.model.plan import Action
from reconciler.observed.connection import Connection, Listener
from reconciler.observed.fleet import Observer
from reconciler.push.host_plan import HostPlanner

POOL = "/var/lib/libvirt/images"
ZONES = 16
_PRESET = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""
# A pool of the test driver has 100 GB, always.
_MACHINE = """\
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata:
  name: vm-{number}
  labels: {{app: app-{app}}}
spec:
  instanceType: small
  description: machine {number}
  rootDisk:
    size: 4Gi
  interfaces:
    - network: default
  placement:
    hostSelector: {{zone: "{zone}"}}
    antiAffinity:
      - selector: {{app: app-{app}}}
"""
_CONFIG = """\
source: {path: desired}
inventory: [hosts.yml]
stateDir: state
# As many on each host as on any other.
allocator: {algorithm: worst-fit}
"""


def lay_out(folder: Path, hosts: int, machines: int, files: int) -> None:
    """Write the desired state, the inventory and hosts that hold nothing yet."""
    for name in ("desired", "nodes", "state"):
        (folder / name).mkdir()
    (folder / "reconciler.yaml").write_text(_CONFIG)
    _write_desired(folder / "desired", machines, files)
    inventory: dict[str, Any] = {"vars": {"reconciler_virt_type": "test"}, "hosts": {}}
    for number in range(hosts):
        host = f"h{number}"
        write_node(folder, host)
        inventory["hosts"][host] = {
            "reconciler_uri": f"test://{node(folder, host)}",
            "reconciler_labels": {"zone": str(number % ZONES)},
        }
    (folder / "hosts.yml").write_text(json.dumps({"all": inventory}, indent=1))


def _write_desired(folder: Path, machines: int, files: int) -> None:
    """Machines of four per application, apart from each other, spread over the files."""
    (folder / "types.yaml").write_text(_PRESET)
    for file in range(files):
        numbers = range(file * machines // files, (file + 1) * machines // files)
        texts = (_MACHINE.format(number=n, app=n // 4, zone=n // 4 % ZONES) for n in numbers)
        (folder / f"machines-{file:05}.yaml").write_text("".join(texts))


def node(folder: Path, host: str) -> Path:
    return folder / "nodes" / f"{host}.xml"


def write_node(folder: Path, host: str, domains: Iterable[str] = (), volumes: Iterable[str] = ()) -> None:
    """Write a host with these domains, all running, and these volumes in its pool."""
    files = (f"<volume><name>{name}</name><capacity>{10 << 30}</capacity></volume>" for name in volumes)
    node(folder, host).write_text(
        f"""<node>
  {"".join(domains)}
  <network><name>default</name><bridge name='virbr0'/><ip address='192.0.2.1'/></network>
  <pool type='dir'><name>default</name><target><path>{POOL}</path></target>{"".join(files)}</pool>
  <cpu><mhz>2400</mhz><model>x86_64</model><active>64</active></cpu>
  <memory>{256 << 20}</memory>
</node>"""
    )


def populate(folder: Path, rooms: Rooms, actions: Mapping[str, tuple[Action, ...]]) -> None:
    """Give every host what a plan would have made there, rendered by our own templates."""
    planner = HostPlanner(rooms.config.owner, 1, rooms.inventory.hosts(), {})
    for host, mine in actions.items():
        steps = planner.document(host, mine)["actions"]
        domains = [step["xml"] for step in steps if step["kind"] == "define"]
        volumes = [step["volume"] for step in steps if step["kind"] == "create-volume"]
        write_node(folder, host, domains, volumes)


class Hosts:
    """Connections to the hosts, opened beforehand: a real host does not grow inside our process."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._raw: dict[str, Any] = {host.name: libvirt.open(host.uri) for host in hosts}

    def __getitem__(self, host: str) -> Any:
        return self._raw[host]

    def open(self, host: Host, listener: Listener) -> Connection:
        """An `Opener`."""
        return Connection(self._raw[host.name], listener)


@contextmanager
def engine(folder: Path, hosts: Hosts | None = None) -> Iterator[Engine]:
    """The engine that `reconciler run` would have in this folder."""
    app = App(folder / "reconciler.yaml")
    with app.engine() as whole:
        if hosts is None:
            yield whole
            return
        observer = Observer(app.loaded.config.owner, opener=hosts.open)
        try:
            yield Engine(replace(whole.rooms, observer=observer), app.state_dir)
        finally:
            observer.close()
