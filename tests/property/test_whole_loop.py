"""API, git edits and the loop together: at each step the repository, the store and the host say one thing."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon.testing
import libvirt
import pytest
import yaml
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.served import ADMIN, As, git

from api.app import create_app
from reconciler.cli.app import App
from reconciler.cli.serving import services
from reconciler.desired.source import open_source
from reconciler.desired.writer import to_plain
from reconciler.engine import Engine
from reconciler.model.host import Host
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.push.host_plan import HostPlanner
from reconciler.settings import data_dir

sys.path.insert(0, str(data_dir("playbooks") / "plugin_utils"))

from reconciler_apply.executor import Executor

URI = "test:///default"
"""One host for the whole process: what one connection changes, all others see."""

CONFIG: dict[str, Any] = {
    "source": {"path": "source", "git": True, "ref": "main"},
    "inventory": ["hosts.yml"],
    "stateDir": "state",
    "limits": {"deletions": 100, "deletionsPercent": 100},
}
FIRST = (
    "apiVersion: reconciler/v1\nkind: InstanceType\nmetadata: {name: small}\nspec: {cpus: 1, memory: 64Mi}\n"
)
VMS = "/api/v1/virtualmachines"

names = st.sampled_from(["api-1", "api-2", "hand-1", "hand-2"])
specs = st.fixed_dictionaries(
    {"instanceType": st.just("small"), "runStrategy": st.sampled_from(["Always", "Halted"])},
    optional={"cpus": st.integers(1, 2)},
)
Model = dict[str, dict[str, Any]]


class Here:
    """Carries plans out on a connection of this process, with the plugin that does it on hosts."""

    def __init__(self, folder: Path, conn: libvirt.virConnect) -> None:
        self._folder = folder
        self._conn = conn

    def push(
        self,
        plan: Plan,
        hosts: Mapping[str, Host],
        fleet: Any,
        templates: Mapping[str, str],
        on_progress: Callable[[Any], None] = lambda _: None,
    ) -> tuple[ActionResult, ...]:
        document = HostPlanner("default", 4, hosts, fleet, templates).document("kvm1", plan.actions)
        results = {one.id: one for one in Executor(document, self._folder).carry_out(self._conn)}
        return tuple(
            ActionResult(
                action.id,
                action.host,
                action.vm,
                Outcome(results[action.id].outcome),
                results[action.id].message,
                results[action.id].reason,
                results[action.id].terminal,
            )
            for action in plan.actions
        )


def said(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec without what is the default anyway."""
    return {key: value for key, value in spec.items() if (key, value) != ("runStrategy", "Always")}


class Loop(RuleBasedStateMachine):
    """Callers of the API, people with an editor, and a daemon."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="loop-"))
        self.root = self.folder / "source"
        self.root.mkdir()
        (self.folder / "reconciler.yaml").write_text(yaml.safe_dump(CONFIG))
        # The driver's own domain may grow to more than the host has.
        host = {"reconciler_uri": URI, "reconciler_virt_type": "test", "reconciler_memory_overcommit": 100}
        hosts = {"kvm1": host}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        (self.root / "small.yaml").write_text(FIRST)
        for words in (
            ("init", "--quiet", "--initial-branch=main"),
            ("config", "user.name", "Person"),
            ("config", "user.email", "person@example.com"),
        ):
            git(self.root, *words)
        self.commits = 0
        self.commit("begin")
        self.model: Model = {}
        self.before: Model = {}
        self.stack = ExitStack()
        self.conn = libvirt.open(URI)
        self.foreign = {domain.name(): domain.XMLDesc() for domain in self.conn.listAllDomains()}
        self.app = App(config_path=self.folder / "reconciler.yaml")
        made = self.stack.enter_context(services(self.app))
        self.client = falcon.testing.TestClient(create_app(replace(made, authenticator=As(ADMIN))))
        engine = self.stack.enter_context(self.app.engine())
        rooms = replace(engine.rooms, pusher=Here(self.folder, self.conn))  # type: ignore[arg-type]
        self.engine = Engine(rooms, self.app.state_dir)

    def teardown(self) -> None:
        if not hasattr(self, "conn"):
            return
        self.stack.close()
        self.app.store.close()
        for domain in self.conn.listAllDomains():
            if domain.name() not in self.foreign:
                if domain.isActive():
                    domain.destroy()
                domain.undefine()
        self.conn.close()
        shutil.rmtree(self.folder)

    def commit(self, message: str) -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--message", message)
        self.commits += 1

    def wrote(self, status: int, expected: int, changes: bool) -> None:
        assert status == expected
        self.commits += changes

    # -- callers of the API -------------------------------------------------------------------------

    @rule(name=names, spec=specs)
    def put(self, name: str, spec: dict[str, Any]) -> None:
        known = self.model.get(name)
        answer = self.client.simulate_put(f"{VMS}/{name}", json={"spec": spec})
        changes = known != said(spec)
        self.wrote(answer.status_code, 201 if known is None else 200, changes)
        if changes:
            self.before, self.model = self.model, {**self.model, name: said(spec)}

    @rule(name=names, cpus=st.integers(1, 2))
    def patch(self, name: str, cpus: int) -> None:
        known = self.model.get(name)
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = self.client.simulate_patch(
            f"{VMS}/{name}", body=f'{{"spec": {{"cpus": {cpus}}}}}', headers=headers
        )
        changes = known is not None and known.get("cpus") != cpus
        self.wrote(answer.status_code, 404 if known is None else 200, changes)
        if changes:
            self.before, self.model = self.model, {**self.model, name: {**(known or {}), "cpus": cpus}}

    @rule(name=names)
    def delete(self, name: str) -> None:
        there = name in self.model
        answer = self.client.simulate_delete(f"{VMS}/{name}")
        assert (answer.status_code // 100 == 2) if there else (answer.status_code == 404)
        if there:
            self.commits += 1
            self.before = self.model
            self.model = {key: spec for key, spec in self.model.items() if key != name}

    @rule(name=names, spec=specs)
    def late(self, name: str, spec: dict[str, Any]) -> None:
        answer = self.client.simulate_put(
            f"{VMS}/{name}", json={"spec": spec}, headers={"If-Match": '"0123456789abcdef"'}
        )
        assert answer.status_code == 412

    @rule(name=names)
    def wrong(self, name: str) -> None:
        answer = self.client.simulate_put(f"{VMS}/{name}", json={"spec": {"instanceType": "none", "cpus": 0}})
        assert answer.status_code == 422

    # -- people -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["hand-1", "hand-2"]), spec=specs)
    def edit(self, name: str, spec: dict[str, Any]) -> None:
        found = git(self.root, "grep", "-l", f"name: {name}", "--", "*.yaml") if name in self.model else ""
        path = self.root / (found.split()[0] if found else f"hand/{name}.yaml")
        if self.model.get(name) == said(spec):
            return
        path.parent.mkdir(exist_ok=True)
        document = {"apiVersion": "reconciler/v1", "kind": "VirtualMachine", "metadata": {"name": name}}
        path.write_text("# by hand\n" + yaml.safe_dump({**document, "spec": spec}))
        self.commit(f"edit {name}")
        self.before, self.model = self.model, {**self.model, name: said(spec)}

    @rule()
    def revert(self) -> None:
        if self.before != self.model:
            git(self.root, "revert", "--no-edit", "HEAD")
            self.commits += 1
            self.before, self.model = self.model, self.before

    # -- the loop -----------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        for _ in range(6):
            done = self.engine.reconcile_once()
            assert done.failed == ()
            assert done.look.plan.blocked == ()
            if not done.look.plan.actions:
                break
        else:
            pytest.fail("it does not come to rest")
        found = {domain.name(): bool(domain.isActive()) for domain in self.conn.listAllDomains()}
        wanted = {name: spec.get("runStrategy") != "Halted" for name, spec in self.model.items()}
        assert {name: active for name, active in found.items() if name not in self.foreign} == wanted
        assert self.app.store.records().keys() == self.model.keys()
        assert done.look.desired.revision == git(self.root, "rev-parse", "HEAD")
        for name, record in self.app.store.records().items():
            assert self.conn.lookupByName(name).UUIDString() == record.uid

    @invariant()
    def one_truth(self) -> None:
        if not hasattr(self, "client"):
            return
        fresh = open_source(self.app.source_place[0], self.folder).read()
        assert {name: to_plain(one)["spec"] for name, one in fresh.machines.items()} == self.model
        listed = self.client.simulate_get(VMS).json
        assert {one["metadata"]["name"]: one["spec"] for one in listed["items"]} == self.model
        assert git(self.root, "status", "--porcelain") == ""
        assert int(git(self.root, "rev-list", "--count", "HEAD")) == self.commits

    @invariant()
    def what_is_not_ours_stays(self) -> None:
        if hasattr(self, "foreign"):
            assert {name: self.conn.lookupByName(name).XMLDesc() for name in self.foreign} == self.foreign


@pytest.mark.slow
def test_api_git_and_loop_agree_at_each_step() -> None:
    # Each step costs processes of git: a story that fails is told as it is, and not made shorter for an hour.
    found = settings(max_examples=6, stateful_step_count=15, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(Loop, settings=found)
