"""A commit of a person has mistakes: everybody else goes on, from the last good desired state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from conftest import Site, git, machine, open_desired
from support.api_world import lay_out
from support.command import call

from api.app import create_app
from reconciler.cli.app import App
from reconciler.cli.serving import services
from reconciler.model.access import Grant, Role
from reconciler.model.pool import Member, MemberState

HEAD = "apiVersion: reconciler/v1\nkind: VirtualMachine\nmetadata: {name: bad, labels: {team: b}}\n"
BROKEN = {
    "yaml": "kind: [\nname: bad\n",
    "value": HEAD + "spec: {cpus: two, memory: 64Mi}\n",
    "image": HEAD + "spec: {cpus: 1, memory: 64Mi, image: nowhere}\n",
    "alias": HEAD + "spec: {cpus: *many, memory: 64Mi}\n",
}
UNREADABLE = ("yaml", "alias")
VMS = "/api/v1/virtualmachines"
GOOD = {"spec": {"cpus": 1, "memory": "64Mi"}}
POOL = {
    "apiVersion": "reconciler/v1",
    "kind": "VirtualMachinePool",
    "metadata": {"name": "farm"},
    "spec": {"size": {"max": 2}, "template": {"spec": {"cpus": 1, "memory": "64Mi"}}},
}


def again(site: Site) -> Site:
    """The same installation behind a process that starts now."""
    desired = open_desired(site.repository, site.config)
    found = replace(site.services, desired=desired)
    return replace(site, services=found, app=create_app(found))


def begin(site: Site, kind: str, *, started: str) -> Site:
    """An installation that somebody breaks: while its process runs, or before it starts."""
    site.commit(
        {
            "web.yaml": yaml.safe_dump(machine("web", {"team": "a"})),
            "db.yaml": yaml.safe_dump(machine("db")),
            "pool.yaml": yaml.safe_dump(POOL),
        }
    )
    site.store.add_members([Member("farm", 1, MemberState.AVAILABLE, site.store.lease_time())])
    if started == "before":
        assert site.admin.simulate_get(VMS).status_code == 200
    site.commit({"bad.yaml": BROKEN[kind]})
    return site if started == "before" else again(site)


FAST = {("yaml", "before"), ("value", "after"), ("image", "before"), ("alias", "after")}


@pytest.fixture(
    params=[
        pytest.param((kind, started), marks=() if (kind, started) in FAST else pytest.mark.slow)
        for kind in BROKEN
        for started in ("before", "after")
    ],
    ids="-".join,
)
def case(request: Any) -> tuple[str, str]:
    return request.param


@pytest.fixture
def kind(case: tuple[str, str]) -> str:
    return case[0]


@pytest.fixture
def broken(site: Site, case: tuple[str, str]) -> Site:
    return begin(site, case[0], started=case[1])


def test_everybody_reads_on_and_is_told(broken):
    admin = broken.admin
    for path in (VMS, f"{VMS}/web", "/api/v1/operations", "/api/v1/virtualmachinepools/farm"):
        answer = admin.simulate_get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["reconciler-desired-state"] == "refused"
    assert [one["metadata"]["name"] for one in admin.simulate_get(VMS).json["items"]] == [
        "db",
        "farm-1",
        "web",
    ]
    found = admin.simulate_get("/api/v1/views/validation")
    assert "bad.yaml" in found.text
    # A load balancer keeps the process.
    answer = broken.client().simulate_get("/readyz")
    check = next(one for one in answer.json["checks"] if one["name"] == "desired-state")
    assert (answer.status_code, check["ok"], check["needed"]) == (200, False, False)
    assert "bad" not in check["message"].split()  # anybody may ask this


def test_everybody_writes_on(broken):
    admin = broken.admin
    assert admin.simulate_post(VMS, json=machine("new")).status_code == 201
    assert admin.simulate_patch(f"{VMS}/new", json={"spec": {"cpus": 2}}).status_code == 200
    assert admin.simulate_patch(f"{VMS}/web", json={"spec": {"cpus": 2}}).status_code == 200
    put = admin.simulate_put(f"{VMS}/web", json={"spec": {"cpus": 3, "memory": "64Mi"}})
    assert (put.status_code, put.json["spec"]["cpus"]) == (200, 3)
    same = admin.simulate_patch(
        f"{VMS}/web", json={"spec": {"cpus": 4}}, headers={"If-Match": put.headers["etag"]}
    )
    assert same.status_code == 200, same.text
    assert admin.simulate_delete(f"{VMS}/db").status_code == 204
    assert admin.simulate_delete(f"{VMS}/db").status_code == 404
    assert admin.simulate_delete(f"{VMS}/new").status_code == 204
    (broken.repository / "bad.yaml").unlink(missing_ok=True)
    broken.git("reset", "--quiet", "--hard")
    broken.git("rm", "--quiet", "bad.yaml")
    broken.git("commit", "--quiet", "--message", "mended")
    answer = admin.simulate_get(VMS)
    assert "reconciler-desired-state" not in answer.headers
    assert [one["metadata"]["name"] for one in answer.json["items"]] == ["farm-1", "web"]
    assert admin.simulate_get(f"{VMS}/web").json["spec"]["cpus"] == 4


def test_acts_and_leases_go_on(broken):
    admin = broken.admin
    asked = admin.simulate_post(f"{VMS}/web/restart")
    assert asked.status_code == 202, asked.text
    assert admin.simulate_get(asked.headers["location"]).status_code == 200
    taken = admin.simulate_post("/api/v1/virtualmachinepools/farm/checkout", json={})
    assert (taken.status_code, taken.json["vm"]) == (201, "farm-1")


def test_what_is_broken_is_mended_and_removed(broken, kind):
    admin = broken.admin
    if kind in UNREADABLE:  # nobody knows what else stands there
        for answer in (admin.simulate_put(f"{VMS}/bad", json=GOOD), admin.simulate_delete(f"{VMS}/bad")):
            assert answer.status_code == 409, answer.text
            assert "bad.yaml" in answer.text
        return
    assert admin.simulate_put(f"{VMS}/bad", json=GOOD).status_code == 200
    assert admin.simulate_get("/readyz").json["checks"][1]["ok"]
    assert admin.simulate_get(f"{VMS}/bad").json["spec"] == GOOD["spec"]
    broken.git("reset", "--quiet", "--hard")
    broken.commit({"bad.yaml": BROKEN[kind]})
    assert admin.simulate_delete(f"{VMS}/bad").status_code == 204
    assert admin.simulate_get("/readyz").json["checks"][1]["ok"]


def test_a_plan_of_a_change_says_what_is_in_its_way(site):
    broken = begin(site, "value", started="before")
    answer = broken.admin.simulate_put(f"{VMS}/new", json=GOOD, params={"dryRun": "true"})
    assert answer.status_code == 422
    assert "the change itself can be made" in answer.json["hint"]


@pytest.mark.parametrize("started", ["before", "after"])
@pytest.mark.parametrize("spoiled", ["value", "image"])
def test_labels_hold_as_they_stand_in_the_file(site, spoiled, started):
    made = begin(site, spoiled, started=started)
    ours = made.client(Grant(Role.OPERATOR, labels={"team": "a"}))
    theirs = made.client(Grant(Role.OPERATOR, labels={"team": "b"}))
    mend = {"metadata": {"labels": {"team": "a"}}, **GOOD}
    assert ours.simulate_delete(f"{VMS}/bad").status_code in (403, 404)
    assert ours.simulate_put(f"{VMS}/bad", json=mend).status_code in (403, 404)
    assert theirs.simulate_delete(f"{VMS}/web").status_code in (403, 404)
    assert theirs.simulate_delete(f"{VMS}/bad").status_code == 204


@pytest.mark.parametrize("labels", ["nonsense", "[team, a]", "{team: 1}"])
def test_whose_labels_nobody_knows_is_left_to_who_may_do_everything(site, labels):
    made = begin(site, "value", started="before")
    made.commit({"bad.yaml": BROKEN["value"].replace("{team: b}", labels)})
    for reach in ({"labels": {"team": "a"}}, {"names": ("b*",)}):
        assert made.client(Grant(Role.OPERATOR, **reach)).simulate_delete(f"{VMS}/bad").status_code in (
            403,
            404,
        )
    assert made.admin.simulate_delete(f"{VMS}/bad").status_code == 204


def test_a_label_that_was_taken_away_in_git_counts(site):
    made = begin(site, "value", started="before")
    made.commit({"web.yaml": yaml.safe_dump(machine("web", {"team": "b"}))})
    ours = made.client(Grant(Role.OPERATOR, labels={"team": "a"}))
    assert ours.simulate_patch(f"{VMS}/web", json={"spec": {"cpus": 2}}).status_code in (403, 404)


def test_where_nothing_was_ever_right_there_is_nothing_to_go_on_from(site):
    (site.repository / "small.yaml").write_text("kind: [\n")
    site.git("commit", "--quiet", "--all", "--amend", "--message", "begin")
    assert site.admin.simulate_get(VMS).status_code == 422
    assert site.client().simulate_get("/readyz").status_code == 503


@pytest.mark.parametrize("kind", BROKEN)
def test_older_apis_go_on(make_site, kind):
    made = make_site(older_apis={"orchestration": True})
    made.commit(
        {
            "types.yaml": "apiVersion: reconciler/v1\nkind: InstanceType\n"
            'metadata: {name: t3, annotations: {seed/tid: "3"}}\nspec: {cpus: 2, memory: 512Mi}\n'
        }
    )
    before = made.admin.simulate_get("/vm/types").json
    made.commit({"bad.yaml": BROKEN[kind]})
    assert again(made).admin.simulate_get("/vm/types").json == before
    assert before["types"]


def test_plans_are_made_of_the_last_good_one_and_say_so(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "source" / "bad.yaml").write_text(BROKEN["value"])
    git(tmp_path / "source", "add", "--all")
    git(tmp_path / "source", "commit", "--quiet", "--message", "bad")
    app = App(tmp_path / "reconciler.yaml")
    with services(app) as made:
        plan = made.planner.plan()
    app.store.close()
    assert plan.notes[0].startswith("a newer desired state is refused")
    assert "bad.yaml:4" in plan.notes[0]


def test_the_command_lends_on(site):
    made = begin(site, "value", started="before")
    place = ["--source", f"{made.repository}@main", "--state-dir", str(made.repository.parent / "state")]
    said = call("checkout", "farm", *place)
    assert (said.exit, said.out.split()[0]) == (0, "farm-1"), said.err
