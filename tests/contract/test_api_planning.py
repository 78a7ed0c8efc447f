"""The API of an installation whose host is libvirt's test driver: plans, dry runs, calls for a tick."""

import asyncio
from dataclasses import replace

import falcon.testing
import pytest
import yaml
from support.served import ADMIN, As, git

from api.app import create_app
from reconciler.calls import Calls
from reconciler.cli.app import App
from reconciler.cli.serving import services
from reconciler.model.access import Grant, Role
from reconciler.model.plan import PLAN_JSON

VMS = "/api/v1/virtualmachines"
CONFIG = {
    "source": {"path": "machines", "git": True},
    "inventory": ["hosts.yml"],
    "stateDir": "state",
    "api": {},
}
NODE = """\
<node>
  <cpu><mhz>2000</mhz><model>i686</model><active>8</active><nodes>1</nodes><sockets>1</sockets><cores>8</cores>
  <threads>1</threads></cpu><memory>33554432</memory>
  <network><name>default</name><bridge name='virbr0'/></network>
  <pool type='dir'><name>default</name><target><path>/pool</path></target></pool>
</node>"""
SMALL = (
    "apiVersion: reconciler/v1\nkind: InstanceType\nmetadata: {name: small}\nspec: {cpus: 1, memory: 256Mi}\n"
)
MACHINE = {"spec": {"instanceType": "small", "rootDisk": {"size": "1Gi", "pool": "default"}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planning")
    (folder / "machines").mkdir()
    (folder / "reconciler.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "node.xml").write_text(NODE)
    host = {"reconciler_uri": f"test://{folder}/node.xml", "reconciler_virt_type": "test"}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"kvm1": host}}}))
    (folder / "machines" / "small.yaml").write_text(SMALL)
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "Test"),
        ("config", "user.email", "test@example.com"),
        ("add", "."),
        ("commit", "--quiet", "--message", "begin"),
    ):
        git(folder / "machines", *words)
    with services(App(config_path=folder / "reconciler.yaml")) as found:
        yield found
    found.store.close()


def client(made, *grants):
    return falcon.testing.TestClient(create_app(replace(made, authenticator=As(*(grants or (ADMIN,))))))


def test_a_dry_run_is_the_plan_and_nothing_else(made):
    head = git(made.desired._tree.root, "rev-parse", "HEAD")
    answer = client(made).simulate_put(f"{VMS}/web-1", json=MACHINE, params={"dryRun": "true"})
    assert answer.status_code == 200, answer.text
    plan = PLAN_JSON.validate_json(answer.text)
    assert [(change.vm, str(change.verb), change.host) for change in plan.changes] == [
        ("web-1", "create", "kvm1")
    ]
    assert plan.actions
    assert git(made.desired._tree.root, "rev-parse", "HEAD") == head
    assert PLAN_JSON.validate_json(client(made).simulate_get("/api/v1/plans/latest").text).changes == ()
    assert made.store.records() == {}


def test_a_dry_run_hears_of_every_mistake(made):
    body = {"spec": {"instanceType": "none"}}
    answer = client(made).simulate_put(f"{VMS}/web-1", json=body, params={"dryRun": "true"})
    assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, "spec.instanceType")


def test_who_may_see_only_some_sees_their_part_of_a_plan(made):
    labelled = {**MACHINE, "metadata": {"name": "mine", "labels": {"app": "web"}}}
    client(made).simulate_put(f"{VMS}/mine", json=labelled)
    client(made).simulate_put(f"{VMS}/other", json=MACHINE)
    scoped = client(made, Grant(Role.OPERATOR, labels={"app": "web"}))
    seen = PLAN_JSON.validate_json(scoped.simulate_post("/api/v1/plans").text)
    whole = PLAN_JSON.validate_json(client(made).simulate_post("/api/v1/plans").text)
    assert {change.vm for change in seen.changes} == {"mine"}
    assert {action.vm for action in seen.actions} <= {"mine"}
    assert {change.vm for change in whole.changes} == {"mine", "other"}
    as_yaml = client(made).simulate_post("/api/v1/plans", headers={"Accept": "application/yaml"})
    assert yaml.safe_load(as_yaml.text)["revision"] == whole.revision
    for name in ("mine", "other"):
        client(made).simulate_delete(f"{VMS}/{name}")


def test_plans_side_by_side_each_have_their_own_state(made):
    async def ask_all():
        async with falcon.testing.ASGIConductor(client(made).app) as conductor:
            asked = [
                conductor.simulate_put(f"{VMS}/vm-{at}", json=MACHINE, params={"dryRun": "true"})
                for at in range(6)
            ]
            return await asyncio.gather(*asked)

    found = [{change["vm"] for change in answer.json["changes"]} for answer in asyncio.run(ask_all())]
    assert found == [{f"vm-{at}"} for at in range(6)]


class TestCalls:
    """Calls for a tick, as a daemon answers them."""

    def test_a_call_is_answered_by_the_next_tick(self, made):
        calls = Calls(made.store)
        asked = client(made).simulate_post("/api/v1/apply")
        assert calls.waiting
        calls.begin()
        assert not calls.waiting
        place = asked.headers["location"]
        assert client(made).simulate_get(place).json["state"] == "running"
        assert client(made).simulate_delete(place).status_code == 409
        calls.end("3 machines are as they shall be", ok=True)
        assert client(made).simulate_get(place).json["message"] == "3 machines are as they shall be"

    def test_one_that_came_during_the_tick_waits_for_the_next(self, made):
        calls = Calls(made.store)
        calls.begin()
        asked = client(made).simulate_post("/api/v1/apply").headers["location"]
        calls.end("done", ok=True)
        assert client(made).simulate_get(asked).json["state"] == "pending"
        calls.begin()
        calls.end("a limit", ok=False)
        assert client(made).simulate_get(asked).json["state"] == "failed"

    def test_what_a_killed_daemon_took_is_told(self, made):
        asked = client(made).simulate_post("/api/v1/apply").headers["location"]
        Calls(made.store).begin()
        Calls(made.store).begin()
        assert client(made).simulate_get(asked).json["state"] == "failed"

    def test_nobody_is_served_after_an_hour(self, made):
        asked = client(made).simulate_post("/api/v1/apply").headers["location"]
        Calls(made.store, lambda: made.clock() + 3601).begin()
        assert "no daemon took it" in client(made).simulate_get(asked).json["message"]
