"""Leases over HTTP: who may take, keep and give back which machine, and what is told to the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml

from api.listening import listen
from api.server import Manners, Server
from reconciler.leasing import Wish
from reconciler.model.access import Grant, Role
from reconciler.model.pool import Member, MemberState

AVAILABLE, CLEANING = MemberState.AVAILABLE, MemberState.CLEANING
CHECKOUT = "/api/v1/virtualmachinepools/farm/checkout"


def pool(name: str = "farm", most: int = 3, **spec: Any) -> str:
    manifest = {
        "apiVersion": "reconciler/v1",
        "kind": "VirtualMachinePool",
        "metadata": {"name": name, "labels": {"team": name}},
        "spec": {"size": {"max": most}, "template": {"spec": {"cpus": 1, "memory": "64Mi"}}, **spec},
    }
    return yaml.safe_dump(manifest)


def fill(site, count: int, name: str = "farm", state: MemberState = AVAILABLE) -> None:
    now = site.store.lease_time()
    site.store.add_members([Member(name, slot, state, now) for slot in range(1, count + 1)])


def clean(site) -> None:
    for one in site.store.members():
        site.store.step_member(one.vm, [CLEANING], AVAILABLE, site.store.lease_time())


@pytest.fixture
def farm(site):
    """A pool of three machines, two of which are available."""
    site.commit({"pool.yaml": pool(), "other.yaml": pool("lab"), "none.yaml": pool("empty", 0)})
    fill(site, 2)
    return site


def take(client, path: str = CHECKOUT, headers: dict[str, str] | None = None, **body: Any):
    query = {"wait": body.pop("wait")} if "wait" in body else {}
    return client.simulate_post(path, json=body, params=query, headers=headers)


def reasons(site) -> list[str]:
    return [event.reason for event in reversed(site.store.events())]


def test_a_machine_is_taken_kept_longer_and_given_back(farm):
    farm.store.set_statuses(
        "VirtualMachine", {"farm-1": '{"state":"running","addresses":[{"address":"192.0.2.7","mac":"x"}]}'}
    )
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    answer = take(ann, ttl="30m", purpose="tests")
    assert answer.status_code == 201
    lease = answer.json
    assert (lease["vm"], lease["holder"], lease["by"], lease["purpose"]) == ("farm-1", "ann", "ann", "tests")
    assert (lease["addresses"], lease["status"]["state"]) == (["192.0.2.7"], "running")
    assert answer.headers["location"] == f"/api/v1/leases/{lease['id']}"
    assert seconds_until(lease["expires"]) == pytest.approx(1800, abs=5)
    assert seconds_until(lease["latest"]) == pytest.approx(86400, abs=5)
    assert ann.simulate_get(answer.headers["location"]).json == lease
    longer = ann.simulate_patch(answer.headers["location"], json={"ttl": 7200})
    assert (longer.status_code, longer.json["id"]) == (200, lease["id"])
    assert seconds_until(longer.json["expires"]) == pytest.approx(7200, abs=5)
    assert ann.simulate_delete(answer.headers["location"]).status_code == 204
    assert ann.simulate_delete(answer.headers["location"]).status_code == 404
    assert ann.simulate_get("/api/v1/leases").json == {"items": []}
    assert {one.vm: one.state for one in farm.store.members()} == {"farm-1": CLEANING, "farm-2": AVAILABLE}
    assert reasons(farm) == ["CheckedOut", "LeaseExtended", "CheckedIn"]


def seconds_until(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time()


def test_who_gets_none_is_told_why_and_when_to_come_back(farm):
    ann = farm.client(Grant(Role.OPERATOR))
    take(ann, ttl=40)
    take(ann, ttl=90)
    fill(farm, 3, state=MemberState.ERROR)
    answer = take(ann)
    assert (answer.status_code, answer.json["reason"]) == (503, "NoneAvailable")
    assert "2 of at most 3 are leased, 1 are in error, the next lease ends in 40s" in answer.json["detail"]
    assert 30 < int(answer.headers["retry-after"]) <= 40
    assert [one.waits for one in farm.store.waiters("farm", farm.store.lease_time())] == [False]


def test_what_is_impossible_is_told_at_once(farm):
    ann = farm.client(Grant(Role.OPERATOR))
    assert take(ann, "/api/v1/virtualmachinepools/nowhere/checkout", wait="10s").status_code == 404
    empty = take(ann, "/api/v1/virtualmachinepools/empty/checkout", wait="10s")
    assert (empty.status_code, "size.max is 0" in empty.json["detail"]) == (409, True)
    assert take(ann, ttl="25h").status_code == 409
    lease = take(ann).json
    assert ann.simulate_patch(f"/api/v1/leases/{lease['id']}", json={"ttl": "2d"}).status_code == 409
    assert ann.simulate_patch(f"/api/v1/leases/{lease['id']}", json={"ttl": 10**40}).status_code == 409
    assert ann.simulate_patch("/api/v1/leases/none", json={"ttl": "1h"}).status_code == 404


def test_a_bad_wish_is_refused_with_every_mistake(farm):
    answer = take(farm.client(Grant(Role.OPERATOR)), ttl="soon", purpose="a\nb", holder="x" * 300, hodler="y")
    assert answer.status_code == 422
    assert sorted(one["path"] for one in answer.json["errors"]) == ["hodler", "holder", "purpose", "ttl"]
    assert take(farm.client(Grant(Role.OPERATOR)), ttl=0).status_code == 422
    assert farm.client(Grant(Role.OPERATOR)).simulate_post(CHECKOUT).status_code == 201, "no body is a wish"


def test_roles_and_scopes(farm):
    farm.commit({"lab.yaml": ""})
    assert take(farm.client()).status_code == 401
    assert take(farm.client(Grant(Role.VIEWER))).status_code == 403
    assert take(farm.client(Grant(Role.OPERATOR, names=("lab",)))).status_code == 404, "not theirs to see"
    assert take(farm.client(Grant(Role.OPERATOR, labels={"team": "lab"}))).status_code == 404
    mine = farm.client(Grant(Role.OPERATOR, labels={"team": "farm"}), name="mine")
    assert take(mine).status_code == 201
    elsewhere = farm.client(Grant(Role.OPERATOR, names=("lab",)))
    (lease,) = mine.simulate_get("/api/v1/leases").json["items"]
    place = f"/api/v1/leases/{lease['id']}"
    assert elsewhere.simulate_get("/api/v1/leases").json["items"] == []
    assert elsewhere.simulate_get(place).status_code == 404
    assert elsewhere.simulate_delete(place).status_code == 404
    viewer = farm.client(Grant(Role.VIEWER))
    assert viewer.simulate_get(place).status_code == 200
    assert viewer.simulate_delete(place).status_code == 403
    other = farm.client(Grant(Role.OPERATOR), name="other")
    assert other.simulate_delete(place).status_code == 403, "another's lease"
    assert other.simulate_patch(place, json={"ttl": 60}).status_code == 403
    assert other.simulate_post("/api/v1/virtualmachines/farm-1/checkin").status_code == 403
    assert (
        farm.client(Grant(Role.ADMIN, names=("lab",)), Grant(Role.OPERATOR))
        .simulate_delete(place)
        .status_code
        == 403
    ), "an admin of something else"
    assert farm.store.lease(lease["id"]) is not None
    assert farm.admin.simulate_delete(place).status_code == 204


def test_taken_for_somebody_it_is_both_of_theirs(farm):
    ci, ann = (farm.client(Grant(Role.OPERATOR), name=name) for name in ("ci", "ann"))
    lease = take(ci, holder="ann").json
    assert (lease["holder"], lease["by"]) == ("ann", "ci")
    assert ann.simulate_patch(f"/api/v1/leases/{lease['id']}", json={"ttl": 60}).status_code == 200
    ended = ann.simulate_post("/api/v1/virtualmachines/farm-1/checkin")
    assert (ended.status_code, ended.json["id"]) == (200, lease["id"])
    assert ann.simulate_post("/api/v1/virtualmachines/farm-1/checkin").status_code == 404
    lease = take(ci, holder="ann").json
    assert ci.simulate_delete(f"/api/v1/leases/{lease['id']}").status_code == 204


def test_lists_are_filtered_and_paged(farm):
    ann, bob = (farm.client(Grant(Role.OPERATOR), name=name) for name in ("ann", "bob"))
    fill(farm, 3)
    fill(farm, 1, "lab")
    take(bob), take(ann), take(ann)
    take(bob, "/api/v1/virtualmachinepools/lab/checkout")

    def vms(**query: str) -> list[str]:
        return [one["vm"] for one in ann.simulate_get("/api/v1/leases", params=query).json["items"]]

    assert vms() == ["farm-1", "farm-2", "farm-3", "lab-1"]
    assert vms(pool="farm", holder="ann") == ["farm-2", "farm-3"]
    assert vms(vm="lab-1") == ["lab-1"]
    page = ann.simulate_get("/api/v1/leases", params={"limit": "3", "fields": "vm"}).json
    assert page["items"] == [{"vm": "farm-1"}, {"vm": "farm-2"}, {"vm": "farm-3"}]
    assert vms(limit="3", **{"continue": page["continue"]}) == ["lab-1"]


@pytest.fixture
def served(farm):
    """The farm behind a real server, which notices when somebody hangs up; its two machines are lent."""
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    farm.lent = [take(ann).json for _ in range(2)]
    with Server(farm.app, listen("127.0.0.1:0"), manners=Manners(finish=1)) as server:
        farm.url = f"http://127.0.0.1:{server.ports[0]}"
        farm.open = []
        yield farm
        for client in farm.open:
            client.close()


def caller(site, name: str) -> httpx.Client:
    """A client of its own connection, of a caller who takes for somebody of this name."""
    headers = {"Authorization": f"Bearer {site.token(Grant(Role.ADMIN))}"}
    site.open.append(httpx.Client(base_url=site.url, headers=headers, timeout=30))
    return site.open[-1]


def in_line(site) -> list[str]:
    return [one.holder for one in site.store.waiters("farm", site.store.lease_time()) if one.waits]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Waiting(threading.Thread):
    """Somebody who waits in line."""

    def __init__(self, site, name: str, wait: str = "20s", **headers: str) -> None:
        super().__init__()
        self.client = caller(site, name)
        self.answer: httpx.Response | None = None
        self._ask: Any = {"params": {"wait": wait}, "headers": headers, "json": {"holder": name}}
        before = in_line(site)
        self.start()
        until(lambda: len(in_line(site)) > len(before) or self.answer is not None)

    def run(self) -> None:
        with contextlib.suppress(httpx.TransportError):
            self.answer = self.client.post(CHECKOUT, **self._ask)

    def lease(self) -> Any:
        self.join(20)
        assert self.answer is not None
        assert self.answer.status_code == 201, self.answer.text
        return self.answer.json()


def test_who_came_first_is_served_first_and_nobody_overtakes(served):
    ann, late = caller(served, "ann"), caller(served, "late")
    waiting = [Waiting(served, name) for name in ("bob", "cat", "dan")]
    assert in_line(served) == ["bob", "cat", "dan"]
    for lease, gets in zip(served.lent, waiting, strict=False):
        ann.delete(f"/api/v1/leases/{lease['id']}")
        clean(served)
        assert late.post(CHECKOUT).json()["reason"] == "NoneAvailable"
        assert gets.lease()["vm"] == lease["vm"]
    assert waiting[2].answer is None
    served.admin.simulate_post(f"/api/v1/virtualmachines/{served.lent[0]['vm']}/checkin")
    clean(served)
    assert waiting[2].lease()["holder"] == "dan"


def test_who_waits_in_vain_is_told_so_and_leaves_the_line(served):
    bob = caller(served, "bob")
    answer = bob.post(CHECKOUT, params={"wait": "1s"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "NoneAvailable")
    assert in_line(served) == []
    assert bob.post(CHECKOUT, params={"wait": "2h"}).status_code == 400


def test_who_hangs_up_leaves_the_line(served):
    hang_up = half_a_request(served, {})
    until(lambda: in_line(served) == ["bob"])
    behind = Waiting(served, "cat")
    hang_up()
    until(lambda: in_line(served) == ["cat"])
    served.admin.simulate_post("/api/v1/virtualmachines/farm-1/checkin")
    clean(served)
    assert behind.lease()["vm"] == "farm-1"


def test_with_a_key_who_hangs_up_keeps_their_place_for_a_moment(served):
    key = {"Idempotency-Key": "wish-1"}
    hang_up = half_a_request(served, key)
    until(lambda: in_line(served) == ["bob"])
    behind = Waiting(served, "cat")
    hang_up()
    time.sleep(0.1)
    assert in_line(served) == ["bob", "cat"]
    again = half_a_request(served, key)
    served.admin.simulate_post("/api/v1/virtualmachines/farm-1/checkin")
    clean(served)
    until(lambda: len(served.store.leases()) == 2)
    assert [one.holder for one in served.store.leases() if one.vm == "farm-1"] == ["bob"]
    again()
    served.admin.simulate_post("/api/v1/virtualmachines/farm-1/checkin")
    clean(served)
    assert behind.lease()["vm"] == "farm-1"


def half_a_request(site, headers: dict[str, str]) -> Callable[[], None]:
    """Ask in line for bob, and never read the answer; what it returns hangs up."""
    site.bob = getattr(site, "bob", None) or site.token(Grant(Role.OPERATOR), name="bob")
    made = socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])))
    lines = [f"POST {CHECKOUT}?wait=20s HTTP/1.1", "Host: x", f"Authorization: Bearer {site.bob}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    made.sendall("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
    return made.close


def test_the_same_key_gives_the_same_lease(farm):
    ann, bob = (farm.client(Grant(Role.OPERATOR), name=name) for name in ("ann", "bob"))
    key = {"Idempotency-Key": "wish-1"}
    first = take(ann, headers=key, ttl=600)
    again = take(ann, headers=key, ttl=600)
    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)
    assert take(ann, headers=key, ttl=601).status_code == 422, "another wish"
    assert take(bob, headers=key, ttl=600).json["vm"] == "farm-2", "another's key is another key"
    assert reasons(farm) == ["CheckedOut", "CheckedOut"]
    ann.simulate_delete(f"/api/v1/leases/{first.json['id']}")
    over = take(ann, headers=key, ttl=600)
    assert (over.status_code, "is over" in over.json["detail"]) == (409, True)
    assert take(ann, headers={"Idempotency-Key": "x" * 256}).status_code == 400


def test_a_key_is_kept_by_what_is_lent_not_by_the_answer(farm):
    """The process that lent it was killed before it answered: its successor knows all the same."""
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    leasing = farm.services.leasing
    before = leasing.checkout(leasing_wish("ann", key="wish-1"))
    assert take(ann, headers={"Idempotency-Key": "wish-1"}).json["id"] == before.id


def leasing_wish(by: str, **about: Any):
    return Wish("farm", by, **about)


def test_a_lease_ends_by_itself_and_its_machine_is_cleaned(farm):
    ann = farm.client(Grant(Role.OPERATOR))
    lease = take(ann, ttl=60).json
    assert farm.store.extend(lease["id"], farm.store.lease_time() + 0.01, farm.store.lease_time())
    time.sleep(0.02)
    assert ann.simulate_get(f"/api/v1/leases/{lease['id']}").status_code == 404
    assert farm.store.members("farm")[0].state is CLEANING
    assert reasons(farm) == ["CheckedOut", "LeaseExpired"]


def test_a_broken_desired_state_keeps_nobody_from_giving_back(farm):
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    lease = take(ann).json
    farm.commit({"broken.yaml": "kind: [\n"})
    farm.services.__dict__.pop("leasing")  # as a new process has it
    assert ann.simulate_delete(f"/api/v1/leases/{lease['id']}").status_code == 204


def test_times_are_told_by_the_wall_clock_of_now(farm):
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    lease = take(ann, ttl=600).json
    farm.clock.added = 7200.0  # somebody sets the clock
    later = ann.simulate_get(f"/api/v1/leases/{lease['id']}").json
    assert seconds_until(later["expires"]) == pytest.approx(600 + 7200, abs=5)


def test_only_who_has_a_machine_acts_on_it(farm):
    ann = farm.client(Grant(Role.OPERATOR), name="ann")
    bob = farm.client(Grant(Role.OPERATOR), name="bob")
    assert take(ann).json["vm"] == "farm-1"
    act = "/api/v1/virtualmachines/farm-1"
    for path in (f"{act}/stop", f"{act}/snapshots", f"{act}/snapshots/then/restore"):
        assert bob.simulate_post(path).status_code == 403, path
    assert bob.simulate_delete(f"{act}/snapshots/then").status_code == 403
    assert farm.store.open_requests() == ()
    assert ann.simulate_post(f"{act}/stop").status_code == 202
    assert farm.client(Grant(Role.ADMIN), name="root").simulate_post(f"{act}/stop").status_code == 202
    assert bob.simulate_post("/api/v1/virtualmachines/farm-2/stop").status_code == 202  # nobody has it
