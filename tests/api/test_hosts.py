"""Hosts over HTTP: the inventory in git, and how its hosts were seen."""

import pytest
from support.served import Served

from reconciler.desired.writes import Repository
from reconciler.model.access import Grant, Role
from reconciler.model.placement import Phase, Record
from reconciler.model.status import Condition, ConditionStatus
from reconciler.store.base import Subject

HOSTS = "/api/v1/hosts"
INVENTORY = """\
# The racks. Ann has the keys.
all:
  hosts:
    kvm1:
      ansible_host: 10.0.0.1   # rack 1
      reconciler_labels: {rack: r1}
    kvm2: {}
"""
STATUS = '{"labels":{"rack":"r1"},"maintenance":false,"message":"","status":"Ready"}'


@pytest.fixture
def tested():
    """Hosts that were connected to, and what stands in the way of the next one."""
    return {"asked": [], "wrong": ()}


@pytest.fixture
def served(tmp_path, tested):
    def test_host(name, variables):
        tested["asked"].append((name, dict(variables)))
        return tested["wrong"]

    made = Served(tmp_path, test_host=test_host)
    made.commit("hosts.yml", INVENTORY)
    desired = Repository(made.source, tmp_path, made.services.config, None, (made.repository / "hosts.yml",))
    made = made.with_(desired=desired)
    made.store.set_statuses("Host", {"kvm1": STATUS, "kvm2": STATUS})
    yield made
    made.close()


def text(served):
    return served.git("show", "HEAD:hosts.yml")


def test_hosts_are_the_inventory_and_what_was_seen(served):
    served.store.set_conditions(
        Subject.HOST, {"kvm1": [Condition("Ready", ConditionStatus.TRUE, "Ready", "it answers")]}
    )
    found = served.client.simulate_get(f"{HOSTS}/kvm1").json
    assert found["metadata"] == {"name": "kvm1", "labels": {"rack": "r1"}}
    assert found["variables"]["ansible_host"] == "10.0.0.1"
    assert found["status"]["conditions"][0]["reason"] == "Ready"
    listed = served.client.simulate_get(HOSTS, params={"labelSelector": "rack=r1", "limit": 1}).json
    assert [one["metadata"]["name"] for one in listed["items"]] == ["kvm1"]
    assert "continue" in listed
    assert served.client.simulate_get(f"{HOSTS}/none").status_code == 404


def test_maintenance_is_a_field_and_needs_no_test(served, tested):
    answer = served.client.simulate_patch(f"{HOSTS}/kvm1", json={"maintenance": True})
    assert (answer.status_code, answer.json["maintenance"]) == (200, True)
    assert "# rack 1" in text(served)
    assert "reconciler_maintenance: true" in text(served)
    assert served.git("log", "-1", "--format=%an %s") == "ann change Host/kvm1"
    assert tested["asked"] == []


def test_a_new_host_is_tested_first(served, tested):
    body = {"metadata": {"name": "kvm3"}, "variables": {"ansible_host": "10.0.0.3"}}
    tested["wrong"] = ("it does not answer: is it on?",)
    refused = served.client.simulate_post(HOSTS, json=body)
    assert (refused.status_code, refused.json["errors"][0]["message"]) == (
        422,
        "it does not answer: is it on?",
    )
    assert "kvm3" not in text(served)
    made = served.client.simulate_post(HOSTS, json=body, params={"test": "false"})
    assert (made.status_code, made.headers["location"]) == (201, f"{HOSTS}/kvm3")
    assert served.client.simulate_get(f"{HOSTS}/kvm3").json["variables"] == {"ansible_host": "10.0.0.3"}
    assert served.client.simulate_post(HOSTS, json=body, params={"test": "false"}).status_code == 409


def test_a_changed_address_is_tested(served, tested):
    served.client.simulate_patch(f"{HOSTS}/kvm1", json={"variables": {"ansible_host": "10.0.0.9"}})
    assert tested["asked"][0][1]["ansible_host"] == "10.0.0.9"


@pytest.mark.parametrize(
    "variables",
    [
        {"reconciler_uri": "qemu+ext:///system?command=/bin/evil"},
        {"ansible_ssh_common_args": "-o ProxyCommand=evil"},
        {"ansible_host": "{{ lookup('pipe', 'evil') }}"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_nothing_that_names_a_program_reaches_the_test(served, tested, variables):
    before = served.git("rev-parse", "HEAD")
    answer = served.client.simulate_put(f"{HOSTS}/kvm3", json={"variables": variables})
    assert answer.status_code == 422
    assert tested["asked"] == []
    assert served.git("rev-parse", "HEAD") == before


def test_versions(served):
    etag = served.client.simulate_get(f"{HOSTS}/kvm1").headers["etag"]
    assert served.client.simulate_get(f"{HOSTS}/kvm1", headers={"If-None-Match": etag}).status_code == 304
    match = {"If-Match": etag}
    first = served.client.simulate_patch(f"{HOSTS}/kvm1", json={"maintenance": True}, headers=match)
    second = served.client.simulate_patch(f"{HOSTS}/kvm1", json={"maintenance": False}, headers=match)
    assert (first.status_code, second.status_code) == (200, 412)
    assert first.headers["etag"] == served.client.simulate_get(f"{HOSTS}/kvm1").headers["etag"]


def test_a_host_with_machines_stays(served):
    served.store.put_records([Record("web-1", "u-1", "kvm2", 1, Phase.PLACED)])
    assert served.client.simulate_delete(f"{HOSTS}/kvm2").status_code == 409
    served.store.delete_records(["web-1"])
    assert served.client.simulate_delete(f"{HOSTS}/kvm2").status_code == 204
    assert "kvm2" not in text(served)


def test_only_admins_change_hosts_and_only_theirs(served):
    operator = served.as_(Grant(Role.OPERATOR))
    assert operator.simulate_patch(f"{HOSTS}/kvm1", json={"maintenance": True}).status_code == 403
    mine = served.as_(Grant(Role.ADMIN, labels={"rack": "r2"}))
    assert mine.simulate_get(f"{HOSTS}/kvm1").status_code == 404
    assert mine.simulate_patch(f"{HOSTS}/kvm1", json={"maintenance": True}).status_code == 404
    assert mine.simulate_get(HOSTS).json["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"maintenance": "yes"},
        {"nmae": 1},
        {"metadata": {"name": "other"}},
        {"variables": []},
        {"kind": "Image"},
    ],
    ids=lambda body: next(iter(body)),
)
def test_bad_bodies(served, body):
    assert served.client.simulate_patch(f"{HOSTS}/kvm1", json=body).status_code == 422
