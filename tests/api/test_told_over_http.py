"""What a program is told: the words of the API, not those of pydantic or of the command line."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from support.served import Served

import reconciler
from api.hints import over_http
from reconciler.desired.writes import Repository
from reconciler.errors import UsageError
from reconciler.model.access import Grant, Role
from reconciler.model.request import Act, Request, RequestOutcome, RequestState
from reconciler.requests import DAEMON
from reconciler.views.events import event_lines

TOKENS = "/api/v1/tokens"
POOL = """\
apiVersion: reconciler/v1
kind: VirtualMachinePool
metadata: {name: farm}
spec: {size: {max: 1}, lease: {timeout: 1h, max: 8h}, template: {spec: {cpus: 1, memory: 64Mi}}}
"""


def errors(answer: Any) -> dict[str, str]:
    """Sentence by path."""
    return {one["path"]: one["message"] for one in answer.json["errors"]}


# Tokens


def test_a_role_is_short_for_one_grant(site):
    made = site.admin.simulate_post(TOKENS, json={"name": "ci", "role": "operator"})
    assert made.status_code == 201
    (grant,) = made.json["grants"]
    assert grant["role"] == "operator"
    assert not any(grant.get(part) for part in ("kinds", "names", "labels"))


def test_the_scope_stands_beside_the_role_and_limits_it(site):
    scope = {"kinds": ["VirtualMachine"], "names": ["a-*"], "labels": {"team": "a"}}
    made = site.admin.simulate_post(TOKENS, json={"name": "a", "role": "viewer", **scope})
    assert made.json["grants"] == [{"role": "viewer", **scope}]
    part = site.client(Grant(Role.ADMIN, names=("a-1",)))
    assert part.simulate_post(TOKENS, json={"name": "wide", "role": "admin"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "path", "word"),
    [
        ({"name": "x"}, "grants", 'a list such as [{"role": "operator"}]'),
        ({"role": "viewer"}, "name", "the field `name` is missing"),
        ({"name": "x", "role": "viewer", "grants": [{"role": "viewer"}]}, "role", "not both"),
        ({"name": "x", "grants": [{"role": "viewer"}], "names": ["a"]}, "names", "beside role"),
        ({"name": "x", "grants": []}, "grants", "grants"),
        ({"name": "x", "grants": [{"rol": "viewer"}]}, "grants[0].rol", "did you mean `role`"),
        ({"name": "x", "role": "god"}, "role", "expected one of viewer, operator, admin"),
        (
            {"name": "x", "role": "viewer", "grant": 1},
            "grant",
            "unknown field `grant`, did you mean `grants`",
        ),
    ],
)
def test_a_wrong_token_is_refused_in_our_words(site, body, path, word):
    answer = site.admin.simulate_post(TOKENS, json=body)
    assert answer.status_code == 422
    assert word in errors(answer)[path]
    assert "Field required" not in answer.text
    assert "Extra inputs" not in answer.text


def test_a_wrong_act_is_refused_in_our_words(site):
    answer = site.admin.simulate_post("/api/v1/commands/plan", json={"act": "strat", "force": "perhaps"})
    assert answer.status_code in (400, 422)
    told = errors(answer)
    assert "did you mean `start`" in told["act"]
    assert told["vm"] == "the field `vm` is missing"
    assert told["force"].startswith("expected true or false")


# Hints


def test_hints_name_what_a_program_can_do(site):
    site.commit({"pool.yaml": POOL})
    client = site.admin
    checkout = "/api/v1/virtualmachinepools/farm/checkout"
    assert (
        client.simulate_post(checkout, json={"ttl": "9h"}).json["hint"].startswith("ask for a ttl of 8h or")
    )
    assert client.simulate_post(checkout).json["hint"] == "ask again later, or wait in line (?wait=5m)"
    unknown = client.simulate_get("/api/v1/leases/nothing")
    assert unknown.json["hint"] == "see: GET /api/v1/leases"


def test_a_command_with_a_server_is_told_of_commands(site):
    site.commit({"pool.yaml": POOL})
    answer = site.admin.simulate_get("/api/v1/leases/nothing", headers={"User-Agent": "reconciler"})
    assert answer.json["hint"] == "see: reconciler leases"


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("reconciler explain web-1", "GET /api/v1/views/explain?about=web-1"),
        (
            "it is off (reconciler start a b)",
            "it is off (PATCH /api/v1/virtualmachines/a%20b with runStrategy Always)",
        ),
        ("reconciler snapshots Volume/data", "GET /api/v1/volumes/data/snapshots"),
        (
            "mend it, see: reconciler doctor kvm1; or cut its power first",
            "mend it, see: GET /api/v1/hosts/kvm1; or cut its power first",
        ),
        ("set maintenance", "set maintenance"),
    ],
)
def test_a_command_becomes_a_path(hint, told):
    assert over_http(hint) == told


_ROOMS = ("leasing", "views", "planner", "requests.py", "operators.py", "belongings.py")


def hints() -> list[str]:
    """Every hint that is written in the rooms behind the API, with x for what is put in."""
    top = Path(reconciler.__file__).parent
    files = [
        file
        for room in _ROOMS
        for file in ([top / room] if room.endswith(".py") else (top / room).glob("*.py"))
    ]
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
                found.append(
                    "".join(str(one.value) if isinstance(one, ast.Constant) else "x" for one in parts)
                )
    return found


def test_no_hint_behind_the_api_is_forgotten():
    found = hints()
    assert len(found) > 20
    left = [
        hint for hint in map(over_http, found) if "reconciler " in hint or " --" in hint.replace("virsh", "")
    ]
    assert [hint for hint in left if not hint.startswith("virsh")] == []


# Operations


def begun(site) -> str:
    number = site.store.add_request(Request(Act.RESTART, "web-1"), "ann", site.clock())
    assert site.store.begin_request(number, site.clock())
    return f"/api/v1/operations/act-{number}"


def test_what_was_begun_by_a_daemon_that_is_gone_says_so(site):
    place = begun(site)
    told = site.admin.simulate_get(place).json
    assert told["state"] == "running"
    assert told["message"] == "the daemon that began it is gone; the next one tells what became of it"
    with site.store.hold(DAEMON):
        assert site.admin.simulate_get(place).json["message"] == "the daemon does it"


def test_what_came_of_an_act_names_paths(site):
    number = site.store.add_request(Request(Act.RESTART, "web-1"), "ann", site.clock())
    site.store.begin_request(number, site.clock())
    hint = UsageError("web-1 is desired to be off", hint="reconciler start web-1")
    outcome = RequestOutcome(RequestState.FAILED, f"{hint.message} ({hint.hint})", 64)
    site.store.end_request(number, outcome, site.clock())
    told = site.admin.simulate_get(f"/api/v1/operations/act-{number}").json
    assert "PATCH /api/v1/virtualmachines/web-1" in told["message"]


# Hosts


INVENTORY = "all:\n  hosts:\n    kvm1: {ansible_host: 10.0.0.1}\n"


def test_maintenance_that_ends_is_said_and_its_line_can_go(tmp_path):
    made = Served(tmp_path)
    made.commit("hosts.yml", INVENTORY)
    desired = Repository(made.source, tmp_path, made.services.config, None, (made.repository / "hosts.yml",))
    made = made.with_(desired=desired)
    host = "/api/v1/hosts/kvm1"
    for on in (True, False):
        assert made.client.simulate_patch(host, json={"maintenance": on}).json["maintenance"] is on
    # It holds against a group's variable, so it stays until somebody takes it out.
    assert "reconciler_maintenance: false" in made.git("show", "HEAD:hosts.yml")
    gone = made.client.simulate_patch(host, json={"variables": {"reconciler_maintenance": None}})
    assert (gone.status_code, gone.json["maintenance"]) == (200, False)
    assert "maintenance" not in made.git("show", "HEAD:hosts.yml")
    made.close()


# Events


def test_an_event_about_nothing_in_particular_has_no_stray_colon():
    def line(vm: str, host: str) -> str:
        event = {"time": "t", "warning": True, "reason": "R", "vm": vm, "host": host, "message": "so it is"}
        [said] = event_lines([event])
        return said.removeprefix("t  Warning  R").lstrip()

    assert line("", "") == "so it is"
    assert line("", "kvm1") == "kvm1: so it is"
    assert line("web-1", "kvm1") == "web-1 on kvm1: so it is"
