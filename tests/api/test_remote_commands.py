"""`reconciler --server`: the same words, the same answers, the same exit codes as on the machine itself."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from falcon.testing import TestClient
from support.api_world import lay_out, world
from support.command import Said, call

from api.app import create_app
from api.auth import tokens
from api.auth.gate import Gate
from api.resources.commands import FLEET, MACHINE
from reconciler.calls import Calls
from reconciler.cli.app import App
from reconciler.cli.main import cli
from reconciler.cli.remote_change import RemoteDraft
from reconciler.cli.server import Server, token
from reconciler.cli.serving import serving
from reconciler.client import Stored
from reconciler.engine import Engine
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.model.request import Act
from reconciler.model.status import Event
from reconciler.requests import Desk
from reconciler.settings import Environment
from reconciler.views import VIEWS


class Both:
    """An installation, spoken to here and through its API."""

    def __init__(self, folder: Path, url: str, app: App) -> None:
        self.folder = folder
        self.url = url
        self.app = app

    def here(self, *words: str) -> Said:
        return call(*words, "--config", str(self.folder / "reconciler.yaml"))

    def there(self, *words: str) -> Said:
        return call(*words, "--server", self.url)

    def manifests(self) -> str:
        """What the newest commit has."""
        show = ["git", "-C", str(self.folder / "source"), "show", "main:site.yaml"]
        return subprocess.run(show, check=True, capture_output=True, text=True).stdout

    def log(self) -> str:
        """The newest commit's message."""
        words = ["git", "-C", str(self.folder / "source"), "log", "-1", "--format=%B", "main"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("remote") / "site"
    lay_out(folder)
    app = App(folder / "reconciler.yaml")
    with app.engine() as engine:
        engine.reconcile_once(push=False)
    with serving(app, "127.0.0.1:0") as server:
        yield Both(folder, f"http://127.0.0.1:{server.ports[0]}", app)


READS = (
    "get vms -o json",
    "get vms -o wide -l app=shop",
    "get vms -l app=other",
    "get hosts",
    "get hosts -o json",
    "get instancetypes",
    "get images",
    "get pools -o json",
    "get networks",
    "get volumes -o json",
    "get disks",
    "describe web-1",
    "describe volume/data",
    "explain web-1 -o json",
    "plan",
    "plan -o json",
    "plan --detailed-exitcode",
    "validate",
    "validate -o json",
    "inventory --list",
    "inventory --host web-1",
    "snapshots web-1 -o json",
    "leases",
    "events",
    "events --vm web-1 -o json",
    "adopt kvm1/stray --dry-run",
    # and what is not there
    "describe nope",
    "explain nope",
    "snapshots nope",
    "resize nope --cpus 2 --yes",
    "stop nope --yes",
    "adopt kvm1/nope --dry-run",
    "inventory --host nope",
    "retry nope",
    "hosts assume-empty nope",
    "hosts assume-empty kvm1",
    "hosts declare-dead kvm1 --yes",
)


@pytest.mark.parametrize("words", ["get vms", "restart nope --yes"])
def test_it_says_the_same_there_as_here(both: Both, words: str) -> None:
    same(both, words)


@pytest.mark.slow
@pytest.mark.parametrize("words", READS)
def test_everything_says_the_same_there_as_here(both: Both, words: str) -> None:
    same(both, words)


def same(both: Both, words: str) -> None:
    """Say it here and there, and compare."""
    here, there = both.here(*words.split()), both.there(*words.split())
    assert there.exit == here.exit, there.err
    # How long ago something was moves on between the two.
    assert re.sub(r" \d+s ", " 0s ", there.out) == re.sub(r" \d+s ", " 0s ", here.out)
    if here.exit != 64 or "nope" not in words:
        assert there.err == here.err


def test_a_change_is_shown_saved_as_a_commit_and_leaves_comments(both: Both) -> None:
    said = both.there("resize", "web-1", "--cpus", "2", "--yes")
    assert said.exit == 0, said.text
    assert "note: 2 cpus are more than its maximum of 1" in said.err
    assert "cpus: 1 -> 2" in said.out
    assert "Saved: " in said.err
    assert "cpus: 2" in both.manifests()
    assert "# the shop's first machine" in both.manifests()
    assert "reconciler resize web-1 --cpus 2" in both.log()


def test_what_is_so_already_is_not_saved_again(both: Both) -> None:
    assert both.there("stop", "web-1", "--yes").exit == 0
    before = both.log()
    said = both.there("stop", "web-1", "--yes", "-o", "json")
    assert json.loads(said.out) == {"vm": "web-1", "saved": None, "results": []}
    assert both.log() == before
    said = both.there("start", "web-1", "--yes", "--no-apply")
    assert (said.exit, said.out) == (0, "Nothing was done on a host: reconciler run carries it out.\n")


def test_what_would_be_blocked_is_not_saved(both: Both) -> None:
    said = both.there("clone", "web-1", "web-2", "--halted", "--yes")
    assert said.exit == 7, said.text
    assert "nothing was changed" in said.err
    assert "web-2" not in both.manifests()


def test_nobody_is_asked_who_is_not_there(both: Both) -> None:
    said = both.there("restart", "web-1")
    assert said.exit == 64
    assert "Plan: 1 to restart" in said.out
    assert both.app.store.open_requests() == ()


def test_an_act_waits_for_the_daemon(both: Both) -> None:
    said = both.there("restart", "web-1", "--force", "--yes", "--no-wait", "-o", "json")
    assert said.exit == 0, said.text
    [asked] = both.app.store.open_requests()
    assert json.loads(said.out)["request"] == f"act-{asked.id}"
    assert (asked.request.act, asked.request.force, asked.by) == (Act.RESTART, True, "anonymous")
    both.app.store.cancel_request(asked.id, "that is enough", 0.0)


def test_events_are_followed_from_the_list_into_the_stream(both: Both) -> None:
    remote = App(server=Server(both.url)).remote
    assert remote is not None

    def happens(message: str) -> None:
        both.app.store.add_events([Event(time.time(), "Told", message, "followed")])

    happens("before")
    told = remote.events(vm="followed", host=None, limit=5, follow=True)
    assert next(told)["message"] == "before"
    happens("between")
    assert next(told)["message"] == "between"
    happens("after")
    event = next(told)
    assert (event["message"], event["vm"], event["time"][-1]) == ("after", "followed", "Z")
    told.close()


class Pusher:
    """Takes every plan for done, and keeps it."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def push(self, plan: Plan, *_: Any) -> tuple[ActionResult, ...]:
        self.plans.append(plan)
        return tuple(ActionResult(one.id, one.host, one.vm, Outcome.CHANGED) for one in plan.actions)


def test_a_domain_is_adopted_only_once_its_manifest_is_there(both: Both) -> None:
    remote = App(server=Server(both.url)).remote
    assert remote is not None
    with both.app.engine() as engine:
        pusher = Pusher()
        desk = Desk(Engine(replace(engine.rooms, pusher=pusher), both.app.state_dir))  # type: ignore[arg-type]
        asked = remote.client.act("/commands/adopt", body={"about": "kvm1/stray"})
        desk.serve(lambda: False)
        with pytest.raises(ReconcilerError, match="is not in the desired state"):
            remote.carried_out(asked).check()
        assert pusher.plans == []
        remote.client.create("virtualmachines", remote.view("adoption", "kvm1/stray")["manifest"])
        asked = remote.client.act("/commands/adopt", body={"about": "kvm1/stray"})
        desk.serve(lambda: False)
        assert [one["outcome"] for one in remote.carried_out(asked).check().results] == ["changed"]
        [plan] = pusher.plans
        assert [action.operation.kind for action in plan.actions] == ["mark"]
        asked = remote.client.act("/commands/forget", body={"about": "web-1"})
        desk.serve(lambda: False)
        assert remote.carried_out(asked).check().results[0]["id"] == "web-1/unmark"
        asked = remote.client.act("/commands/discard", body={"about": "kvm1/nowhere/x.qcow2"})
        desk.serve(lambda: False)
        with pytest.raises(ReconcilerError) as caught:
            remote.carried_out(asked).check()
        assert caught.value.exit_code == 64
        assert len(pusher.plans) == 2


def test_deletions_are_allowed_for_the_plan_that_was_shown(both: Both) -> None:
    remote = App(server=Server(both.url)).remote
    assert remote is not None
    calls = Calls(both.app.store)
    remote.client.apply(allow_deletions="abc")
    assert calls.begin() == {"abc"}
    calls.end("done", ok=True)
    remote.client.apply()
    assert calls.begin() == frozenset()
    calls.end("done", ok=True)


@pytest.mark.parametrize(
    "words", ["run", "api", "console web-1", "doctor", "render --dir x", "import virsh kvm1"]
)
def test_what_works_only_here_says_so(both: Both, words: str) -> None:
    said = both.there(*words.split())
    assert said.exit == 64
    assert "works only on the machine of the installation itself" in said.err


def test_a_server_and_a_source_contradict_each_other(both: Both) -> None:
    said = both.there("get", "vms", "--source", str(both.folder))
    assert (said.exit, "leave --source out" in said.err) == (64, True)
    assert both.there("adopt", "kvm1/stray", "--out", "x.yaml").exit == 64
    assert both.there("stop", "web-1", "--author", "A <a@b>", "--yes", "--no-apply").exit == 64
    assert both.there("apply", "some.plan").exit == 64


def test_the_environment_names_the_server_unless_something_here_is_named(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_SERVER", "http://127.0.0.1:1")
    assert both.here("get", "instancetypes").exit == 0
    monkeypatch.setenv("RECONCILER_SERVER", both.url)
    assert call("get", "instancetypes").out == both.here("get", "instancetypes").out


def test_a_server_that_is_none_is_told(both: Both) -> None:
    said = call("get", "vms", "--server", "nonsense")
    assert (said.exit, "write https://host:port" in said.err) == (64, True)


def _environment(folder: Path, text: str | None = None) -> Environment:
    return Environment(None, folder, None, None, True, token=text, token_file=folder / "token")


def test_the_token_comes_from_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    server, around = Server("https://a"), _environment(tmp_path)
    assert token(server, around) is None
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(UsageError, match="others can read"):
        token(server, around)
    (tmp_path / "token").chmod(0o600)
    assert token(server, around) == "secret"
    assert token(server, _environment(tmp_path, "of the environment")) == "of the environment"
    assert token(replace(server, token_file=tmp_path / "token"), _environment(tmp_path, "x")) == "secret"
    (tmp_path / "token").write_text("two words")
    with pytest.raises(UsageError, match="holds no token"):
        token(server, around)
    with pytest.raises(UsageError, match="cannot read"):
        token(replace(server, token_file=tmp_path / "none"), around)
    assert "secret" not in repr(_environment(tmp_path, "secret"))


def test_no_command_takes_a_token_as_an_argument() -> None:
    """It would stand in the list of processes."""
    for command in cli.commands.values():
        assert not any(name == "--token" for one in command.params for name in one.opts)


def test_the_api_has_every_view_that_the_commands_ask_for() -> None:
    assert {*FLEET, *MACHINE} | {"vms", "act"} == VIEWS.keys()


def test_a_change_inside_of_a_list_takes_the_whole_list_along() -> None:
    disks = [{"name": "a", "size": "1Gi"}, {"name": "b", "size": "2Gi"}]
    data = {"metadata": {"name": "web"}, "spec": {"cpus": 1, "disks": disks}}
    asked: list[Any] = []

    def patch(*words: Any, **about: Any) -> Stored:
        asked.append((words, about["match"]))
        return Stored({}, revision="abc")

    client = SimpleNamespace(get=lambda *_: Stored(data, '"v"'), patch=patch)
    draft = RemoteDraft(SimpleNamespace(client=client))  # type: ignore[arg-type]
    draft.edit("", "VirtualMachine/web", {("spec", "disks", 1, "size"): "5Gi", ("spec", "cpus"): 1})
    assert not draft.changes_nothing
    assert draft.save("why") == "abc"
    changed = [disks[0], {"name": "b", "size": "5Gi"}]
    assert asked == [(("virtualmachines", "web", {"spec": {"disks": changed}}), '"v"')]
    assert disks[1]["size"] == "2Gi"


def test_nobody_sees_through_a_view_what_they_may_not(tmp_path: Path) -> None:
    with world(tmp_path / "site") as made:
        gate = Gate(made.app.store, made.services.config)
        client = TestClient(create_app(replace(made.services, authenticator=gate)))
        root, numbers = Caller("root", grants=(Grant(Role.ADMIN),)), itertools.count()

        def ask(grant: Grant, method: str, path: str, **about: Any) -> int:
            wish = tokens.TokenWish(f"one-{next(numbers)}", (grant,), "", None)
            text = tokens.make(made.app.store, wish, root, made.services.clock())[1]
            headers = {"Authorization": f"Bearer {text}"}
            return client.simulate_request(method, path, headers=headers, **about).status_code

        scoped = Grant(Role.OPERATOR, kinds=("VirtualMachine",), labels={"app": "shop"})
        assert ask(scoped, "GET", "/api/v1/views/describe", params={"about": "web-1"}) == 200
        assert ask(scoped, "GET", "/api/v1/views/describe", params={"about": "stray"}) == 404
        assert ask(scoped, "GET", "/api/v1/views/describe", params={"about": "Volume/data"}) == 404
        for view in (*FLEET, "validation"):
            assert ask(scoped, "GET", f"/api/v1/views/{view}") == 403, view
        viewer = Grant(Role.VIEWER)
        assert ask(viewer, "GET", "/api/v1/views/pools") == 200
        for word in ("adopt", "forget", "discard"):
            body = {"about": "kvm1/stray"}
            assert ask(viewer, "POST", f"/api/v1/commands/{word}", json=body) == 403
            assert ask(scoped, "POST", f"/api/v1/commands/{word}", json=body) == 403
        assert ask(scoped, "POST", "/api/v1/commands/retry", json={"all": True}) == 403
        assert ask(scoped, "POST", "/api/v1/commands/retry", json={"machines": ["stray"]}) == 404
        assert ask(Grant(Role.OPERATOR), "POST", "/api/v1/hosts/kvm1/declare-dead") == 403
        assert made.app.store.requests() == ()
