"""Grants with a scope: nothing that a caller is allowed to ask shows or changes what is outside of it."""

import json
from types import SimpleNamespace

import pytest
from conftest import machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.access import Caller, Grant, Role
from reconciler.model.plan import Action, Plan
from reconciler.model.request import Act, Request
from reconciler.model.status import Event
from reconciler.model.write import Change, Write

VMS = "/api/v1/virtualmachines"
BY_NAME = Grant(Role.OPERATOR, names=("web-*",))
BY_LABEL = Grant(Role.OPERATOR, labels={"team": "a"})
VIEWER, OPERATOR, ADMIN = (Grant(role) for role in Role)
MINE, OTHERS = {"team": "a"}, {"team": "b", "marker": "HIDDEN"}


def volume(name, labels=None, **spec):
    made = machine(name, labels)
    return {**made, "kind": "Volume", "spec": {"size": "1Gi", **spec}}


@pytest.fixture
def site(make_site):
    made = make_site()
    everything = [
        machine("web-1", MINE),
        machine("web-2", MINE),
        machine("db-1", OTHERS, description="HIDDEN"),
        volume("web-data", MINE),
        volume("db-data", OTHERS),
    ]
    made.commit({"all.yaml": "---\n".join(json.dumps(one) + "\n" for one in everything)})
    return made


@pytest.fixture(params=["name", "label"])
def scoped(request, site):
    return site.client(BY_NAME if request.param == "name" else BY_LABEL, name="web")


def put(client, name, labels=None, **spec):
    return client.simulate_put(f"{VMS}/{name}", json=machine(name, labels, **spec)).status_code


# Roles


def test_a_viewer_reads_and_changes_nothing(site):
    client, head = site.client(VIEWER), site.git("rev-parse", "HEAD")
    assert client.simulate_get(f"{VMS}/db-1").status_code == 200
    assert put(client, "web-9") == 403
    assert client.simulate_post(VMS, json=machine("web-9")).status_code == 403
    assert client.simulate_patch(f"{VMS}/web-1", json={"spec": {"cpus": 2}}).status_code == 403
    assert client.simulate_delete(f"{VMS}/web-1").status_code == 403
    assert client.simulate_post(f"{VMS}/web-1/start").status_code == 403
    assert client.simulate_post("/api/v1/apply").status_code == 403
    assert client.simulate_get("/api/v1/audit").status_code == 403
    assert site.git("rev-parse", "HEAD") == head
    assert site.store.open_requests() == ()


def test_an_operator_is_no_admin(site):
    client = site.client(OPERATOR)
    assert client.simulate_get("/api/v1/tokens").status_code == 403
    assert client.simulate_get("/api/v1/audit").status_code == 403
    assert client.simulate_post("/api/v1/hosts/kvm1/declare-dead").status_code == 403


# Scopes


def test_lists_show_what_is_within(scoped):
    assert [one["metadata"]["name"] for one in scoped.simulate_get(VMS).json["items"]] == ["web-1", "web-2"]
    for more in ({"limit": "1"}, {"labelSelector": "team=b"}, {"fields": "metadata.labels"}):
        assert "HIDDEN" not in scoped.simulate_get(VMS, params=more).text


def test_what_is_outside_is_not_there(site, scoped):
    head = site.git("rev-parse", "HEAD")
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"spec": {"cpus": 2}}),
        ("DELETE", "", None),
        ("POST", "/start", None),
        ("POST", "/snapshots", {}),
        ("POST", "/snapshots/x/restore", None),
        ("DELETE", "/snapshots/x", None),
        ("POST", "/checkin", None),
    ):
        seen = scoped.simulate_request(method, f"{VMS}/db-1{path}", json=body)
        none = scoped.simulate_request(method, f"{VMS}/none{path}", json=body)
        assert seen.status_code == none.status_code == 404, path
        assert seen.json["detail"].replace("db-1", "none") == none.json["detail"]
    assert site.git("rev-parse", "HEAD") == head
    assert site.store.open_requests() == ()


def test_what_is_within_can_be_changed(scoped):
    assert scoped.simulate_patch(f"{VMS}/web-1", json={"spec": {"cpus": 2}}).status_code == 200
    assert put(scoped, "web-3", MINE) == 201
    assert scoped.simulate_post(f"{VMS}/web-1/start").status_code == 202
    assert scoped.simulate_delete(f"{VMS}/web-2").status_code == 204


def test_labels_lead_nothing_in_or_out(site):
    client = site.client(BY_LABEL)
    assert client.simulate_patch(f"{VMS}/web-1", json={"metadata": {"labels": None}}).status_code == 403
    assert (
        client.simulate_patch(f"{VMS}/web-1", json={"metadata": {"labels": {"team": "b"}}}).status_code == 403
    )
    assert put(client, "web-1", {"team": "b"}) == 403
    assert put(client, "web-1") == 403
    assert put(client, "db-1", MINE) == 404
    assert client.simulate_post(VMS, json=machine("db-1", MINE)).status_code == 404
    assert put(client, "new", {"team": "b"}) == 403
    assert put(client, "new") == 403
    assert site.services.desired.read().machines["web-1"].metadata.labels == MINE


def test_who_may_both_moves_things_between(site):
    client = site.client(BY_LABEL, Grant(Role.OPERATOR, labels={"team": "b"}))
    assert put(client, "web-1", {"team": "b"}) == 200


def test_seeing_is_not_changing(site):
    client = site.client(BY_NAME, VIEWER)
    assert client.simulate_get(f"{VMS}/db-1").status_code == 200
    assert put(client, "db-1") == 403
    assert client.simulate_delete(f"{VMS}/db-1").status_code == 403
    assert client.simulate_post(f"{VMS}/db-1/stop").status_code == 403


def test_a_name_in_a_body_is_not_another_one(site, scoped):
    body = machine("db-1", MINE)
    assert scoped.simulate_put(f"{VMS}/web-1", json=body).status_code in (400, 403, 422)
    assert scoped.simulate_patch(f"{VMS}/web-1", json={"metadata": {"name": "db-1"}}).status_code in (
        400,
        403,
        409,
        422,
    )
    body = {**machine("web-1", MINE), "kind": "Volume", "spec": {"size": "1Gi"}}
    assert scoped.simulate_put(f"{VMS}/web-1", json=body).status_code in (400, 422)
    assert sorted(site.services.desired.read().machines) == ["db-1", "web-1", "web-2"]


@pytest.mark.parametrize("match", [{}, {"If-Match": "*"}])
def test_a_label_that_goes_meanwhile_takes_the_right_with_it(site, match, monkeypatch):
    """Between the look and the write somebody takes the machine away."""
    client = site.client(BY_LABEL)
    write = site.services.desired.write

    def late(wish):
        monkeypatch.undo()
        site.services.desired.write(
            Write("VirtualMachine/web-1", Change.MERGE, {"metadata": {"labels": OTHERS}}, "a <a@b>", "x")
        )
        return write(wish)

    monkeypatch.setattr(site.services.desired, "write", late)
    answer = client.simulate_patch(f"{VMS}/web-1", json={"spec": {"cpus": 4}}, headers=match)
    assert answer.status_code in (404, 412)
    assert site.services.desired.read().machines["web-1"].spec.cpus == 1


# What a manifest reaches

FAR = [
    {"disks": [{"name": "x", "volume": "db-data"}]},
    {"disks": [{"name": "x", "path": "/var/lib/libvirt/images/db-1.qcow2"}]},
    {"rootDisk": {"path": "/var/lib/libvirt/images/db-1.qcow2"}},
    {"root_disk": {"path": "/dev/sda"}},
    {"cloneOf": "db-1"},
    {"clone_of": "db-1"},
    {"cdroms": [{"name": "cd", "path": "/etc/shadow"}]},
    {"filesystems": [{"tag": "root", "source": "/"}]},
    {"hostDevices": [{"pci": "0000:01:00.0"}], "placement": {"host": "kvm1"}},
    {"cloudInit": {"userData": {"password": {"secretRef": {"env": "RECONCILER_SECRET_DB"}}}}},
    {"cloudInit": {"userDataFrom": {"file": "db"}}},
    {"xmlTemplate": "templates/any.xml"},
    {"provision": {"playbook": "wipe.yml"}},
    {"interfaces": [{"bridge": "br0"}]},
    {"tpm": {"device": "/dev/tpm0"}},
]


def test_a_manifest_reaches_no_further_than_its_writer(site, scoped):
    head = site.git("rev-parse", "HEAD")
    for spec in FAR:
        assert put(scoped, "web-9", MINE, **spec) == 403, spec
        assert scoped.simulate_patch(f"{VMS}/web-1", json={"spec": spec}).status_code == 403, spec
    assert site.git("rev-parse", "HEAD") == head


def test_pools_reach_no_further_either(site, scoped):
    spec = {"size": {"max": 1}, "template": {"spec": {"cpus": 1, "memory": "64Mi", "cloneOf": "db-1"}}}
    body = {**machine("web-pool", MINE), "kind": "VirtualMachinePool", "spec": spec}
    assert scoped.simulate_post("/api/v1/virtualmachinepools", json=body).status_code == 403


def test_a_volume_is_plugged_into_machines_of_its_writer_only(site, scoped):
    place = "/api/v1/volumes/web-data"
    for spec in ({"attachTo": {"machine": "db-1"}}, {"attach_to": {"machine": "db-1"}}):
        assert scoped.simulate_patch(place, json={"spec": spec}).status_code == 403
    for source in ({"volume": "db-data"},):
        body = volume("web-copy", MINE, source=source)
        assert scoped.simulate_post("/api/v1/volumes", json=body).status_code == 403
    assert scoped.simulate_patch(place, json={"spec": {"attachTo": {"machine": "web-1"}}}).status_code == 200


def test_a_volume_is_not_pulled_out_of_a_machine_of_others(site, scoped):
    attached = {"spec": {"attachTo": {"machine": "db-1"}}}
    assert site.admin.simulate_patch("/api/v1/volumes/web-data", json=attached).status_code == 200
    free = {"spec": {"attachTo": None}}
    assert scoped.simulate_patch("/api/v1/volumes/web-data", json=free).status_code == 403
    assert scoped.simulate_delete("/api/v1/volumes/web-data").status_code == 403
    assert (
        scoped.simulate_patch("/api/v1/volumes/web-data", json={"spec": {"size": "2Gi"}}).status_code == 200
    )


def test_what_somebody_else_wrote_into_it_may_stay(site, scoped):
    far = {"spec": {"disks": [{"name": "x", "path": "/srv/x.img"}]}}
    assert site.admin.simulate_patch(f"{VMS}/web-1", json=far).status_code == 200
    assert scoped.simulate_patch(f"{VMS}/web-1", json={"spec": {"cpus": 2}}).status_code == 200


def test_paths_within_a_guest_are_its_own(site, scoped):
    files = {"userData": {"write_files": [{"path": "/etc/motd", "content": "hi"}]}}
    assert put(scoped, "web-9", MINE, cloudInit=files) == 201


# What is told besides


def _happened(site):
    site.store.add_events(
        [
            Event(1.0, "Started", "HIDDEN started", vm="db-1", host="h1"),
            Event(2.0, "Started", "web-1 started", vm="web-1", host="h1"),
            Event(3.0, "HostDown", "HIDDEN is down", host="h1"),
            Event(4.0, "Refused", "HIDDEN source"),
            Event(5.0, "Created", "HIDDEN volume", vm="Volume/db-data"),
            Event(6.0, "Created", "a volume that was HIDDEN", vm="Volume/gone"),
        ]
    )
    site.store.add_request(Request(Act.START, "db-1"), "HIDDEN", 1.0)
    site.store.add_operation("apply", "", "HIDDEN", "{}", 1.0)


def test_events_and_operations_are_shown_of_what_is_within(site, scoped):
    _happened(site)
    events = scoped.simulate_get("/api/v1/events")
    assert [one["vm"] for one in events.json["items"]] == ["web-1"]
    assert scoped.simulate_post(f"{VMS}/web-1/start").status_code == 202
    told = scoped.simulate_get("/api/v1/operations")
    assert [one["subject"] for one in told.json["items"]] == ["VirtualMachine/web-1"]
    for number in ("act-1", "apply-1"):
        assert scoped.simulate_get(f"/api/v1/operations/{number}").status_code == 404
        assert scoped.simulate_delete(f"/api/v1/operations/{number}").status_code == 404
    assert "HIDDEN" not in events.text + told.text


def test_a_plan_is_shown_as_far_as_it_is_within(site, scoped):
    mine, other = (
        Action(f"{vm}/start", "h1", vm, vm, SimpleNamespace(), "live", "HIDDEN" if vm == "db-1" else "x")
        for vm in ("web-1", "db-1")
    )
    plan = Plan("r", (), (other, Action(**{**_fields(mine), "after": (other.id,)})), (), 2, ("HIDDEN",))
    from api.resources.plans import _visible  # noqa: PLC0415
    from api.views import Views  # noqa: PLC0415

    caller = Caller("web", grants=(BY_NAME,))
    shown = _visible(plan, caller, Views(site.services.desired, site.store))
    assert [action.vm for action in shown.actions] == ["web-1"]
    assert shown.actions[0].after == ()
    assert shown.notes == ()


def _fields(action):
    return {
        name: getattr(action, name) for name in ("id", "host", "vm", "uid", "operation", "impact", "reason")
    }


def test_what_is_about_everything_is_for_those_who_reach_it(site, scoped):
    assert scoped.simulate_post("/api/v1/apply").status_code == 403
    assert scoped.simulate_get("/api/v1/audit").status_code == 403
    for view in ("hosts", "pools", "volumes", "networks", "disks", "inventory", "adoption", "validation"):
        assert scoped.simulate_get(f"/api/v1/views/{view}").status_code == 403
    for command, body in (
        ("adopt", {"about": "h1/db-1"}),
        ("forget", {"about": "db-1"}),
        ("discard", {"about": "h1/default/db-data"}),
        ("retry", {"all": True}),
    ):
        assert scoped.simulate_post(f"/api/v1/commands/{command}", json=body).status_code == 403
    assert scoped.simulate_post("/api/v1/commands/retry", json={"machines": ["db-1"]}).status_code == 404
    assert site.store.open_requests() == ()


def test_an_admin_of_a_part_reads_no_audit_record(site):
    client = site.client(Grant(Role.ADMIN, names=("*",), kinds=("VirtualMachine",)))
    assert client.simulate_get("/api/v1/audit").status_code == 403


# Any sequence

NAMES = st.sampled_from(["web-1", "web-2", "web-9", "db-1", "db-9"])
LABELS = st.sampled_from([None, {}, MINE, {"team": "b"}, {**MINE, "x": "y"}])
SPECS = st.sampled_from([{"cpus": 2, "memory": "1Gi"}, *({"cpus": 1, "memory": "1Gi", **one} for one in FAR)])
MACHINES = st.builds(lambda name, labels, spec: machine(name, labels, **spec), NAMES, LABELS, SPECS)
LISTS = ("volumes", "events", "operations", "leases", "virtualmachinepools")
CALLS = st.one_of(
    st.tuples(
        st.just("GET"), st.sampled_from([VMS, "/api/v1/volumes", "/api/v1/events", "/api/v1/operations"])
    ),
    st.tuples(st.just("POST"), st.just(VMS), MACHINES),
    st.tuples(st.sampled_from(["GET", "DELETE"]), NAMES.map(lambda name: f"{VMS}/{name}")),
    st.tuples(st.just("PUT"), NAMES.map(lambda name: f"{VMS}/{name}"), MACHINES),
    st.tuples(
        st.just("PATCH"),
        NAMES.map(lambda name: f"{VMS}/{name}"),
        st.builds(lambda labels, spec: {"metadata": {"labels": labels}, "spec": spec}, LABELS, SPECS),
    ),
    st.tuples(
        st.just("POST"),
        st.builds(lambda name, act: f"{VMS}/{name}/{act}", NAMES, st.sampled_from(["start", "stop"])),
    ),
)


def _outside(site, grant):
    """Everything that the grant does not reach, as it is."""
    state = site.services.desired.read()
    objects = [*state.machines.values(), *state.volumes.values()]
    return {
        f"{one.kind}/{one.name}": one
        for one in objects
        if not Caller("x", grants=(grant,)).may(
            Role.OPERATOR, SimpleNamespace(kind=one.kind, name=one.name, labels=one.metadata.labels)
        )
    }


def _no_way_out(site, grant, calls):
    _happened(site)
    client = site.client(grant)
    before = _outside(site, grant)
    for method, path, *body in calls:
        answer = client.simulate_request(method, path, **({"json": body[0]} if body else {}))
        assert answer.status_code < 500, answer.text
        assert "HIDDEN" not in answer.text
        assert "HIDDEN" not in str(answer.headers)
        assert _outside(site, grant) == before
    asked = {one.request.vm for one in site.store.open_requests() if one.by != "HIDDEN"}
    assert not asked & {key.partition("/")[2] for key in before}


_ANY = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@pytest.mark.parametrize("grant", [BY_NAME, BY_LABEL], ids=["name", "label"])
def test_no_sequence_of_calls_leads_out(site, grant):
    @settings(max_examples=4, **_ANY)
    @given(st.lists(CALLS, min_size=3, max_size=6))
    def check(calls):
        _no_way_out(site, grant, calls)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("grant", [BY_NAME, BY_LABEL], ids=["name", "label"])
def test_no_long_sequence_of_calls_leads_out(site, grant):
    @settings(max_examples=150, **_ANY)
    @given(st.lists(CALLS, min_size=5, max_size=15))
    def check(calls):
        _no_way_out(site, grant, calls)

    check()
