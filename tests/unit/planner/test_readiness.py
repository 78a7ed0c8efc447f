"""When a machine counts as ready: what is asked, what is remembered, what people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import World, desired_state
from pydantic import ValidationError

from reconciler.model.guest import Provision, Readiness
from reconciler.model.readiness import GuestAnswer, GuestCheck, GuestRecord, Guests, ProvisionRecord
from reconciler.planner import conditions, survey
from reconciler.planner.readiness import followed, guest_checks, is_ready, playbook_digest, readiness_verdict

CHECK = GuestCheck("a", "u1", "h1", 7, agent=False, address=False, tcp_port=22, timeout=60)
RECORD = GuestRecord("u1", "a", 7, "tcp:22", since=100.0)
READY = replace(RECORD, ready=130.0)


def test_a_first_look_is_remembered_as_the_start() -> None:
    assert followed({"a": CHECK}, {}, {}, 100.0) == {"a": RECORD}
    assert followed({"a": CHECK}, {"u1": RECORD}, {}, 150.0) == {"a": RECORD}


def test_ready_once_is_ready_until_it_is_started_anew() -> None:
    done = followed({"a": CHECK}, {"u1": RECORD}, {"a": GuestAnswer(CHECK, "")}, 130.0)["a"]
    assert done == READY
    assert is_ready(CHECK, done)
    still = followed({"a": CHECK}, {"u1": done}, {"a": GuestAnswer(CHECK, "tcp port 22")}, 200.0)["a"]
    assert still is done
    again = replace(CHECK, run=8)
    assert not is_ready(again, done)
    assert followed({"a": again}, {"u1": done}, {}, 300.0)["a"] == replace(RECORD, run=8, since=300.0)


def test_another_wish_is_asked_anew_but_the_clock_runs_on() -> None:
    other = replace(CHECK, tcp_port=80)
    found = followed({"a": other}, {"u1": READY}, {"a": GuestAnswer(CHECK, "")}, 200.0)["a"]
    assert found == replace(RECORD, asked="tcp:80")


def test_what_it_waits_for_and_for_how_long() -> None:
    wish = Readiness(tcp_port=22, timeout=60)
    waiting = replace(RECORD, waits_for="tcp port 22 of 10.0.0.1")
    assert readiness_verdict(wish, waiting, 159.0)[1:] == (
        "Waiting",
        "waits for tcp port 22 of 10.0.0.1; a warning follows after 1m",
    )
    status, reason, message = readiness_verdict(wish, waiting, 160.0)
    assert (str(status), reason) == ("False", "ReadinessTimeout")
    assert message == "after 1m it still waits for tcp port 22 of 10.0.0.1"
    assert readiness_verdict(wish, READY, 999.0)[1] == "Ready"


def world(spec: dict[str, object]) -> tuple[World, object]:
    made, wish = World(), desired_state({"a": spec})
    made.add_host("lab1")
    made.settle(wish)
    return made, wish


def ready_of(spec: dict[str, object], guests: Guests | None = None) -> dict[str, str]:
    made, wish = world(spec)
    seen, plan = made.plan(wish)  # type: ignore[arg-type]
    said = conditions(seen, plan, now=200.0, guests=guests)["a"]
    return {one.type: f"{one.status} {one.reason}" for one in said}


def test_only_running_machines_that_ask_are_looked_at() -> None:
    for spec, asked in (
        ({}, {}),
        ({"readiness": {"address": True}, "runStrategy": "Halted"}, {}),
        ({"readiness": {"address": True}}, {"a": "address"}),
        ({"provision": {"playbook": "x.yml"}}, {"a": "tcp:22"}),
    ):
        made, wish = world(spec)
        for domain in made.hosts["lab1"].domains.values():
            domain.state_reason = "booted"
        situation = made.situation(wish)  # type: ignore[arg-type]
        fleet = {
            name: replace(
                host,
                domains={
                    uid: replace(domain, run=3 if domain.live else None)
                    for uid, domain in host.domains.items()
                },
            )
            for name, host in situation.fleet.items()
        }
        checks = guest_checks(survey(replace(situation, fleet=fleet)))
        assert {name: check.asked for name, check in checks.items()} == asked


def test_the_condition_says_so() -> None:
    wish: dict[str, object] = {"readiness": {"tcpPort": 22, "timeout": "1m"}}
    assert ready_of({})["Ready"] == "True Running"
    assert ready_of(wish)["Ready"] == "False Waiting"
    assert ready_of(wish, Guests({"a": READY}))["Ready"] == "True Ready"
    assert ready_of(wish, Guests({"a": RECORD}))["Ready"] == "False ReadinessTimeout"
    assert ready_of({**wish, "runStrategy": "Halted"})["Ready"].startswith("True")


def test_the_condition_of_a_playbook() -> None:
    wish: dict[str, object] = {"provision": {"playbook": "x.yml"}}
    assert "Provisioned" not in ready_of({})
    assert ready_of(wish)["Provisioned"] == "False Waiting"
    uid, digest = "00000000-0000-4000-8000-000000000001", playbook_digest("x.yml")
    for state, reason, said in (
        ("running", "Running", "Unknown Running"),
        ("done", "Done", "True Done"),
        ("failed", "Timeout", "False Timeout"),
    ):
        record = ProvisionRecord(uid, digest, "a", state, reason, "", 1.0)
        assert ready_of(wish, Guests(provisions={(uid, digest): record}))["Provisioned"] == said


def test_what_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one of"):
        Readiness()
    for path in ("/etc/x.yml", "../x.yml", "a/../../x.yml", "x.sh", "a\nb.yml"):
        with pytest.raises(ValidationError):
            Provision(playbook=path)
