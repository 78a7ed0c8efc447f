"""The reservation system's calls, as its clients send them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import falcon.testing
import pytest
import yaml
from support.ticks import Ticks

from api.older import reservations
from reconciler.model.access import Grant, Role
from reconciler.model.pool import Member, MemberState

POOL = {
    "apiVersion": "reconciler/v1",
    "kind": "VirtualMachinePool",
    "metadata": {"name": "farm", "labels": {"team": "tests"}},
    "spec": {
        "size": {"max": 2},
        "lease": {"timeout": "1h"},
        "onCheckin": "Keep",
        "addresses": ["192.0.2.51", "192.0.2.52"],
        "template": {"spec": {"cpus": 1, "memory": "64Mi", "interfaces": [{"network": "lan"}]}},
    },
}
LAN = """
apiVersion: reconciler/v1
kind: Network
metadata: {name: lan}
spec: {mode: nat, subnet: 192.0.2.0/24}
"""
UNKNOWN = "Could not find a vm with given details"
NONE = "No VMs currently available, please try after some time"


@pytest.fixture
def old(make_site):
    """An installation with a pool of two, switched on by one line."""
    made = make_site(older_apis={"reservations": "farm", "timeout": "20s"})
    made.commit({"pool.yaml": yaml.safe_dump(POOL), "lan.yaml": LAN})
    return made


@pytest.fixture
def ticks(old) -> Iterator[Ticks]:
    with Ticks(old.services.desired, old.store) as running:
        yield running


class Client:
    """Somebody who was written for the old system: GET, and an envelope whatever happens."""

    def __init__(self, client: falcon.testing.TestClient) -> None:
        self.client = client

    def __call__(self, name: str, **given: object):
        answer = self.client.simulate_get(f"/{name}/", params={key: str(each) for key, each in given.items()})
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json) == {"status", "data", "message"}
        assert answer.status_code == 200
        return answer.json

    def fine(self, name: str, **given: object):
        """The data of a success."""
        answer = self(name, **given)
        assert (answer["status"], answer["message"]) == ("success", "")
        return answer["data"]

    def wrong(self, name: str, **given: object) -> str:
        """The message of an error."""
        answer = self(name, **given)
        assert (answer["status"], answer["data"]) == ("error", {})
        return answer["message"]


@pytest.fixture
def ask(old) -> Client:
    return Client(old.client(Grant(Role.OPERATOR), name="ann"))


def test_a_machine_from_its_making_to_its_end(old, ticks, ask):
    one = ask.fine("createVM")
    assert (one["ip"], one["status"]) == ("192.0.2.51", "available")
    assert set(one) == {"vm_id", "ip", "status"}
    both = {"vm_id": one["vm_id"], "ip": one["ip"]}
    assert ask.fine("getVM", vm_id=one["vm_id"]) == one
    assert ask.fine("getVMStatus", vm_id=one["vm_id"]) == {"status": "available"}
    assert ask.fine("checkoutVM") == {**one, "status": "checked-out"}
    assert ask.fine("getVMStatus", vm_id=one["vm_id"]) == {"status": "checked-out"}
    (lease,) = old.store.leases()
    assert (lease.holder, lease.vm) == ("ann", "farm-1")
    assert ask.wrong("deleteVM", **both) == "You cannot delete a VM that is in ' checked-out ' State"
    assert ask.fine("checkinVM", **both) == one
    assert ask.wrong("checkinVM", **both) == "You cannot check-in a VM that is in ' available ' State"
    assert ask.fine("deleteVM", **both) == {**one, "status": "deleted"}
    assert ask.wrong("getVM", vm_id=one["vm_id"]) == UNKNOWN
    assert ask.wrong("getVMStatus", vm_id=one["vm_id"]) == UNKNOWN
    assert old.store.members() == ()


def test_the_limit_and_that_there_is_none_left(old, ticks, ask):
    assert ask.wrong("checkoutVM") == NONE
    ids = {ask.fine("createVM")["vm_id"], ask.fine("createVM")["vm_id"]}
    assert len(ids) == 2
    assert ask.wrong("createVM") == "Error: Maximum VM Count reached"
    taken = [ask.fine("checkoutVM") for _ in range(2)]
    assert {one["vm_id"] for one in taken} == ids
    assert ask.wrong("checkoutVM") == NONE
    ask.fine("checkinVM", vm_id=taken[0]["vm_id"], ip=taken[0]["ip"])
    assert ask.fine("checkoutVM") == taken[0]


def test_one_who_asked_in_vain_takes_no_room(old, ticks, ask):
    assert ask.wrong("checkoutVM") == NONE
    assert old.store.waiters("farm", old.store.lease_time()) == ()


@pytest.mark.slow
def test_there_is_room_again_as_soon_as_one_is_deleted_and_the_new_one_has_another_id(old, ticks, ask):
    ids = [ask.fine("createVM") for _ in range(2)]
    ask.fine("deleteVM", vm_id=ids[0]["vm_id"], ip=ids[0]["ip"])
    fresh = ask.fine("createVM")
    assert fresh["ip"] == ids[0]["ip"]
    assert fresh["vm_id"] > max(one["vm_id"] for one in ids)


def test_id_and_address_must_agree(old, ticks, ask):
    one = ask.fine("createVM")
    for given in (
        {},
        {"vm_id": one["vm_id"]},
        {"vm_id": one["vm_id"], "ip": "192.0.2.52"},
        {"ip": one["ip"]},
    ):
        for call in ("deleteVM", "checkinVM"):
            assert ask.wrong(call, **given) == UNKNOWN
    for number in ("", "0", "-1", "x", one["vm_id"] + 1, "9" * 300, "' or 1=1"):
        assert ask.wrong("getVM", vm_id=number) == UNKNOWN


@pytest.mark.slow
def test_one_that_cannot_be_made_is_in_error_and_can_be_deleted(old, ticks, ask):
    ticks.refused["farm-1"] = "NoHostFits"
    one = ask.fine("createVM")
    assert one["status"] == "error"
    assert ask.wrong("checkoutVM") == NONE
    ask.fine("deleteVM", vm_id=one["vm_id"], ip=one["ip"])


def test_one_that_is_on_its_way_is_neither_lent_nor_deleted_nor_given_back(old, ask):
    now = old.store.lease_time()
    old.store.add_members([Member("farm", 1, MemberState.CREATING, now)])
    given = {"vm_id": old.store.allot_ids("Member", {"farm-1": 0})["farm-1"], "ip": "192.0.2.51"}
    before = MemberState.CREATING
    for state in (MemberState.CREATING, MemberState.CLEANING, MemberState.RETIRING):
        assert old.store.step_member("farm-1", [before], state, now)
        before = state
        assert ask.fine("getVM", **given)["status"] == "checked-out"
        assert ask.wrong("checkoutVM") == NONE
        assert ask.wrong("deleteVM", **given) == f"You cannot delete a VM that is in ' {state} ' State"
        assert ask.wrong("checkinVM", **given) == f"You cannot check-in a VM that is in ' {state} ' State"


def test_no_machine_is_handed_to_two(old, ticks, ask):
    for _ in range(2):
        ask.fine("createVM")
    headers = {"Authorization": f"Bearer {old.token(Grant(Role.OPERATOR))}"}

    async def everybody() -> list[object]:
        async with falcon.testing.ASGIConductor(old.app, headers=headers) as client:
            answers = await asyncio.gather(*(client.simulate_get("/checkoutVM/") for _ in range(20)))
        return [answer.json for answer in answers]

    answers = asyncio.run(everybody())
    got = [answer["data"]["vm_id"] for answer in answers if answer["status"] == "success"]
    assert len(got) == len(set(got)) == 2
    assert [answer["message"] for answer in answers if answer["status"] == "error"] == [NONE] * 18


@pytest.mark.slow
def test_a_machine_checks_itself_in_when_its_time_is_over(old, ticks, ask):
    one = ask.fine("createVM")
    ask.fine("checkoutVM")
    (lease,) = old.store.leases()
    old.store.expire(lease.expires + 1)
    ticks.tick()
    assert ask.fine("getVM", vm_id=one["vm_id"]) == one


@pytest.mark.slow
def test_what_somebody_else_holds_only_an_admin_gives_back(old, ticks, ask):
    one = ask.fine("createVM")
    ask.fine("checkoutVM")
    path = f"/checkinVM/?vm_id={one['vm_id']}&ip={one['ip']}"
    bob = old.client(Grant(Role.OPERATOR), name="bob").simulate_get(path)
    assert (bob.status_code, bob.json["status"]) == (403, "error")
    assert len(old.store.leases()) == 1
    assert old.admin.simulate_get(path).json["status"] == "success"


def test_every_refusal_is_an_envelope(old):
    for call in reservations.calls(old.services, "farm"):
        nobody = old.client().simulate_get(call.path)
        assert (nobody.status_code, nobody.json["status"]) == (401, "error")
        assert nobody.json["data"] == {}
        assert nobody.json["message"]
        viewer = old.client(Grant(Role.VIEWER)).simulate_get(call.path)
        assert viewer.status_code == (403 if call.role is Role.OPERATOR else 200)
        assert viewer.json["status"] == "error"
        other = old.client(Grant(Role.OPERATOR, names=("lab",))).simulate_get(call.path)
        assert (other.status_code, other.json["status"]) == (403, "error")


def test_without_its_pool_and_after_a_mistake_of_ours_it_is_an_envelope_too(make_site, monkeypatch):
    made = make_site(older_apis={"reservations": "farm", "timeout": "1s"})
    ask = Client(made.client(Grant(Role.OPERATOR)))
    made.commit({"lan.yaml": LAN})
    assert ask.wrong("createVM") == "there is no pool 'farm'"

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    made.commit({"pool.yaml": yaml.safe_dump(POOL)})
    monkeypatch.setattr(type(made.store), "members", broken)
    assert "secret" not in ask.wrong("createVM")


def test_slash_or_not_get_or_post_with_a_form_all_the_same(old, ticks, ask):
    one = ask.fine("createVM")
    client = ask.client
    for path in ("/getVM", "/getVM/", "/server/getVM"):
        assert client.simulate_get(path, params={"vm_id": str(one["vm_id"])}).json["data"] == one
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"vm_id={one['vm_id']}&ip={one['ip']}"
    assert client.simulate_post("/getVM/", body=body, headers=form).json["data"] == one
    assert client.simulate_post("/deleteVM/", body=body, headers=form).json["data"]["status"] == "deleted"


def test_a_callback_is_nothing_here(old):
    answer = old.admin.simulate_get("/getVM/", params={"jsonp_callback": "f"})
    assert answer.headers["content-type"] == "application/json"
    assert old.admin.simulate_get("/nothing").status_code == 404
