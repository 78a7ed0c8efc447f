"""What a write is waited for with ``?wait=``: that it is carried out, and no longer than time helps."""

import json
import threading
import time

import pytest
from support.served import Served

from api.resources import operations
from reconciler.model.pool import Member, MemberState
from reconciler.model.request import RequestOutcome, RequestState
from reconciler.model.status import Condition, ConditionStatus
from reconciler.planner.lent.slots import template_of
from reconciler.store.base import Subject, Tick
from reconciler.store.base_leases import Checkout

VMS = "/api/v1/virtualmachines"
POOLS = "/api/v1/virtualmachinepools"
MORE = {"spec": {"memory": "2Gi"}}
POOL = {
    "metadata": {"name": "ci"},
    "spec": {"size": {"max": 3, "warm": 1}, "template": {"spec": {"cpus": 1, "memory": "64Mi"}}},
}


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(served):
    return served.client


@pytest.fixture
def longest(monkeypatch):
    """For how long each was willing to wait; nobody waits for more than one look."""
    asked = []

    async def impatient(done, seconds):
        asked.append((await done(), seconds))
        return asked[-1][0]

    monkeypatch.setattr(operations, "until", impatient)
    return asked


def say(served, key, *said, generation=0):
    """Conditions: type, status, reason, message."""
    served.store.set_conditions(
        Subject.VM,
        {key: [Condition(one[0], ConditionStatus(one[1]), one[2], one[3], 1.0, generation) for one in said]},
    )


def tick(served):
    served.store.put_tick(Tick(1.0, "all is well", served.git("rev-parse", "HEAD")))


def changed(served, client, *said, path=f"{VMS}/web-1", key="web-1", body=MORE, **query):
    """The answer to a change that a tick has seen; these were said by it."""
    client.simulate_patch(path, json=body)
    say(served, key, *said)
    tick(served)
    return client.simulate_patch(path, json=body, params={"wait": "60s", **query})


READY = ("Ready", "True", "Running", "it is running")
SYNCED = ("Synced", "True", "InSync", "")


def test_a_machine_that_only_runs_is_not_what_it_shall_be(served, client, longest):
    answer = changed(served, client, READY, ("Synced", "False", "ChangesPending", "memory"))
    assert (answer.status_code, answer.json["state"]) == (202, "running")
    assert answer.json["message"] == "ChangesPending: memory"
    assert longest == [(False, 60.0)]
    assert changed(served, client, READY, SYNCED).status_code == 200
    said = (READY, ("Synced", "False", "ChangesPending", "memory"))
    assert changed(served, client, *said, waitFor="Ready").status_code == 200


def test_what_waits_for_consent_is_answered_at_once(served, client, longest):
    answer = changed(
        served,
        client,
        READY,
        ("Synced", "False", "ChangesWait", "waiting for consent: image"),
        ("RestartRequired", "False", "NothingWaits", ""),
        ("ReplaceRequired", "True", "ChangesWait", "image: set updatePolicy: Replace to let it happen"),
    )
    assert longest == [(True, 60.0)]
    assert (answer.status_code, answer.json["state"]) == (202, "running")
    assert answer.headers["reconciler-operation"] == "running"
    for part in ("waiting for consent: image", "set updatePolicy: Replace"):
        assert part in answer.json["message"]
    say(served, "web-1", READY, SYNCED)
    assert client.simulate_get(answer.headers["location"]).json["state"] == "done"


def test_a_restart_that_somebody_may_do_is_waited_for(served, client, longest):
    waits = ("RestartRequired", "True", "ChangesWait", "cpus: set updatePolicy: Restart to let it happen")
    answer = changed(served, client, READY, SYNCED, waits, waitFor="RestartRequired=False")
    assert (answer.status_code, longest) == (202, [(False, 60.0)])


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("ShrinkRefused", "failed"),
        ("NameTaken", "failed"),
        ("NoHostFits", "running"),
        ("RetryLater", "running"),
    ],
)
def test_what_only_a_person_can_mend_is_not_waited_for(served, client, longest, reason, state):
    said = [(kind, "False", reason, "so it is") for kind in ("Ready", "Synced")]
    answer = changed(served, client, *said)
    assert (answer.status_code, answer.json["state"]) == (202, state)
    assert answer.json["message"] == f"{reason}: so it is"
    assert longest == [(state == "failed", 60.0)]


def test_a_protected_machine_is_not_waited_for_until_it_is_gone(served, client, longest):
    client.simulate_delete(f"{VMS}/web-1", params={"wait": "1s"})
    say(served, "web-1", READY, ("Synced", "False", "Protected", "it is protected"))
    tick(served)
    answer = client.simulate_get("/api/v1/operations/wait-1")
    assert (answer.json["state"], answer.json["message"]) == ("failed", "Protected: it is protected")


@pytest.mark.parametrize(
    ("path", "known"),
    [(f"{VMS}/web-1", "ReplaceRequired"), (f"{POOLS}/ci", "Ready"), ("/api/v1/volumes/v", "Synced")],
)
def test_a_condition_that_nothing_has_is_refused_with_those_there_are(served, client, path, known):
    before = served.git("rev-parse", "HEAD")
    for method in (client.simulate_patch, client.simulate_put):
        answer = method(path, json=MORE, params={"wait": "1s", "waitFor": "Bogus"})
        assert answer.status_code == 400
        assert known in answer.text
    assert served.git("rev-parse", "HEAD") == before
    answer = client.simulate_patch(f"{POOLS}/ci", json={}, params={"waitFor": "Provisioned"})
    assert answer.status_code == 400


def test_a_wait_for_what_is_deleted_meanwhile_ends(served, client, longest):
    place = client.simulate_patch(f"{VMS}/web-1", json=MORE, params={"wait": "1s"}).headers["location"]
    assert client.simulate_get(place).json["state"] == "running"
    client.simulate_delete(f"{VMS}/web-1")
    ended = client.simulate_get(place).json  # though no tick saw the change, nor ever will
    assert (ended["state"], ended["code"]) == ("failed", 1)
    assert "it is desired no more" in ended["message"]


def test_the_answer_has_the_status_of_what_was_made(served, client):
    client.simulate_put(f"{VMS}/new", json={"spec": {"instanceType": "small"}})
    say(served, "new", READY, SYNCED, generation=1)
    tick(served)

    def look_again():
        row = {"host": "kvm1", "state": "running", "generation": 1, "uid": "u"}
        served.store.set_statuses("VirtualMachine", {"new": json.dumps(row)})

    later = threading.Timer(0.3, look_again)
    later.start()
    answer = client.simulate_put(
        f"{VMS}/new", json={"spec": {"instanceType": "small"}}, params={"wait": "30s"}
    )
    later.join()
    assert answer.status_code == 200
    assert (answer.json["status"]["host"], answer.json["status"]["state"]) == ("kvm1", "running")


class TestPools:
    """A pool is ready when as many machines as shall be are, of the template that was written."""

    def made(self, served, client):
        assert client.simulate_post(POOLS, json=POOL).status_code == 201
        tick(served)

    def fill(self, served, *states):
        pool = served.desired.read().machine_pools["ci"]
        now, template = served.store.lease_time(), template_of(served.desired.read(), pool)
        members = [Member("ci", i, state, now, template=template) for i, state in enumerate(states, 1)]
        served.store.add_members(members)

    def ask(self, client, body=None):
        path = f"{POOLS}/ci"
        return client.simulate_patch(path, json=body or {"metadata": {"name": "ci"}}, params={"wait": "60s"})

    @pytest.mark.usefixtures("longest")
    def test_a_tick_is_not_enough(self, served, client):
        self.made(served, client)
        answer = self.ask(client)
        assert (answer.status_code, answer.json["message"]) == (202, "nothing is said of Ready yet")
        self.fill(served, MemberState.CREATING)
        say(served, "VirtualMachinePool/ci", ("Ready", "False", "Filling", "not yet"))
        answer = self.ask(client)
        assert (answer.status_code, answer.json["message"]) == (202, "Filling: not yet")
        served.store.step_member("ci-1", [MemberState.CREATING], MemberState.AVAILABLE, 1.0)
        say(served, "VirtualMachinePool/ci", ("Ready", "True", "Warm", "so many"))
        assert self.ask(client).status_code == 200

    @pytest.mark.usefixtures("longest")
    def test_machines_of_the_older_template_go_first(self, served, client):
        self.made(served, client)
        self.fill(served, MemberState.AVAILABLE, MemberState.AVAILABLE)
        assert served.store.checkout_vm("ci-2", Checkout("ci", "ann", "test", 60.0, 60.0), 1.0)
        say(served, "VirtualMachinePool/ci", ("Ready", "True", "Warm", "so many"))
        more = {"spec": {"template": {"spec": {"memory": "128Mi"}}}}
        client.simulate_patch(f"{POOLS}/ci", json=more)
        tick(served)
        answer = self.ask(client, more)
        assert (answer.status_code, answer.json["message"]) == (202, "of an older template: ci-1")
        served.store.step_member("ci-1", [MemberState.AVAILABLE], MemberState.RETIRING, 1.0)
        pool = served.desired.read().machine_pools["ci"]
        new = Member("ci", 3, MemberState.AVAILABLE, 1.0, template=template_of(served.desired.read(), pool))
        served.store.add_members([new])
        assert self.ask(client, more).status_code == 200  # ci-2 is lent: it stays with its holder

    @pytest.mark.usefixtures("longest")
    def test_more_that_shall_be_ready_are_waited_for(self, served, client):
        self.made(served, client)
        self.fill(served, MemberState.AVAILABLE)
        say(served, "VirtualMachinePool/ci", ("Ready", "True", "Warm", "so many"))
        more = {"spec": {"size": {"warm": 2}}}
        client.simulate_patch(f"{POOLS}/ci", json=more)
        tick(served)
        answer = self.ask(client, more)
        assert (answer.status_code, answer.json["state"]) == (202, "running")
        assert answer.json["message"].startswith("Filling")

    def test_slots_that_somebody_else_has_are_not_waited_for(self, served, client, longest):
        self.made(served, client)
        say(served, "VirtualMachinePool/ci", ("Ready", "False", "SlotsTaken", "ci-1 cannot be made"))
        assert self.ask(client).json["state"] == "failed"
        assert longest == [(True, 60.0)]


def test_an_act_that_failed_is_over_and_says_so_in_a_header(served, client):
    def carry_out():
        while not served.store.open_requests():
            time.sleep(0.01)
        served.store.begin_request(1, 1.0)
        served.store.end_request(1, RequestOutcome(RequestState.FAILED, "no such host", 5), 2.0)

    daemon = threading.Thread(target=carry_out)
    daemon.start()
    answer = client.simulate_post(f"{VMS}/web-1/start", params={"wait": "60s"})
    daemon.join()
    assert (answer.status_code, answer.headers["reconciler-operation"]) == (200, "failed")
    later = client.simulate_post(f"{VMS}/web-1/stop")
    assert (later.status_code, later.headers["reconciler-operation"]) == (202, "pending")
