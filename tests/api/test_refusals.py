"""What is not declared is refused, and what is refused says what to do instead."""

from __future__ import annotations

import pytest
from support.served import Served

from api.conventions.nearest import nearest
from reconciler.calls import Calls
from reconciler.model.access import Grant, Role
from reconciler.model.api_config import ApiConfig

VMS = "/api/v1/virtualmachines"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("refusals"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(served):
    return served.client


def test_a_stop_can_be_forced(served, client):
    answer = client.simulate_post(f"{VMS}/web-1/stop", json={"force": True})
    assert answer.status_code == 202, answer.text
    (asked,) = served.store.open_requests()
    assert (str(asked.request.act), asked.request.force) == ("stop", True)
    client.simulate_delete(answer.headers["location"])
    assert client.simulate_post(f"{VMS}/web-1/stop", json={"forse": True}).status_code == 422
    assert served.store.open_requests() == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{VMS}/web-1/start"),
        ("POST", f"{VMS}/web-1/snapshots/before/restore"),
        ("POST", "/api/v1/apply"),
        ("DELETE", f"{VMS}/web-1"),
    ],
)
def test_a_body_that_nobody_would_read_is_refused(served, client, method, path):
    before = served.git("rev-parse", "HEAD")
    answer = client.simulate_request(method, path, json={"force": True})
    assert (answer.status_code, answer.json["errors"][0]["path"]) == (400, "")
    assert "takes no body" in answer.json["errors"][0]["message"]
    assert served.git("rev-parse", "HEAD") == before
    assert served.store.open_requests() == ()
    assert served.store.open_operations() == ()


def test_an_unknown_field_of_an_act_on_what_is_no_machine_is_refused(served, client):
    body = {"about": "kvm1/default/x.qcow2", "dryRun": True}
    assert client.simulate_post("/api/v1/commands/discard", json=body).status_code == 400
    assert served.store.open_requests() == ()


def test_a_path_that_nobody_knows_tells_the_nearest(client):
    answer = client.simulate_get("/api/v1/virtualmachine/web-1")
    assert (answer.status_code, answer.json["hint"]) == (404, f"do you mean {VMS}/web-1")
    assert client.simulate_get("/nothing/like/it").json["hint"] == "all paths: GET /openapi.json"
    assert nearest("/" + "x" * 5000, ["/" + "x" * 4999]) == ""


def test_a_method_that_is_not_there_tells_which_are(client):
    answer = client.simulate_put(f"{VMS}/web-1/start")
    assert answer.status_code == 405
    assert "POST" in answer.json["hint"]


def test_head_is_get_without_the_body(client):
    head, get = client.simulate_head(f"{VMS}/web-1"), client.simulate_get(f"{VMS}/web-1")
    assert (head.status_code, head.headers["etag"], head.content) == (200, get.headers["etag"], b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    watched = client.simulate_head("/api/v1/events", params={"watch": "true"})
    assert (watched.status_code, watched.content) == (200, b"")
    assert client.simulate_head(f"{VMS}/none").status_code == 404


def test_head_of_an_older_call_that_writes_is_none(tmp_path):
    older = Served(tmp_path, ApiConfig.model_validate({"olderApis": {"orchestration": True}}))
    before = older.git("rev-parse", "HEAD")
    assert older.client.simulate_head("/vm/destroy", params={"vmid": "1"}).status_code == 405
    assert older.git("rev-parse", "HEAD") == before
    older.close()


def test_who_has_a_scope_is_told_that_a_tick_is_about_everything(served):
    scoped = served.as_(Grant(Role.OPERATOR, labels={"app": "web"}))
    answer = scoped.simulate_post("/api/v1/apply")
    assert answer.status_code == 403
    assert "without a scope" in answer.json["hint"]


class TestLeaveToDelete:
    """A tick that may delete more than the limits allow."""

    def test_it_holds_for_what_is_desired_now_and_is_told(self, served, client):
        calls = Calls(served.store)
        asked = client.simulate_post("/api/v1/apply", params={"allowDeletions": "true"})
        assert asked.status_code == 202, asked.text
        assert calls.begin() == {served.git("rev-parse", "HEAD")}
        calls.end("done", ok=True)
        (event,) = [one for one in served.store.events() if one.reason == "DeletionsAllowed"]
        assert "ann" in event.message

    def test_or_for_what_was_looked_at(self, served, client):
        calls = Calls(served.store)
        query = {"allowDeletions": "true", "revision": "abc"}
        client.simulate_post("/api/v1/apply", params=query)
        assert calls.begin() == {"abc"}
        calls.end("done", ok=True)

    def test_a_plain_call_allows_nothing(self, served, client):
        calls = Calls(served.store)
        client.simulate_post("/api/v1/apply", params={"revision": "abc"})
        assert calls.begin() == frozenset()
        calls.end("done", ok=True)

    def test_one_that_a_daemon_died_with_is_not_done_by_the_next(self, served, client):
        place = client.simulate_post("/api/v1/apply", params={"allowDeletions": "true"}).headers["location"]
        Calls(served.store).begin()
        assert Calls(served.store).begin() == frozenset()
        assert "ask again" in client.simulate_get(place).json["message"]

    @pytest.mark.parametrize("grant", [Grant(Role.OPERATOR), Grant(Role.ADMIN, labels={"app": "web"})])
    def test_only_for_admins_of_everything(self, served, grant):
        answer = served.as_(grant).simulate_post("/api/v1/apply", params={"allowDeletions": "true"})
        assert answer.status_code == 403
        assert served.store.open_operations() == ()
