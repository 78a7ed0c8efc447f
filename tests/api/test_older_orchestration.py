"""The orchestration layer's calls, as its clients send them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import replace
from types import SimpleNamespace

import falcon.testing
import pytest
import yaml
from support.older_world import ALPHA, IMAGES, TYPES, get, make, old, ticks  # noqa: F401

from api.app import create_app
from api.older import orchestration
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.access import Grant, Role


def test_they_are_not_there_unless_they_are_switched_on(site):
    assert site.admin.simulate_get("/vm/types").status_code == 404
    assert site.admin.simulate_get("/whatever").status_code == 404
    assert "/vm/create" not in site.admin.simulate_get("/openapi.json").json["paths"]


# -- machines ---------------------------------------------------------------------------------------------


def test_a_machine_from_its_making_to_its_end(old, ticks, get):
    number = make(get)
    assert get("/vm/query", vmid=number) == {"vmid": number, "name": "web", "instance_type": 3, "pmid": ALPHA}
    (host,) = [pmid for pmid in get("/pm/list")["pmids"] if number in get("/pm/listvms", pmid=pmid)["vmids"]]
    assert host == ALPHA
    manifest = yaml.safe_load(old.git("show", "main:api/virtualmachines/web.yaml"))
    assert manifest["spec"] == {
        "instanceType": "type-3",
        "image": "Ubuntu12.04amd64",
        "deletionPolicy": "Delete",
    }
    assert old.git("log", "-1", "--format=%an: %s") == "ann: Create VirtualMachine web"
    assert get("/vm/destroy", vmid=number) == {"status": 1}
    assert "web" not in old.services.desired.read().machines
    assert get("/vm/query", vmid=number) == {"vmid": 0, "name": None, "instance_type": 0, "pmid": 0}
    assert get("/vm/destroy", vmid=number) == {"status": 0}


@pytest.mark.slow
def test_who_gets_a_name_next_gets_another_number(old, ticks, get):
    first = make(get)
    assert get("/vm/destroy", vmid=first) == {"status": 1}
    assert make(get) > first


def test_also_when_that_happened_in_git_between_two_calls(old, ticks, get):
    first = make(get)
    file = old.repository / "api/virtualmachines/web.yaml"
    old.git("checkout", "--quiet", "--force", "main")
    text = file.read_text()
    file.unlink()
    old.commit({}, "gone")
    ticks.tick()
    old.commit({"api/virtualmachines/web.yaml": text}, "again")
    ticks.tick()
    assert get("/vm/query", vmid=first)["vmid"] == 0
    (second,) = get("/pm/listvms", pmid=ALPHA)["vmids"]
    assert second > first
    assert get("/vm/query", vmid=second)["name"] == "web"


def test_a_number_is_none_that_a_lost_store_could_have_given(old, ticks, get):
    """Seconds since 2026, so that a store which is made anew begins above all that a client may remember."""
    before = int(old.clock()) - 1_767_225_600
    assert before <= make(get) <= before + 60


NONSENSE = [
    {},
    {"name": "web"},
    {"name": "", "instance_type": "3", "image_id": "100"},
    {"name": "web", "instance_type": "44", "image_id": "100"},
    {"name": "web", "instance_type": "3", "image_id": "444"},
    {"name": "web", "instance_type": "type-3", "image_id": "Ubuntu12.04amd64"},
    {"name": "web", "instance_type": "3; drop", "image_id": "100"},
    {"name": "web", "instance_type": "-3", "image_id": "100"},
    {"name": "web", "instance_type": "9" * 400, "image_id": "100"},
    {"name": "../../etc", "instance_type": "3", "image_id": "100"},
    {"name": "a\r\nb", "instance_type": "3", "image_id": "100"},
    {"name": "\xed\xb2\x80x", "instance_type": "3", "image_id": "100"},
    {"name": "x" * 64, "instance_type": "3", "image_id": "100"},
    {"name": "{{ 7*7 }}\x00", "instance_type": "3", "image_id": "100"},
]


def test_nonsense_makes_nothing_and_is_answered_with_zero(old, get):
    for given in NONSENSE:
        head = old.git("rev-parse", "main")
        assert get("/vm/create", **given) == {"vmid": 0}
        assert old.git("rev-parse", "main") == head


@pytest.mark.slow
def test_a_name_that_is_taken_is_refused(old, ticks, get):
    make(get)
    assert get("/vm/create", name="web", instance_type=3, image_id=100) == {"vmid": 0}
    assert "web" in old.services.desired.read().machines


@pytest.mark.parametrize("how", ["refused", "terminal"])
def test_what_cannot_be_made_is_taken_back(old, ticks, get, how):
    if how == "refused":
        ticks.refused["web"] = "NoHostFits"
    else:
        ticks.terminal.add("web")
    assert get("/vm/create", name="web", instance_type=3, image_id=100) == {"vmid": 0}
    assert "web" not in old.services.desired.read().machines
    assert "could not be made" in old.git("log", "-1", "--format=%B")


@pytest.mark.slow
def test_without_a_daemon_the_call_ends_and_nothing_is_left(make_site):
    made = make_site(older_apis={"orchestration": True, "timeout": "1s"})
    made.commit({"types.yaml": TYPES, "images.yaml": IMAGES})
    made.store.set_statuses("Host", {"alpha": "{}"})
    answer = made.admin.simulate_get("/vm/create?name=web&instance_type=3&image_id=100")
    assert (answer.status_code, answer.json) == (200, {"vmid": 0})
    assert not made.services.desired.read().machines


@pytest.mark.slow
def test_what_somebody_changed_meanwhile_is_not_taken_back(make_site):
    made = make_site(older_apis={"orchestration": True, "timeout": "2s"})
    made.commit({"types.yaml": TYPES, "images.yaml": IMAGES})

    def edit() -> None:
        file = "api/virtualmachines/web.yaml"
        while "web" not in made.services.desired.read().machines:
            pass
        made.git("checkout", "--quiet", "--force", "main")
        made.commit({file: (made.repository / file).read_text().replace("Delete", "Retain")})

    person = threading.Thread(target=edit)
    person.start()
    answer = made.admin.simulate_get("/vm/create?name=web&instance_type=3&image_id=100")
    person.join()
    assert answer.json == {"vmid": 0}
    assert "web" in made.services.desired.read().machines


@pytest.mark.slow
def test_a_protected_machine_stays_and_keeps_its_volumes(old, ticks, get):
    number, disk = make(get), get("/volume/create", name="data", size=1)["volumeid"]
    assert get("/volume/attach", vmid=number, volumeid=disk) == {"status": 1}
    old.git("checkout", "--quiet", "--force", "main")
    file = old.repository / "api/virtualmachines/web.yaml"
    old.commit({"api/virtualmachines/web.yaml": file.read_text() + "  protect: true\n"})
    assert get("/vm/destroy", vmid=number) == {"status": 0}
    assert get("/volume/query", volumeid=disk)["vmid"] == number


@pytest.mark.slow
def test_one_that_is_protected_while_it_is_asked_for_stays(old, ticks, get, monkeypatch):
    number, ask = make(get), old.store.ask_deletion

    def protect_first(*args: object) -> None:
        old.git("checkout", "--quiet", "--force", "main")
        file = old.repository / "api/virtualmachines/web.yaml"
        old.commit({"api/virtualmachines/web.yaml": file.read_text() + "  protect: true\n"})
        ask(*args)

    monkeypatch.setattr(old.services.store, "ask_deletion", protect_first)
    assert get("/vm/destroy", vmid=number) == {"status": 0}
    assert "protect: true" in old.git("show", "main:api/virtualmachines/web.yaml")
    assert old.store.deletions() == {}


# -- volumes ----------------------------------------------------------------------------------------------


def test_a_volume_from_its_making_to_its_end(old, ticks, get):
    number, disk = make(get), get("/volume/create", name="my data", size=10)["volumeid"]
    free = {"volumeid": disk, "name": "my data", "size": 10, "status": "available"}
    assert get("/volume/query", volumeid=disk) == free
    assert get("/volume/attach", vmid=number, volumeid=disk) == {"status": 1}
    assert get("/volume/query", volumeid=disk) == {**free, "status": "attached", "vmid": number}
    assert get("/volume/destroy", volumeid=disk) == {"status": 0}
    assert get("/volume/attach", vmid=make(get, "two"), volumeid=disk) == {"status": 0}
    assert get("/volume/detach", volumeid=disk) == {"status": 1}
    assert get("/volume/detach", volumeid=disk) == {"status": 0}
    assert get("/volume/query", volumeid=disk) == free
    assert get("/volume/destroy", volumeid=disk) == {"status": 1}
    assert get("/volume/query", volumeid=disk) == {"error": f"volumeid: {disk} does not exist"}
    assert get("/volume/create", name="my data", size=10)["volumeid"] > disk


@pytest.mark.slow
def test_the_volumes_of_a_machine_that_is_destroyed_are_detached_and_kept(old, ticks, get):
    number = make(get)
    disks = [get("/volume/create", name=name, size=1)["volumeid"] for name in ("a", "b")]
    for disk in disks:
        assert get("/volume/attach", vmid=number, volumeid=disk) == {"status": 1}
    assert get("/vm/destroy", vmid=number) == {"status": 1}
    assert [get("/volume/query", volumeid=disk)["status"] for disk in disks] == ["available"] * 2


@pytest.mark.slow
def test_a_machine_that_would_have_to_restart_does_not_get_the_volume(old, ticks, get):
    number, disk = make(get), get("/volume/create", name="data", size=1)["volumeid"]
    ticks.cold.add("web")
    assert get("/volume/attach", vmid=number, volumeid=disk) == {"status": 0}
    assert get("/volume/query", volumeid=disk)["status"] == "available"


@pytest.mark.slow
def test_a_volume_that_no_tick_accepts_is_taken_back(old, ticks, get):
    ticks.refused["Volume/data"] = "PoolMissing"
    assert get("/volume/create", name="data", size=1) == {"volumeid": 0}
    assert "data" not in old.services.desired.read().volumes


SIZES = ["", "0", "-1", "1.5", "ten", "9" * 17]


def test_a_volume_has_a_size_of_whole_gib(old, get):
    for size in SIZES:
        assert get("/volume/create", name="data", size=size) == {"volumeid": 0}


@pytest.mark.slow
def test_two_who_attach_a_volume_at_once_do_not_both_get_it(old, ticks, get):
    one, two = make(get, "one"), make(get, "two")
    disk = get("/volume/create", name="data", size=1)["volumeid"]
    headers = {"Authorization": f"Bearer {old.token(Grant(Role.OPERATOR))}"}

    async def both() -> list[int]:
        async with falcon.testing.ASGIConductor(old.app, headers=headers) as client:
            paths = [f"/volume/attach?vmid={number}&volumeid={disk}" for number in (one, two)]
            answers = await asyncio.gather(*(client.simulate_get(path) for path in paths))
        return [answer.json["status"] for answer in answers]

    assert sorted(asyncio.run(both())) == [0, 1]
    assert get("/volume/query", volumeid=disk)["vmid"] in (one, two)


# -- hosts, images, types ---------------------------------------------------------------------------------


def test_what_was_imported_keeps_its_number_and_the_rest_gets_the_next_one(old, ticks, get):
    ticks.tick()
    assert get("/vm/types") == {
        "types": [
            {"tid": 3, "cpu": 2, "ram": 512, "disk": 1},
            {"tid": 4, "cpu": 1, "ram": 96, "disk": 0},
        ]
    }
    images = [{"id": 100, "name": "Ubuntu12.04amd64"}, {"id": 101, "name": "other"}]
    assert get("/image/list") == {"images": images}
    assert get("/pm/list") == {"pmids": [2, 7, ALPHA]}
    assert get("/pm/query", pmid=2) == {
        "pmid": 2,
        "capacity": {"cpu": 8, "ram": 4096, "disk": 100},
        "free": {"cpu": 6, "ram": 3072, "disk": 99},
        "vms": 0,
    }


PMIDS = ["", "0", "9", "-1", "two", "1e3", "²"]


def test_a_host_that_nobody_knows_is_a_plain_zero(old, ticks, get):
    for pmid in PMIDS:
        ticks.tick()
        assert get("/pm/query", pmid=pmid) == 0
        assert get("/pm/listvms", pmid=pmid) == 0


# -- paths and parameters ---------------------------------------------------------------------------------


def test_the_same_paths_answer_under_server_and_with_a_slash_at_their_end(old, get):
    for path in ("/vm/types", "/vm/types/", "/server/vm/types", "/server/vm/types/"):
        assert len(get(path)["types"]) == 2


ELSE = ["/vm", "/vm/", "/vm/drop", "/server", "/server/x/y", "/volume/", "/anything", "/a/b/c", "/"]


def test_everything_else_is_zero(get):
    for path in ELSE:
        assert get(path) == 0


def test_the_other_interface_still_says_what_it_does_not_know(old):
    answer = old.admin.simulate_get("/api/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_parameters_that_nobody_knows_are_ignored_and_the_first_of_several_counts(get):
    assert len(get("/vm/types", _="1700000000")["types"]) == 2
    assert get("/pm/query?pmid=99&pmid=1") == 0


def test_parameters_come_in_a_form_too(old):
    answer = old.admin.simulate_post(
        "/volume/query", body="volumeid=12", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.json == {"error": "volumeid: 12 does not exist"}


def test_a_refused_desired_state_is_no_traceback_and_hides_nothing_that_was_known(old, get, caplog):
    wrong = {"wrong.yaml": "kind: Nonsense\n"}
    types = get("/vm/types")
    old.commit(wrong)
    assert get("/vm/types") == types

    def refused() -> None:
        raise DesiredStateError([Problem("wrong.yaml", 1, 1, "", "nonsense")])

    never_right = replace(old.services, desired=SimpleNamespace(read=refused))
    fresh = falcon.testing.TestClient(
        create_app(never_right), headers={"Authorization": f"Bearer {old.token(Grant(Role.OPERATOR))}"}
    )
    assert fresh.simulate_get("/vm/types").json == 0
    made = {"name": "web", "instance_type": "3", "image_id": "100"}
    assert fresh.simulate_get("/vm/create", params=made).json == {"vmid": 0}
    assert "/vm/types" in caplog.text


def test_a_mistake_of_ours_is_a_failure_and_not_a_500(old, get, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(type(old.store), "statuses", broken)
    assert get("/pm/list") == 0
    assert get("/vm/query", vmid=5) == {"vmid": 0, "name": None, "instance_type": 0, "pmid": 0}
    assert get("/vm/destroy", vmid=5) == {"status": 0}


# -- JSONP ------------------------------------------------------------------------------------------------


CALLBACKS = ["f", "jQuery1910_13", "_", "$", "angular.callbacks._0", "A" * 128]


def test_an_answer_can_be_a_call_of_the_page(old):
    for name in CALLBACKS:
        client = old.client(Grant(Role.VIEWER))
        answer = client.simulate_get("/vm/types", params={"jsonp_callback": name})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/javascript"
        assert answer.headers["x-content-type-options"] == "nosniff"
        found = re.fullmatch(r"/\*\*/([\w$.]+)\((.*)\)", answer.text)
        assert found is not None
        assert (found[1], len(json.loads(found[2])["types"])) == (name, 2)


REFUSED = [
    *(
        "",
        "1a",
        "a-b",
        "a b",
        "a;b",
        "alert(1)",
        "<script>alert(1)</script>",
        "a//",
        "a.",
        ".a",
        "a..b",
        "a[0]",
    ),
    *("a\n", "é", "eval", "window.eval", "function", "a\u2028", "A" * 129, "\x00"),
]


def test_a_callback_that_is_no_identifier_is_refused_before_anything_is_done(old, ticks):
    for name in REFUSED:
        client = old.client(Grant(Role.OPERATOR))
        head = old.git("rev-parse", "main")
        given = {"name": "web", "instance_type": "3", "image_id": "100", "jsonp_callback": name}
        answer = client.simulate_get("/vm/create", params=given)
        assert (answer.status_code, answer.json) == (400, {"vmid": 0})
        assert answer.headers["content-type"] == "application/json"
        assert old.git("rev-parse", "main") == head


def test_every_call_can_be_wrapped(old):
    client = old.client(Grant(Role.OPERATOR))
    for call in orchestration.calls(old.services):
        answer = client.simulate_get(call.path, params={"jsonp_callback": "f", "size": "0"})
        assert answer.text.startswith("/**/f("), call.path


def test_no_name_of_an_object_is_a_tag_in_the_script(old):
    old.commit({"more.yaml": IMAGES.replace("Ubuntu12.04amd64", "<script>&").replace("other", "new")})
    old.git("rm", "--quiet", "images.yaml")
    old.commit({}, "renamed")
    answer = old.admin.simulate_get("/image/list", params={"jsonp_callback": "f"})
    assert not set("<>&") & set(answer.text)
    assert json.loads(answer.text[6:-1])["images"][0]["name"] == "<script>&"
