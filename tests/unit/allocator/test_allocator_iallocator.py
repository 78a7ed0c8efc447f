"""Ganeti's iallocator protocol: with Ganeti's own hail, and with programs that answer rubbish."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.allocator import Allocator, make_allocator
from reconciler.allocator.iallocator import decision_of, request_json
from reconciler.allocator.simulate import GIB, fleet
from reconciler.errors import AllocatorError
from reconciler.external import run_program
from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.config import AllocatorConfig
from reconciler.model.manifest import AntiAffinity, Placement

HOSTS = fleet("3x8c32g100d")
DEMAND = Demand("m", 2, 4 * GIB, {"": 10 * GIB})


def hail(*options: str) -> Allocator:
    config = AllocatorConfig(algorithm="iallocator", command=("hail", *options))
    return make_allocator(config, run_program)


def answering(answer: Callable[[dict[str, Any]], str]) -> tuple[Allocator, list[dict[str, Any]]]:
    """An allocator with a program that is a function, and the requests that it got."""
    requests: list[dict[str, Any]] = []

    def run(command: tuple[str, ...], request: str, timeout: int) -> str:
        requests.append(json.loads(request))
        return answer(requests[-1])

    config = AllocatorConfig(algorithm="iallocator", command=("/opt/chooser", "-x"), timeout=9)
    return make_allocator(config, run), requests


def chose(*hosts: str) -> str:
    return json.dumps({"success": True, "info": "", "result": hosts})


def holding(host: HostCapacity, *tenants: Tenant) -> HostCapacity:
    return replace(host, tenants=tenants)


# -- with hail ---------------------------------------------------------------------------------------


def test_hail_places_machines_side_by_side() -> None:
    wanted = [replace(DEMAND, vm=f"m-{n}") for n in range(3)]
    decisions = hail().place(wanted, HOSTS)
    assert {decision.host for decision in decisions.values()} == {"h1", "h2", "h3"}
    assert {decision.algorithm for decision in decisions.values()} == {"iallocator"}


def test_hail_counts_tenants_foreign_ones_too() -> None:
    busy = holding(HOSTS[0], Tenant("x", 7, GIB, ours=False))
    full = holding(HOSTS[1], Tenant("x", 1, 31 * GIB, ours=False))
    assert hail().place([DEMAND], [busy, full, HOSTS[2]])["m"].host == "h3"


def test_hail_uses_the_last_byte() -> None:
    demand = Demand("m", 8, 32 * GIB, {"": 100 * GIB})
    assert hail("--no-capacity-checks").place([demand], HOSTS[:1])["m"].host == "h1"


def test_hail_finds_it_infeasible_where_our_filters_do_not() -> None:
    """Of two half-full hosts neither could restart the other's machines; hail minds, we do not."""
    hosts = [holding(host, Tenant(f"t{host.name}", 1, 24 * GIB)) for host in HOSTS[:2]]
    refused = hail().place([DEMAND], hosts)["m"]
    assert refused.host is None
    assert refused.message.startswith("hail: Request failed")
    assert "FailN1" in refused.message
    assert hail("--no-capacity-checks").place([DEMAND], hosts)["m"].host in ("h1", "h2")


def test_hail_is_not_asked_when_nothing_fits() -> None:
    refused = hail("--no-such-option").place([replace(DEMAND, cpus=9)], HOSTS)["m"]
    assert refused.rejected == {"cpus": 3}
    assert refused.message == "no host fits: 3 of 3 hosts lack cpus (need 9)"


def test_hail_chooses_only_among_hosts_that_pass_our_filters() -> None:
    hosts = [
        holding(HOSTS[0], Tenant("db-1", 1, GIB, labels={"app": "db"})),
        replace(HOSTS[1], maintenance=True),
        holding(HOSTS[2], Tenant("t", 5, 20 * GIB)),
        replace(HOSTS[0], name="h4", alive=False),
    ]
    away = Placement(anti_affinity=(AntiAffinity(selector={"app": "db"}),))
    demand = replace(DEMAND, placement=away, labels={"app": "db"})
    assert hail("--no-capacity-checks").place([demand], hosts)["m"].host == "h3"


def test_hail_makes_room_by_what_leaves() -> None:
    full = holding(HOSTS[0], Tenant("old", 8, 32 * GIB, leaving=True), Tenant("other", 0, 0))
    decision = hail("--no-capacity-checks").place([DEMAND], [full])["m"]
    assert (decision.host, decision.after) == ("h1", ("old",))


def test_hail_refuses_an_option_and_the_rest_waits() -> None:
    wanted = [DEMAND, replace(DEMAND, vm="n")]
    decisions = hail("--no-such-option").place(wanted, HOSTS)
    assert "the allocator program hail failed (exit status" in decisions["m"].message
    assert decisions["n"].message.startswith("not asked: the allocator program hail failed")


# -- with others -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "does not say whether it succeeded"),
        ('{"success": "yes", "result": ["h1"]}', "does not say whether it succeeded"),
        ('{"success": true, "result": []}', "exactly one host"),
        ('{"success": true, "result": ["h1", "h2"]}', "exactly one host"),
        ('{"success": true, "result": [1]}', "exactly one host"),
        ('{"success": true}', "exactly one host"),
    ],
)
def test_rubbish_is_told(answer: str, words: str) -> None:
    with pytest.raises(AllocatorError, match=words):
        decision_of(answer, DEMAND)
    allocator, _ = answering(lambda _: answer)
    decision = allocator.place([DEMAND], HOSTS)["m"]
    assert decision.host is None
    assert decision.message.startswith("chooser: its answer")
    assert len(decision.message) < 400


def test_older_programs_answer_with_nodes() -> None:
    assert decision_of('{"success": true, "info": "", "nodes": ["h2"]}', DEMAND).host == "h2"


def test_infeasible_is_no_failure() -> None:
    allocator, requests = answering(lambda _: '{"success": false, "info": "too warm", "result": []}')
    decisions = allocator.place([DEMAND, replace(DEMAND, vm="n")], HOSTS)
    assert decisions["m"].message == decisions["n"].message == "chooser: too warm"
    assert len(requests) == 2


@pytest.mark.parametrize("host", ["h2", "h9"])
def test_no_program_can_overfill_a_host(host: str) -> None:
    hosts = [HOSTS[0], holding(HOSTS[1], Tenant("t", 8, GIB))]
    allocator, _ = answering(lambda _: chose(host))
    decision = allocator.place([DEMAND], hosts)["m"]
    assert decision.host is None
    assert decision.message == f"chooser chose {host}, which does not fit"


def test_a_program_that_fails_is_not_asked_again() -> None:
    calls = []

    def run(command: tuple[str, ...], request: str, timeout: int) -> str:
        calls.append((command, timeout))
        raise AllocatorError("it took too long", hint="be patient")

    config = AllocatorConfig(algorithm="iallocator", command=("slow", "-x"), timeout=9)
    decisions = make_allocator(config, run).place([DEMAND, replace(DEMAND, vm="n")], HOSTS)
    assert calls == [(("slow", "-x"), 9)]
    assert decisions["m"].message == "it took too long\n  hint: be patient"
    assert decisions["n"].message.startswith("not asked: it took too long")


def test_a_pinned_machine_is_nothing_to_ask_about() -> None:
    allocator, requests = answering(lambda _: "unused")
    decision = allocator.place([replace(DEMAND, only="h2")], HOSTS)["m"]
    assert (decision.host, decision.algorithm, requests) == ("h2", "pinned", [])


def test_the_next_request_shows_what_was_placed() -> None:
    allocator, requests = answering(lambda _: chose("h1"))
    allocator.place([DEMAND, replace(DEMAND, vm="n")], HOSTS)
    before, after = (request["nodes"]["h1"] for request in requests)
    assert before["free_memory"] - after["free_memory"] == 4096
    assert before["free_disk"] - after["free_disk"] == 10240
    [instance] = requests[1]["instances"].values()
    assert (instance["nodes"], instance["vcpus"], instance["memory"]) == (["h1"], 2, 4096)


def test_hosts_that_do_not_fit_are_drained() -> None:
    nodes = json.loads(request_json(DEMAND, HOSTS, ["h2"]))["nodes"]
    assert {name: node["drained"] for name, node in nodes.items()} == {"h1": True, "h2": False, "h3": True}
    down = fleet("1x8c32g100d down; 1x8c32g100d maintenance; 1x8c32g100d")
    nodes = json.loads(request_json(DEMAND, down))["nodes"]
    assert [(node["offline"], node["drained"]) for node in nodes.values()] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_sizes_are_never_shown_smaller_than_they_are() -> None:
    demand = Demand("m", 1, GIB + 1, {"": GIB + 1})
    request = json.loads(request_json(demand, HOSTS))["request"]
    assert (request["memory"], request["disk_space_total"]) == (1025, 1025)
