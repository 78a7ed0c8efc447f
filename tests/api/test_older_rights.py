"""The orchestration layer's calls stand behind the same doors as everything else."""

from __future__ import annotations

import base64

from support.older_world import get, make, old, ticks  # noqa: F401 - pytest finds fixtures by their names

from api.older import orchestration
from reconciler.model.access import Grant, Role


def test_nobody_and_a_viewer_are_refused_in_the_words_of_the_call(old, get):
    nobody = old.client().simulate_get("/vm/create?name=web&instance_type=3&image_id=100")
    assert (nobody.status_code, nobody.json) == (401, {"vmid": 0})
    assert "Basic" in nobody.headers["www-authenticate"]
    viewer = old.client(Grant(Role.VIEWER))
    assert viewer.simulate_get("/vm/types").status_code == 200
    for call in orchestration.calls(old.services):
        refused = viewer.simulate_get(call.path).status_code == 403
        assert refused == (call.role is Role.OPERATOR), call.path


def test_a_browser_can_use_http_basic(old):
    token = base64.b64encode(f"ann:{old.token(Grant(Role.VIEWER), name='ann')}".encode()).decode()
    answer = old.client(Authorization=f"Basic {token}").simulate_get("/vm/types")
    assert answer.status_code == 200


def test_a_page_of_another_site_can_neither_act_nor_read(old):
    token = base64.b64encode(f"ann:{old.token(Grant(Role.ADMIN), name='ann')}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Sec-Fetch-Site": "cross-site"}
    client = old.client(**headers)
    assert client.simulate_get("/vm/destroy?vmid=1").status_code == 403
    assert client.simulate_get("/vm/types?jsonp_callback=f").status_code == 403


def test_a_caller_sees_and_changes_only_what_is_theirs(old, ticks, get):
    mine, other = make(get, "mine-1"), make(get, "other")
    client = old.client(Grant(Role.OPERATOR, kinds=("VirtualMachine",), names=("mine-*",)))
    ask = client.simulate_get
    assert ask(f"/vm/query?vmid={other}").json["vmid"] == 0
    assert ask(f"/vm/query?vmid={mine}").json["name"] == "mine-1"
    assert ask(f"/vm/destroy?vmid={other}").json == {"status": 0}
    assert ask("/vm/create?name=theirs&instance_type=3&image_id=100").json == {"vmid": 0}
    assert ask("/vm/types").json == {"types": []}
    assert ask("/pm/list").json == {"pmids": []}
    assert ask(f"/vm/destroy?vmid={mine}").json == {"status": 1}


def test_what_was_done_is_in_the_audit_record(old, ticks, get):
    make(get)
    (record,) = [one for one in old.store.audit() if one.path.startswith("/vm/create")]
    assert (record.who, record.action, record.status) == ("ann", "olderVmCreate", 200)


def test_the_document_has_every_call_with_its_true_answers(old):
    paths = old.client().simulate_get("/openapi.json").json["paths"]
    for call in orchestration.calls(old.services):
        described = paths[call.path]["get"]
        assert set(described["responses"]) == {"200", "400", "401", "403", "429"}
        names = {one["name"] for one in described["parameters"]}
        assert names == {*call.query, "jsonp_callback"}
