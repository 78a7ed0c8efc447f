"""Objects over HTTP: the manifests that stand in git, read and written."""

import json

import pytest
import yaml
from support.served import Served

from reconciler.model.access import Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.model.pool import Member, MemberState
from reconciler.model.status import Condition, ConditionStatus, Retry
from reconciler.store.base import Subject

VMS = "/api/v1/virtualmachines"
SMALL = {"spec": {"instanceType": "small"}}


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(served):
    return served.client


def names(answer):
    return [one["metadata"]["name"] for one in answer.json["items"]]


def test_a_list_has_every_object_by_name(client):
    answer = client.simulate_get(VMS)
    assert names(answer) == ["db-1", "web-1"]
    assert answer.json["kind"] == "VirtualMachineList"
    assert "continue" not in answer.json


def test_an_object_is_its_manifest_and_its_status(served, client):
    served.store.set_statuses("VirtualMachine", {"web-1": '{"host":"kvm1","state":"running"}'})
    ready = Condition("Ready", ConditionStatus.TRUE, "Running", "it runs", 86400.0, 3)
    served.store.set_conditions(Subject.VM, {"web-1": [ready]})
    found = client.simulate_get(f"{VMS}/web-1").json
    assert found["metadata"] == {"name": "web-1", "labels": {"app": "web", "tier": "front"}}
    assert found["status"]["host"] == "kvm1"
    assert found["status"]["conditions"][0]["lastTransitionTime"] == "1970-01-02T00:00:00Z"
    served.store.put_retries([Retry("web-1", 2, 60.0, False, "x", "no room")])
    assert client.simulate_get(f"{VMS}/web-1").json["status"]["retry"]["attempts"] == 2


def test_conditions_of_what_is_on_several_hosts_say_where(served, client):
    bad = Condition("Ready", ConditionStatus.FALSE, "Failed", "no room")
    served.store.set_conditions(Subject.VM, {"Network/lan@h2": [bad], "Network/lan@h1": [bad]})
    network = {"spec": {"mode": "isolated"}}
    made = client.simulate_put("/api/v1/networks/lan", json=network)
    assert made.status_code == 201, made.text
    assert [one["host"] for one in made.json["status"]["conditions"]] == ["h1", "h2"]


def test_put_creates_and_then_replaces(served, client):
    first = client.simulate_put(f"{VMS}/new", json=SMALL)
    assert (first.status_code, first.headers["location"]) == (201, f"{VMS}/new")
    second = client.simulate_put(f"{VMS}/new", json={"spec": {"cpus": 2, "memory": "1Gi"}})
    assert (second.status_code, second.json["spec"]) == (200, {"cpus": 2, "memory": "1Gi"})
    assert first.headers["etag"] != second.headers["etag"]
    subjects = served.git("log", "-2", "--format=%s").splitlines()
    assert subjects == ["replace VirtualMachine/new", "create VirtualMachine/new"]


def test_a_commit_says_who_what_why_and_which_request(served, client):
    client.simulate_put(
        f"{VMS}/new",
        json=SMALL,
        headers={"X-Reason": "more\ttraffic", "X-Request-Id": "abc-1"},
    )
    told = served.git("log", "-1", "--format=%an <%ae>%n%B")
    request = served.git("log", "-1", "--format=%(trailers:key=Request-Id,valueonly)")
    assert told.startswith("ann <ann@example.com>\ncreate VirtualMachine/new\n\nmore traffic\n\nRequest-Id: ")
    assert request.strip() != ""


def test_an_event_says_who_changed_what_and_by_which_request(served, client):
    answer = client.simulate_put(f"{VMS}/new", json=SMALL)
    (event,) = served.store.events(vm="new")
    request = answer.headers["x-request-id"]
    assert (event.reason, event.message) == (
        "ObjectChanged",
        f"create VirtualMachine/new, by ann (request {request})",
    )
    assert event.revision == answer.headers["reconciler-revision"]


def test_nobody_forges_a_trailer(served, client):
    why = "x\n\nRequest-Id: forged\nSigned-off-by: boss <boss@example.com>"
    client.simulate_put(f"{VMS}/new", json=SMALL, params={"message": why})
    assert "forged" not in served.git("log", "-1", "--format=%(trailers:key=Request-Id)")
    assert served.git("log", "-1", "--format=%(trailers:key=Signed-off-by)") == ""


def test_patch_merges_and_null_removes(client):
    answer = client.simulate_patch(
        f"{VMS}/web-1",
        body=json.dumps({"metadata": {"labels": {"tier": None, "new": "yes"}}, "spec": {"memory": "3Gi"}}),
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json["metadata"]["labels"] == {"app": "web", "new": "yes"}
    assert answer.json["spec"] == {"instanceType": "small", "memory": "3Gi"}


def test_comments_of_people_survive(served, client):
    client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "3Gi"}})
    text = served.git("show", "HEAD:machines.yaml")
    assert "# Machines of the shop" in text
    assert "# the first one" in text


def test_post_takes_the_name_from_the_body_and_refuses_a_second(client):
    body = {"metadata": {"name": "n 1%"}, **SMALL}
    made = client.simulate_post(VMS, json=body)
    assert (made.status_code, made.headers["location"]) == (201, f"{VMS}/n%201%25")
    assert client.simulate_get(f"{VMS}/n 1%").json["metadata"]["name"] == "n 1%"
    again = client.simulate_post(VMS, json=body)
    assert (again.status_code, again.json["file"]) == (409, "api/virtualmachines/n%201%25.yaml")


def test_post_without_a_name_hears_of_every_mistake(client):
    answer = client.simulate_post(VMS, json={"spec": {"cpu": 1, "memry": 2}})
    assert answer.status_code == 422
    assert {one["path"] for one in answer.json["errors"]} >= {"metadata.name", "spec.cpu", "spec.memry"}


def test_delete_leaves_nothing_and_a_second_one_finds_nothing(served, client):
    assert client.simulate_delete(f"{VMS}/web-1").status_code == 204
    assert client.simulate_get(f"{VMS}/web-1").status_code == 404
    assert client.simulate_delete(f"{VMS}/web-1").status_code == 404
    assert names(client.simulate_get(VMS)) == ["db-1"]
    assert served.git("log", "-1", "--format=%s") == "delete VirtualMachine/web-1"


def test_every_mistake_of_a_body_is_told_at_once_and_nothing_is_written(served, client):
    before = served.git("rev-parse", "HEAD")
    answer = client.simulate_put(f"{VMS}/x", json={"spec": {"instanceTyp": "small", "cpus": "two"}})
    assert answer.status_code == 422
    assert {one["path"] for one in answer.json["errors"]} >= {"spec.instanceTyp", "spec.cpus"}
    assert served.git("rev-parse", "HEAD") == before


def test_another_name_or_kind_in_the_body_is_refused(client):
    other = client.simulate_put(f"{VMS}/x", json={"metadata": {"name": "y"}, **SMALL})
    kind = client.simulate_put(f"{VMS}/x", json={"kind": "Image", **SMALL})
    assert (other.status_code, kind.status_code) == (422, 422)


def test_the_status_in_a_body_is_ignored(client):
    found = client.simulate_get(f"{VMS}/web-1")
    back = client.simulate_put(f"{VMS}/web-1", json=found.json, headers={"If-Match": found.headers["etag"]})
    assert (back.status_code, back.headers["etag"]) == (200, found.headers["etag"])


def test_an_object_that_says_so_already_makes_no_commit(served, client):
    before = served.git("rev-parse", "HEAD")
    client.simulate_patch(f"{VMS}/web-1", json={"spec": {"instanceType": "small"}})
    assert served.git("rev-parse", "HEAD") == before


def test_git_only_files_answer_409_with_file_and_line(tmp_path):
    served = Served(tmp_path, ApiConfig(git_only=("machines.yaml",)))
    answer = served.client.simulate_delete(f"{VMS}/db-1")
    assert (answer.status_code, answer.json["file"]) == (409, "machines.yaml")
    assert answer.json["line"] > 1
    served.close()


def test_yaml_in_and_out(client):
    text = "kind: VirtualMachine\nmetadata: {name: y}\nspec: {instanceType: small, description: 'no'}\n"
    made = client.simulate_put(
        f"{VMS}/y", body=text, headers={"Content-Type": "application/yaml", "Accept": "application/yaml"}
    )
    assert made.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(made.text)["spec"] == {"instanceType": "small", "description": "no"}
    listed = client.simulate_get(VMS, headers={"Accept": "text/yaml"})
    assert [one["metadata"]["name"] for one in yaml.safe_load(listed.text)["items"]] == ["db-1", "web-1", "y"]


def test_other_media_types_are_refused(client):
    assert client.simulate_get(VMS, headers={"Accept": "text/csv"}).status_code == 406
    wrong = client.simulate_put(f"{VMS}/x", body="a=1", headers={"Content-Type": "text/csv"})
    assert wrong.status_code == 415
    assert client.simulate_get(f"{VMS}/x").status_code == 404


def test_images_keep_the_path_that_people_wrote(served, client):
    (served.repository / "disk.img").write_bytes(b"\0" * 512)
    image = {"spec": {"path": "disk.img", "format": "raw"}}
    made = client.simulate_put("/api/v1/images/tiny", json=image)
    assert made.status_code == 201, made.text
    found = client.simulate_get("/api/v1/images/tiny")
    assert found.json["spec"]["path"] == "disk.img"
    again = client.simulate_put(
        "/api/v1/images/tiny", json=found.json, headers={"If-Match": found.headers["etag"]}
    )
    assert again.status_code == 200, again.text


def test_a_broken_repository_is_told_and_stops_no_reader(served, client):
    served.commit("bad.yaml", "kind: VirtualMachine\nspec: {}\n")
    answer = client.simulate_get(VMS)
    assert (answer.status_code, names(answer)) == (200, ["db-1", "web-1"])
    assert answer.headers["reconciler-desired-state"] == "refused"


def test_machines_of_pools_are_seen_and_stand_in_no_file(served, client):
    template = {"labels": {"app": "farm"}, "spec": {"instanceType": "small"}}
    pool = {"spec": {"size": {"max": 2}, "template": template}}
    assert client.simulate_put("/api/v1/virtualmachinepools/farm", json=pool).status_code == 201
    served.store.add_members([Member("farm", 1, MemberState.AVAILABLE, 1.0)])
    assert names(client.simulate_get(VMS)) == ["db-1", "farm-1", "web-1"]
    assert client.simulate_get(f"{VMS}/farm-1").json["metadata"]["labels"]["app"] == "farm"
    before = served.git("rev-parse", "HEAD")
    answers = [
        client.simulate_put(f"{VMS}/farm-1", json=SMALL),
        client.simulate_patch(f"{VMS}/farm-1", json={"spec": {"memory": "3Gi"}}),
        client.simulate_delete(f"{VMS}/farm-1"),
    ]
    assert [answer.status_code for answer in answers] == [409] * 3
    assert served.git("rev-parse", "HEAD") == before
    assert client.simulate_post(f"{VMS}/farm-1/restart").status_code == 202


class TestScopes:
    """Grants that reach only some objects."""

    WEB = Grant(Role.OPERATOR, labels={"app": "web"})

    def test_lists_and_objects_show_what_is_within(self, served):
        client = served.as_(self.WEB)
        assert names(client.simulate_get(VMS)) == ["web-1"]
        assert client.simulate_get(f"{VMS}/db-1").status_code == 404
        assert client.simulate_get(f"{VMS}/web-1").status_code == 200

    def test_a_viewer_changes_nothing(self, served):
        client = served.as_(Grant(Role.VIEWER))
        assert client.simulate_get(f"{VMS}/db-1").status_code == 200
        answers = [
            client.simulate_put(f"{VMS}/db-1", json=SMALL),
            client.simulate_patch(f"{VMS}/db-1", json={"spec": {"memory": "3Gi"}}),
            client.simulate_delete(f"{VMS}/db-1"),
            client.simulate_post(VMS, json={"metadata": {"name": "x"}, **SMALL}),
            client.simulate_post(f"{VMS}/db-1/stop"),
            client.simulate_post("/api/v1/apply"),
        ]
        assert [answer.status_code for answer in answers] == [403] * 6

    @pytest.mark.parametrize(
        "labels", [{"app": "db"}, {}, {"app": None}, None], ids=["another", "none", "removed", "all gone"]
    )
    def test_labels_lead_nothing_out(self, served, labels):
        client = served.as_(self.WEB)
        before = served.git("rev-parse", "HEAD")
        patched = client.simulate_patch(f"{VMS}/web-1", json={"metadata": {"labels": labels}})
        put = client.simulate_put(
            f"{VMS}/web-1", json={"metadata": {"name": "web-1", "labels": labels or {}}, **SMALL}
        )
        # A merge of {} changes no label, so nothing is led out.
        assert patched.status_code == (200 if labels == {} else 403)
        assert put.status_code == 403
        assert served.git("rev-parse", "HEAD") == before

    def test_labels_lead_nothing_in(self, served):
        client = served.as_(self.WEB)
        taken = client.simulate_patch(f"{VMS}/db-1", json={"metadata": {"labels": {"app": "web"}}})
        put = client.simulate_put(f"{VMS}/db-1", json={"metadata": {"labels": {"app": "web"}}, **SMALL})
        assert (taken.status_code, put.status_code) == (404, 404)
        assert served.client.simulate_get(f"{VMS}/db-1").json["metadata"]["labels"] == {"app": "db"}

    def test_within_it_works(self, served):
        client = served.as_(self.WEB)
        made = client.simulate_put(f"{VMS}/web-2", json={"metadata": {"labels": {"app": "web"}}, **SMALL})
        assert made.status_code == 201
        assert client.simulate_put(f"{VMS}/web-3", json=SMALL).status_code == 403
        assert client.simulate_delete(f"{VMS}/web-2").status_code == 204

    def test_names_and_kinds_count(self, served):
        client = served.as_(Grant(Role.OPERATOR, kinds=("VirtualMachine",), names=("web-*",)))
        assert names(client.simulate_get(VMS)) == ["web-1"]
        assert client.simulate_put(f"{VMS}/web-9", json=SMALL).status_code == 201
        assert client.simulate_put(f"{VMS}/db-9", json=SMALL).status_code == 403
        assert client.simulate_put(f"{VMS}/db-1", json=SMALL).status_code == 403
        assert names(client.simulate_get("/api/v1/instancetypes")) == []
        assert client.simulate_get("/api/v1/instancetypes/small").status_code == 404
