"""Five operations on each of fifty hosts: ours against a plain playbook with one module task an operation.

The hosts are fifty names for one libvirtd with the test driver, so both sides pay for Ansible and for talking
to libvirt, and neither for a hypervisor.  The rival gets the same forks, and pipelining.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import yaml

from benchmarks._libvirtd import test_driver
from benchmarks.ratio import Ratio
from reconciler.model.config import PushConfig
from reconciler.model.domain import Applied, DomainConfig
from reconciler.model.host import Host
from reconciler.model.operations import Define, Operation, SetAutostart, SetDescription, SetMemory, Start
from reconciler.model.plan import Action, Impact, Outcome, Plan
from reconciler.push.pusher import Pusher
from reconciler.push.render import HostTraits, render_domain
from reconciler.settings import bin_dir

_RIVAL = Path(__file__).parent / "rival"
_FORKS = 50


def run(quick: bool) -> Iterable[Ratio]:
    names = [f"h{number:02d}" for number in range(5 if quick else 50)]
    with test_driver() as uri, tempfile.TemporaryDirectory(prefix="push-") as scratch:
        folder = Path(scratch)
        inventory = _inventory(folder, names, uri)
        ours = _ours(folder, inventory, names, uri)
        rival = _rival(folder, inventory)
    note = f"{len(names)} hosts: {ours:.1f} s against {rival:.1f} s"
    yield Ratio("push 5 operations to each host", ours, rival, at_least=20, note=note)


def _inventory(folder: Path, names: list[str], uri: str) -> Path:
    hosts = {}
    for number, name in enumerate(names):
        xml = folder / f"{name}.xml"
        xml.write_text(_xml(_config(f"rival-{name}", 1000 + number)))
        hosts[name] = {"xml": str(xml)}
    common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "uri": uri}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))
    return path


def _config(name: str, number: int) -> DomainConfig:
    uid = str(UUID(int=(4 << 76) + (8 << 60) + number))
    return DomainConfig(name, uid, virt_type="test", cpus=1, memory=128 << 20, description="a machine")


def _mark(config: DomainConfig) -> Applied:
    return Applied("bench", config.uuid, config.name, 1, "0" * 32, config)


def _xml(config: DomainConfig) -> str:
    return render_domain(config, _mark(config), HostTraits())


def _ours(folder: Path, inventory: Path, names: list[str], uri: str) -> float:
    hosts = {name: Host(name, uri) for name in names}
    actions = [action for number, name in enumerate(names) for action in _actions(name, number)]
    pusher = Pusher(PushConfig(forks=_FORKS), "bench", [inventory], folder / "state")
    start = time.perf_counter()
    results = pusher.push(Plan("bench", (), tuple(actions)), hosts, {}, {})
    seconds = time.perf_counter() - start
    bad = [result for result in results if result.outcome is not Outcome.CHANGED]
    if bad:
        raise RuntimeError(f"{len(bad)} of {len(results)} actions did not happen: {bad[0]}")
    return seconds


def _actions(host: str, number: int) -> list[Action]:
    config = _config(f"ours-{host}", number)
    steps: list[Operation] = [
        Define(config, _mark(config)),
        Start(),
        SetMemory(64 << 20),
        SetDescription("another"),
        SetAutostart(True),
    ]
    actions: list[Action] = []
    for step in steps:
        after = (actions[-1].id,) if actions else ()
        key = f"{config.name}/{step.kind}"
        actions.append(Action(key, host, config.name, config.uuid, step, Impact.NONE, "benchmark", after))
    return actions


def _rival(folder: Path, inventory: Path) -> float:
    words = [bin_dir() / "ansible-playbook", "-i", inventory, "--forks", str(_FORKS), _RIVAL / "steps.yml"]
    environment = os.environ | {"ANSIBLE_PIPELINING": "true", "ANSIBLE_LOCALHOST_WARNING": "false"}
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return seconds


if __name__ == "__main__":
    for ratio in run("--quick" in sys.argv):
        print(f"{ratio.name}: {ratio.value:.3g}x (aim {ratio.aim}) {ratio.note}")
