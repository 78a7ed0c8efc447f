"""What every request may say: versions, pages, fields, waiting, and doing things once."""

import asyncio
import gzip
import json
import threading
import time

import falcon.testing
import pytest
from support.served import Served

from api.conventions import idempotency, wait
from api.resources import operations
from reconciler.model.access import Grant, Role
from reconciler.model.request import RequestOutcome, RequestState
from reconciler.model.status import Condition, ConditionStatus, Retry
from reconciler.store.base import Subject, Tick

VMS = "/api/v1/virtualmachines"
SMALL = {"spec": {"instanceType": "small"}}
MACHINE = """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: %s}
spec: {instanceType: small}
"""


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(served):
    return served.client


@pytest.fixture
def impatient(monkeypatch):
    """Whoever waits gives up almost at once."""
    until = wait.until
    monkeypatch.setattr(operations, "until", lambda done, _longest: until(done, 0.01))


def head(served):
    return served.git("rev-parse", "HEAD")


def condition(type_, status, reason="Some"):
    return Condition(type_, ConditionStatus(status), reason, "so it is", 1.0)


IN_ORDER = [condition("Ready", "True"), condition("Synced", "True")]


class TestVersions:
    """ETag, If-Match and If-None-Match."""

    def test_what_is_known_is_not_sent_again(self, client):
        for path in (VMS, f"{VMS}/web-1", f"{VMS}?labelSelector=app=web", f"{VMS}?fields=metadata.name"):
            first = client.simulate_get(path)
            again = client.simulate_get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.text) == (304, "")
            other = client.simulate_get(path, headers={"If-None-Match": '"x"'})
            assert other.status_code == 200

    def test_every_form_has_a_version_of_its_own(self, client):
        found = [
            client.simulate_get(f"{VMS}/web-1", params=params, headers={"Accept": accept}).headers["etag"]
            for params in ({}, {"status": "false"}, {"fields": "spec"}, {"fields": "status"})
            for accept in ("application/json", "application/yaml")
        ]
        assert len(set(found)) == len(found)

    def test_a_status_that_changes_is_news_but_in_no_writers_way(self, served, client):
        first = client.simulate_get(f"{VMS}/web-1").headers["etag"]
        served.store.set_statuses("VirtualMachine", {"web-1": '{"host":"kvm1"}'})
        again = client.simulate_get(f"{VMS}/web-1", headers={"If-None-Match": first})
        assert again.status_code == 200
        changed = client.simulate_patch(
            f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}}, headers={"If-Match": first}
        )
        assert changed.status_code == 200

    def test_who_saw_an_older_one_writes_nothing(self, served, client):
        old = client.simulate_get(f"{VMS}/web-1").headers["etag"]
        client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}})
        before = head(served)
        match = {"If-Match": old}
        answers = [
            client.simulate_put(f"{VMS}/web-1", json=SMALL, headers=match),
            client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "3Gi"}}, headers=match),
            client.simulate_delete(f"{VMS}/web-1", headers=match),
            client.simulate_delete(f"{VMS}/web-1", headers=match, params={"dryRun": "true"}),
        ]
        assert [answer.status_code for answer in answers] == [412] * 4
        assert head(served) == before

    def test_stars(self, client):
        there, gone = f"{VMS}/web-1", f"{VMS}/none"
        assert client.simulate_put(gone, json=SMALL, headers={"If-Match": "*"}).status_code == 412
        assert client.simulate_put(there, json=SMALL, headers={"If-None-Match": "*"}).status_code == 412
        assert client.simulate_put(gone, json=SMALL, headers={"If-None-Match": "*"}).status_code == 201
        assert client.simulate_put(there, json=SMALL, headers={"If-Match": "*"}).status_code == 200

    @pytest.mark.parametrize("tag", ["x", '"a', '"a", b', '"a", "b"', ""])
    def test_what_is_no_tag_is_refused(self, client, tag):
        answer = client.simulate_delete(f"{VMS}/web-1", headers={"If-Match": tag})
        assert answer.status_code == 400

    def test_the_answer_to_a_write_has_the_version_of_that_write(self, client):
        written = client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}})
        read = client.simulate_get(f"{VMS}/web-1")
        assert written.headers["etag"] == read.headers["etag"]
        assert written.json == read.json


class TestLists:
    """Selectors, fields, pages."""

    def test_selector_and_fields(self, client):
        answer = client.simulate_get(
            VMS, params={"labelSelector": "app=web,tier!=db", "fields": "metadata.name"}
        )
        assert answer.json["items"] == [{"metadata": {"name": "web-1"}}]

    def test_pages_hold_together_while_others_write(self, served, client):
        served.commit("more.yaml", "---\n".join(MACHINE % name for name in "ace"))
        first = client.simulate_get(VMS, params={"limit": 2})
        assert [one["metadata"]["name"] for one in first.json["items"]] == ["a", "c"]
        client.simulate_delete(f"{VMS}/c")
        client.simulate_put(f"{VMS}/b", json=SMALL)
        client.simulate_put(f"{VMS}/d", json=SMALL)
        rest, token = [], first.json["continue"]
        while token:
            page = client.simulate_get(VMS, params={"limit": 2, "continue": token}).json
            rest += [one["metadata"]["name"] for one in page["items"]]
            token = page.get("continue")
        assert rest == ["d", "db-1", "e", "web-1"]

    def test_a_token_of_another_query_is_refused(self, client):
        token = client.simulate_get(VMS, params={"limit": 1}).json["continue"]
        for path, more in ((VMS, {"labelSelector": "app=web"}), ("/api/v1/images", {})):
            answer = client.simulate_get(path, params={"limit": 1, "continue": token, **more})
            assert (answer.status_code, answer.json["errors"][0]["path"]) == (400, "continue")

    @pytest.mark.parametrize(
        "params",
        [
            {"limit": 0},
            {"limit": "x"},
            {"continue": "?"},
            {"labelSelector": "a b"},
            {"fields": "x"},
            {"no": "1"},
        ],
        ids=lambda params: next(iter(params)),
    )
    def test_a_bad_query_is_refused(self, client, params):
        assert client.simulate_get(VMS, params=params).status_code == 400

    def test_larger_answers_are_packed_for_those_who_take_it(self, served, client):
        served.commit("many.yaml", "---\n".join(MACHINE % f"m{number}" for number in range(20)))
        plain = client.simulate_get(VMS)
        assert "content-encoding" not in plain.headers
        for params in ({}, {"labelSelector": "!none"}):
            packed = client.simulate_get(VMS, params=params, headers={"Accept-Encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert json.loads(gzip.decompress(packed.content)) == plain.json
        refused = client.simulate_get(VMS, headers={"Accept-Encoding": "gzip;q=0, identity"})
        assert "content-encoding" not in refused.headers


class TestOnce:
    """Idempotency-Key."""

    KEY = {"Idempotency-Key": "k1"}

    def test_the_same_request_is_done_once_and_answered_alike(self, served, client):
        body = {"metadata": {"name": "x"}, **SMALL}
        first = client.simulate_post(VMS, json=body, headers=self.KEY)
        before = head(served)
        again = client.simulate_post(VMS, json=body, headers=self.KEY)
        assert (again.status_code, again.json) == (first.status_code, first.json) == (201, first.json)
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"
        assert head(served) == before

    def test_refusals_are_remembered_too(self, served, client):
        body = {"metadata": {"name": "web-1"}, **SMALL}
        assert client.simulate_post(VMS, json=body, headers=self.KEY).status_code == 409
        client.simulate_delete(f"{VMS}/web-1")
        assert client.simulate_post(VMS, json=body, headers=self.KEY).status_code == 409

    def test_another_request_under_the_key_is_refused(self, served, client):
        client.simulate_put(f"{VMS}/x", json=SMALL, headers=self.KEY)
        before = head(served)
        others = [
            client.simulate_put(f"{VMS}/x", json={"spec": {"cpus": 1, "memory": "1Gi"}}, headers=self.KEY),
            client.simulate_put(f"{VMS}/y", json=SMALL, headers=self.KEY),
            client.simulate_delete(f"{VMS}/x", headers=self.KEY),
            client.simulate_put(f"{VMS}/x", json=SMALL, headers=self.KEY, params={"dryRun": "true"}),
        ]
        assert [answer.status_code for answer in others] == [422] * 4
        assert head(served) == before

    def test_another_callers_key_is_another_key(self, served, client):
        client.simulate_put(f"{VMS}/x", json=SMALL, headers=self.KEY)
        bob = served.as_(Grant(Role.ADMIN), name="bob")
        assert bob.simulate_put(f"{VMS}/y", json=SMALL, headers=self.KEY).status_code == 201

    def test_keys_are_forgotten_after_a_day(self, served):
        now = [1_000_000.0]
        served.client = served.at(lambda: now[0])
        served.client.simulate_put(f"{VMS}/x", json=SMALL, headers=self.KEY)
        now[0] += 24 * 3600 + 1
        assert served.client.simulate_delete(f"{VMS}/x", headers=self.KEY).status_code == 204

    def test_an_act_is_asked_once(self, served, client):
        first = client.simulate_post(f"{VMS}/web-1/restart", headers=self.KEY)
        again = client.simulate_post(f"{VMS}/web-1/restart", headers=self.KEY)
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json["id"] == again.json["id"]
        assert first.headers["location"] == again.headers["location"]
        assert len(served.store.requests()) == 1

    def test_concurrent_duplicates_are_done_once(self, served, client):
        body = {"metadata": {"name": "x"}, **SMALL}
        before = int(served.git("rev-list", "--count", "HEAD"))

        async def ask_all():
            async with falcon.testing.ASGIConductor(client.app) as conductor:
                asked = [conductor.simulate_post(VMS, json=body, headers=self.KEY) for _ in range(6)]
                return await asyncio.gather(*asked)

        answers = asyncio.run(ask_all())
        assert [answer.status_code for answer in answers] == [201] * 6
        assert int(served.git("rev-list", "--count", "HEAD")) == before + 1

    def test_who_died_before_the_commit_is_followed_by_one_who_makes_it(self, served, client, monkeypatch):
        self._die(served, client, monkeypatch, begun=False)
        answer = client.simulate_post(VMS, json={"metadata": {"name": "x"}, **SMALL}, headers=self.KEY)
        assert answer.status_code == 201
        assert served.git("log", "--format=%s").splitlines().count("create VirtualMachine/x") == 1

    def test_who_died_after_the_commit_is_not_repeated(self, served, client, monkeypatch):
        self._die(served, client, monkeypatch, begun=True)
        # Somebody changed it since: doing it again would undo that.
        client.simulate_patch(f"{VMS}/x", json={"spec": {"memory": "7Gi"}})
        before = head(served)
        answer = client.simulate_post(VMS, json={"metadata": {"name": "x"}, **SMALL}, headers=self.KEY)
        assert answer.status_code == 201, answer.text
        assert head(served) == before
        assert client.simulate_get(f"{VMS}/x").json["spec"]["memory"] == "7Gi"

    def _die(self, served, client, monkeypatch, *, begun):
        """A process dies in the middle of a request, before its commit or after."""
        body = {"metadata": {"name": "x"}, **SMALL}

        class Dead(BaseException):
            pass

        def die(*_arguments):
            raise Dead

        with monkeypatch.context() as patched:
            if begun:
                patched.setattr(type(served.store), "finish_once", die)
            else:
                patched.setattr(type(served.desired), "write", die)
            patched.setattr(idempotency, "_worker", lambda request: f"another-boot:1:1:{request}")
            with pytest.raises(Dead):
                client.simulate_post(VMS, json=body, headers=self.KEY)


class TestWaiting:
    """wait, waitFor and the operations that go on."""

    def tick(self, served, revision=None):
        served.store.put_tick(Tick(1.0, "all is well", revision or head(served)))

    @pytest.mark.usefixtures("impatient")
    def test_without_a_tick_the_answer_is_an_operation(self, served, client):
        answer = client.simulate_put(f"{VMS}/x", json=SMALL, params={"wait": "0s"})
        assert answer.status_code == 201
        answer = client.simulate_patch(f"{VMS}/x", json={"spec": {"memory": "2Gi"}}, params={"wait": "1s"})
        assert answer.status_code == 202
        assert answer.json["state"] == "running"
        assert answer.headers["reconciler-revision"] == head(served)
        place = answer.headers["location"]
        served.store.set_conditions(Subject.VM, {"x": IN_ORDER})
        assert client.simulate_get(place).json["state"] == "running"
        self.tick(served)
        assert client.simulate_get(place, params={"wait": "5s"}).json["state"] == "done"
        served.store.set_conditions(Subject.VM, {"x": [condition("Ready", "False")]})
        assert client.simulate_get(place).json["state"] == "done"

    @pytest.mark.usefixtures("impatient")
    def test_what_was_true_before_the_change_does_not_count(self, served, client):
        served.store.set_conditions(Subject.VM, {"web-1": IN_ORDER})
        self.tick(served)
        answer = client.simulate_patch(
            f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}}, params={"wait": "1s"}
        )
        assert answer.status_code == 202

    def test_it_is_answered_as_soon_as_it_is_true(self, served, client):
        served.store.set_conditions(Subject.VM, {"web-1": IN_ORDER})
        before = head(served)

        def tick_after_the_commit():
            while head(served) == before:
                time.sleep(0.01)
            self.tick(served)

        daemon = threading.Thread(target=tick_after_the_commit)
        daemon.start()
        answer = client.simulate_patch(
            f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}}, params={"wait": "60s"}
        )
        daemon.join()
        assert answer.status_code == 200
        assert answer.json["status"]["conditions"][0]["status"] == "True"

    def test_other_conditions_and_statuses(self, served, client):
        served.store.set_conditions(
            Subject.VM, {"web-1": [condition("Ready", "False"), condition("RestartRequired", "False")]}
        )
        client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}})
        self.tick(served)
        query = {"wait": "5s", "waitFor": "RestartRequired=False"}
        answer = client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}}, params=query)
        assert answer.status_code == 200

    def test_what_failed_for_good_is_not_waited_for(self, served, client):
        client.simulate_patch(f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}})
        self.tick(served)
        served.store.set_conditions(Subject.VM, {"web-1": [condition("Ready", "False")]})
        served.store.put_retries([Retry("web-1", 1, 0.0, True, "x", "the pool is full")])
        answer = client.simulate_patch(
            f"{VMS}/web-1", json={"spec": {"memory": "2Gi"}}, params={"wait": "60s"}
        )
        assert (answer.status_code, answer.json["state"]) == (202, "failed")
        assert answer.json["message"] == "the pool is full"

    @pytest.mark.usefixtures("impatient")
    def test_a_deletion_is_over_when_it_is_gone(self, served, client):
        served.store.set_conditions(Subject.VM, {"web-1": [condition("Ready", "True")]})
        answer = client.simulate_delete(f"{VMS}/web-1", params={"wait": "1s"})
        assert answer.status_code == 202
        self.tick(served)
        assert client.simulate_get(answer.headers["location"]).json["state"] == "running"
        served.store.set_conditions(Subject.VM, {}, complete=True)
        assert client.simulate_get(answer.headers["location"]).json["state"] == "done"

    @pytest.mark.usefixtures("impatient")
    def test_a_presets_change_is_done_when_a_tick_saw_it(self, served, client):
        patch = {"spec": {"cpus": 2}}
        first = client.simulate_patch("/api/v1/instancetypes/small", json=patch, params={"wait": "1s"})
        self.tick(served)
        again = client.simulate_patch("/api/v1/instancetypes/small", json=patch, params={"wait": "1s"})
        assert (first.status_code, again.status_code) == (202, 200)

    @pytest.mark.parametrize("query", [{"wait": "2h"}, {"wait": "soon"}, {"waitFor": "Ready=Maybe"}])
    def test_a_bad_wait_writes_nothing(self, served, client, query):
        before = head(served)
        assert client.simulate_put(f"{VMS}/x", json=SMALL, params=query).status_code == 400
        assert head(served) == before


class TestOperations:
    """Acts, and what becomes of them."""

    def test_an_act_is_an_operation(self, served, client):
        served.store.set_statuses("VirtualMachine", {"web-1": '{"host":"kvm1","uid":"u-1"}'})
        answer = client.simulate_post(f"{VMS}/web-1/restart", json={"force": True})
        assert answer.status_code == 202
        assert (answer.json["kind"], answer.json["subject"]) == ("restart", "VirtualMachine/web-1")
        record = served.store.requests()[0]
        assert (record.request.force, record.request.uid, record.by) == (True, "u-1", "ann")
        assert client.simulate_get(answer.headers["location"]).json == answer.json
        assert "waits for a daemon" in answer.json["message"]

    def test_it_can_be_cancelled_until_it_is_begun(self, served, client):
        first = client.simulate_post(f"{VMS}/web-1/stop").headers["location"]
        second = client.simulate_post(f"{VMS}/web-1/start").headers["location"]
        served.store.begin_request(2, 1.0)
        assert client.simulate_post(f"{first}/cancel").json["state"] == "cancelled"
        assert client.simulate_post(f"{first}/cancel").status_code == 409
        assert client.simulate_delete(second).status_code == 409

    def test_a_wait_for_an_act_ends_with_it(self, served, client):
        def carry_out():
            while not served.store.open_requests():
                time.sleep(0.01)
            served.store.begin_request(1, 1.0)
            served.store.end_request(1, RequestOutcome(RequestState.FAILED, "no such host", 5), 2.0)

        daemon = threading.Timer(0.2, carry_out)
        daemon.start()
        answer = client.simulate_post(f"{VMS}/web-1/start", params={"wait": "60s"})
        daemon.join()
        assert (answer.status_code, answer.json["state"], answer.json["code"]) == (200, "failed", 5)

    def test_snapshots_are_acts_too(self, served, client):
        place = f"{VMS}/web-1/snapshots"
        answers = [
            client.simulate_post(place, json={"name": "before"}),
            client.simulate_post(place),
            client.simulate_post(f"{place}/before/restore"),
            client.simulate_delete(f"{place}/before"),
        ]
        assert [answer.status_code for answer in answers] == [202] * 4
        kinds = [(str(one.request.act), one.request.snapshot) for one in reversed(served.store.requests())]
        assert kinds[0] == ("snapshot", "before")
        assert kinds[1][1].startswith("at-")
        assert kinds[2:] == [("restore", "before"), ("delete-snapshot", "before")]

    def test_bad_bodies_of_acts(self, client):
        assert client.simulate_post(f"{VMS}/web-1/snapshots", json={"name": "No Name"}).status_code == 422
        assert client.simulate_post(f"{VMS}/web-1/restart", json={"force": "yes"}).status_code == 422
        assert client.simulate_post(f"{VMS}/web-1/restart", json={"forse": True}).status_code == 422
        assert client.simulate_post(f"{VMS}/none/restart").status_code == 404

    def test_a_call_for_a_tick_is_an_operation_of_its_own(self, served, client):
        answer = client.simulate_post("/api/v1/apply")
        assert (answer.status_code, answer.json["id"]) == (202, "apply-1")
        assert client.simulate_delete("/api/v1/operations/apply-1").json["state"] == "cancelled"

    def test_the_list_is_newest_first_in_pages(self, served, client):
        client.simulate_post("/api/v1/apply")
        client.simulate_post(f"{VMS}/web-1/start")
        client.simulate_post(f"{VMS}/db-1/start")
        first = client.simulate_get("/api/v1/operations", params={"limit": 2}).json
        rest = client.simulate_get("/api/v1/operations", params={"limit": 2, "continue": first["continue"]})
        assert [one["id"] for one in first["items"] + rest.json["items"]] == ["act-2", "act-1", "apply-1"]

    def test_who_may_not_see_the_machine_does_not_see_the_operation(self, served, client):
        place = client.simulate_post(f"{VMS}/db-1/start").headers["location"]
        bob = served.as_(Grant(Role.OPERATOR, labels={"app": "web"}), name="bob")
        assert bob.simulate_get(place).status_code == 404
        assert bob.simulate_delete(place).status_code == 404
        assert bob.simulate_get("/api/v1/operations").json["items"] == []

    @pytest.mark.parametrize("id_", ["act-1", "x-1", "act-", "apply-99999999999999999999", "wait-1"])
    def test_what_is_not_there(self, client, id_):
        assert client.simulate_get(f"/api/v1/operations/{id_}").status_code == 404
