"""A real engine over hosts of libvirt's test driver, in this process.

Only Ansible is left out: the same documents go to the same executor, over the observer's connection.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import libvirt

from reconciler.allocator import make_allocator
from reconciler.desired.source import open_source
from reconciler.engine import Engine, Look, Rooms, Tick
from reconciler.external import run_program
from reconciler.lending import Lending
from reconciler.model.config import Config, SourceConfig
from reconciler.model.host import Fleet, Host, HostStatus, ObservedHost
from reconciler.model.plan import Action, ActionResult, Outcome, Plan
from reconciler.model.pool import Member, MemberState
from reconciler.observed.connection import Connection
from reconciler.observed.fleet import Observer
from reconciler.push.host_plan import HostPlanner
from reconciler.settings import data_dir
from reconciler.store.base import Store
from reconciler.store.base_leases import Checkout
from reconciler.store.sql import open_store

sys.path.insert(0, str(data_dir("playbooks") / "plugin_utils"))

from reconciler_apply.executor import Executor

NODE = """<node>
  <network><name>default</name><bridge name='virbr0'/><ip address='192.0.2.1'/></network>
  <pool type='dir'><name>default</name><target><path>/pool-{name}</path></target></pool>
  <cpu><mhz>2400</mhz><model>x86_64</model><active>64</active></cpu>
  <memory>268435456</memory>
</node>"""

POOL = """\
apiVersion: reconciler/v1
kind: VirtualMachinePool
metadata: {{name: {name}}}
spec:
  size: {{max: {max}, warm: {warm}}}
  onCheckin: {way}
  {more}
  template:
    labels: {{app: farm}}
    spec: {{cpus: {cpus}, memory: 64Mi, console: none, rootDisk: {{size: 1Mi}}, stopTimeout: 0s}}
"""


class KilledError(Exception):
    """The process dies here."""


class Inventory:
    """The hosts, as a test sets them."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts

    def hosts(self) -> Mapping[str, Host]:
        return self._hosts


class Eyes(Observer):
    """Sees all hosts but those that do not answer."""

    silent: frozenset[str] = frozenset()

    def observe(self, hosts: Mapping[str, Host]) -> Fleet:
        fleet = super().observe(hosts)
        return {name: _SILENT[name] if name in self.silent else seen for name, seen in fleet.items()}


_SILENT = {
    name: ObservedHost(name, HostStatus.UNREACHABLE, message="no answer") for name in ("h1", "h2", "h3")
}


class Farm:
    """An installation: a source, a store, some hosts, and the loop by hand."""

    def __init__(self, folder: Path, hosts: Iterable[str] = ("h1", "h2")) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)
        self.connections: dict[str, Connection] = {}
        self.pushed: list[Plan] = []
        self.before_push: Callable[[Plan], None] = lambda _: None
        self.after_push: Callable[[Plan], None] = lambda _: None
        self.fails: Callable[[Action], bool] = lambda _: False
        self.late = 0.0
        self.hosts = {name: self._host(name) for name in hosts}
        self.start()

    def _host(self, name: str) -> Host:
        path = self.folder / f"{name}.xml"
        path.write_text(NODE.format(name=name))
        return Host(name, f"test://{path}", virt_type="test", reserved_memory=0)

    # -- the processes -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin as a daemon does that was just started."""
        self.store: Store = open_store(self.folder / "state")
        clock = self.store.lease_time
        self.store.lease_time = lambda: clock() + self.late  # type: ignore[method-assign]
        config = Config.model_validate({"limits": {"deletions": 10, "deletions_percent": 100}})
        self.observer = Eyes("default", opener=self._open)
        self.engine = Engine(
            Rooms(
                config=config,
                source=open_source(SourceConfig(path=str(self.source)), self.folder),
                inventory=Inventory(self.hosts),  # type: ignore[arg-type]
                observer=self.observer,
                allocator=make_allocator(config.allocator, run_program),
                pusher=self,  # type: ignore[arg-type]
                store=self.store,
            ),
            self.folder / "state",
            self.clock,
        )
        self.lending = Lending(self.engine, self.clock)

    def clock(self) -> float:
        """The time of day, later by what a test adds."""
        return time.time() + self.late

    def stop(self) -> None:
        """The process is gone; the hosts stay."""
        self.store.close()

    def lose_store(self) -> None:
        """The process is gone, and so is what it wrote down."""
        self.stop()
        for file in (self.folder / "state").iterdir():
            file.unlink()
        self.start()

    def _open(self, host: Host, listener: object) -> Connection:
        if host.name not in self.connections:
            connection = Connection.open(host, listener)  # type: ignore[arg-type]
            # Such a node lives as long as its connection.
            connection.close = lambda: None  # type: ignore[method-assign]
            self.connections[host.name] = connection
        return self.connections[host.name]

    def push(
        self,
        plan: Plan,
        hosts: Mapping[str, Host],
        fleet: Fleet,
        templates: Mapping[str, str],
        on_progress: Callable[[ActionResult | str], None] = lambda _: None,
    ) -> tuple[ActionResult, ...]:
        """As `Pusher.push`, without Ansible."""
        self.before_push(plan)
        self.pushed.append(plan)
        results = self._carried_out(plan, hosts, fleet, templates)
        self.after_push(plan)
        return results

    def _carried_out(
        self, plan: Plan, hosts: Mapping[str, Host], fleet: Fleet, templates: Mapping[str, str]
    ) -> tuple[ActionResult, ...]:
        planner = HostPlanner("default", 4, hosts, fleet, templates, None)
        results: dict[str, ActionResult] = {}
        for name, actions in plan.by_host().items():
            doomed = {action.id for action in actions if self.fails(action)}
            chosen = [action for action in actions if action.id not in doomed]
            run = self.folder / "run"
            run.mkdir(exist_ok=True)
            done = Executor(planner.document(name, chosen), run).carry_out(self.connections[name].raw)
            for one in done:
                results[one.id] = ActionResult(
                    one.id, name, one.vm, Outcome(one.outcome), one.message, one.reason, one.terminal
                )
            for action in actions:
                if action.id in doomed:
                    results[action.id] = ActionResult(
                        action.id, name, action.vm, Outcome.FAILED, "fate", "Fate"
                    )
        return tuple(results[action.id] for action in plan.actions)

    # -- people --------------------------------------------------------------------------------------

    def declare(self, name: str = "farm", **fields: object) -> None:
        """Write a pool's manifest: max, warm, way, cpus, more (lines of its spec)."""
        values = {"name": name, "max": 4, "warm": 2, "way": "Recreate", "cpus": 1, "more": ""} | fields
        self.write(f"{name}.yaml", POOL.format(**values))

    def write(self, file: str, text: str | None) -> None:
        """Write a file of the source; None removes it."""
        if text is None:
            (self.source / file).unlink()
        else:
            (self.source / file).write_text(text)

    def warm(self, **fields: object) -> None:
        """Declare a pool, and let the loop come to rest."""
        self.declare(**fields)  # type: ignore[arg-type]
        self.settle()

    def silence(self, *hosts: str) -> None:
        """These hosts do not answer from now on; all others do."""
        self.observer.silent = frozenset(hosts)

    def take(self, vm: str, ttl: float = 3600.0, pool: str = "farm", longest: float = 7200.0) -> str:
        """Lend this very machine; the lease's id."""
        wish = Checkout(pool, "ann", "test", ttl, longest)
        lease = self.store.checkout_vm(vm, wish, self.store.lease_time())
        assert lease is not None, f"{vm} is {self.states().get(vm)}"
        return lease.id

    def give_back(self, lease: str) -> None:
        """Check a machine in."""
        assert self.store.checkin(lease, self.store.lease_time()) is not None

    # -- the loop ------------------------------------------------------------------------------------

    def tick(self) -> Tick:
        """One turn of the daemon."""
        self.lending.before()
        tick = self.engine.reconcile_once()
        self.lending.after(tick.look)
        return tick

    def settle(self, turns: int = 20) -> Look:
        """Turn until nothing moves any more."""
        for _ in range(turns):
            self.lending.before()
            tick = self.engine.reconcile_once()
            if not self.lending.after(tick.look) and not tick.results:
                return tick.look
        raise AssertionError(f"it does not come to rest: {self.states()}")

    # -- what is there -------------------------------------------------------------------------------

    def members(self) -> dict[str, Member]:
        """By machine."""
        return {member.vm: member for member in self.store.members()}

    def states(self) -> dict[str, str]:
        """State by machine."""
        return {vm: str(member.state) for vm, member in self.members().items()}

    def with_state(self, state: MemberState) -> list[str]:
        """Machines in a state."""
        return sorted(vm for vm, member in self.members().items() if member.state is state)

    def domains(self) -> dict[str, libvirt.virDomain]:
        """Every domain of all hosts, by name; a name that is there twice is a failure."""
        found: dict[str, libvirt.virDomain] = {}
        for connection in self.connections.values():
            for domain in connection.raw.listAllDomains():
                assert domain.name() not in found, f"{domain.name()} is there twice"
                found[domain.name()] = domain
        return found

    def uid(self, vm: str) -> str:
        """The UUID of a domain."""
        return str(self.domains()[vm].UUIDString())

    def volumes(self) -> list[str]:
        """Every volume of all hosts."""
        return sorted(
            volume.name()
            for connection in self.connections.values()
            for pool in connection.raw.listAllStoragePools()
            for volume in pool.listAllVolumes()
        )

    def events(self) -> list[str]:
        """Reasons of all events, oldest first."""
        return [event.reason for event in self.store.events(limit=1000, oldest_first=True)]
