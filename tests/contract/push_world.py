"""What the push's contract tests share: a test host in process, and plans for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt

from reconciler.model.domain import Applied, DomainConfig
from reconciler.model.host import Host
from reconciler.model.operations import Define, Operation
from reconciler.model.plan import Action, Impact
from reconciler.push.host_plan import HostPlanner
from reconciler.settings import data_dir

sys.path.insert(0, str(data_dir("playbooks") / "plugin_utils"))

from reconciler_apply.executor import Executor
from reconciler_apply.outcome import Result

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
OWNER = "default"
HOST = Host("h1", "test:///default", virt_type="test")

_NODE = """<node>
  <cpu><mhz>2000</mhz><model>i686</model><active>8</active><nodes>1</nodes><sockets>1</sockets><cores>8</cores>
  <threads>1</threads></cpu><memory>33554432</memory>
  <network><name>default</name><bridge name='virbr0'/></network>
  <pool type='dir'><name>default</name><target><path>/pool</path></target></pool>
  {domains}
</node>"""


@contextmanager
def node(tmp_path: Path, domains: str = "") -> Iterator[libvirt.virConnect]:
    """A test host of its own, with one network and one pool at ``/pool``."""
    path = tmp_path / "node.xml"
    path.write_text(_NODE.format(domains=domains))
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    conn = libvirt.open(f"test://{path}")
    try:
        yield conn
    finally:
        conn.close()


def config(name: str = "web-1", uid: str = UID, **fields: Any) -> DomainConfig:
    base = DomainConfig(
        name, uid, virt_type="test", cpus=1, max_cpus=2, memory=128 << 20, max_memory=256 << 20, disks=()
    )
    return replace(base, **fields)


def mark_of(of: DomainConfig, generation: int = 1, owner: str = OWNER) -> Applied:
    return Applied(owner, of.uuid, of.name, generation, "0" * 32, of)


def action(operation: Operation, *after: str, detail: str = "", uid: str = UID, vm: str = "web-1") -> Action:
    key = f"{vm}/{operation.kind}{'/' + detail if detail else ''}"
    return Action(key, HOST.name, vm, uid, operation, Impact.NONE, "test", after)


def defined(of: DomainConfig, owner: str = OWNER) -> Action:
    return action(Define(of, mark_of(of, owner=owner)), uid=of.uuid, vm=of.name)


def document(*actions: Action, templates: dict[str, str] | None = None, host: Host = HOST) -> dict[str, Any]:
    return HostPlanner(OWNER, 4, {host.name: host}, {}, templates or {}).document(host.name, actions)


def carry_out(
    conn: libvirt.virConnect, directory: Path, *actions: Action, check: bool = False
) -> dict[str, Result]:
    """Do it, and give the results by the kind (and detail) of their actions."""
    results = Executor(document(*actions), directory, check=check).carry_out(conn)
    return {result.id.partition("/")[2]: result for result in results}
