"""The plan as text, against golden files in tests/cases/plan/view/.

To write them anew, and then read the difference:
    python tests/unit/planner/test_plan_view.py --regenerate
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from planner_world import World, desired_state
from test_planner_scenarios import run

from reconciler.cli.plan_view import escape, plan_json, plan_lines, plan_schema, summary
from reconciler.model.placement import Decision
from reconciler.model.plan import PLAN_JSON, PLAN_VERSION, Blocked, Change, FieldChange, Impact, Plan, Verb

CASES = Path(__file__).parents[2] / "cases" / "plan"
DOCS = Path(__file__).parents[3] / "docs" / "plan-format.md"


def from_case(file: str, case: str) -> Callable[[], Plan]:
    def plan() -> Plan:
        cases = {c["case"]: c for c in yaml.safe_load((CASES / f"{file}.yaml").read_text())}
        return run(cases[case])[1]

    return plan


def everything() -> Plan:
    """All verbs and a host that does not answer, in one plan."""
    world = World()
    for name in ("lab1", "lab2", "lab3"):
        world.add_host(name)
    images = {"debian": {}, "fedora": {}}
    world.settle(
        desired_state(
            {
                "db": {"image": "debian", "placement": {"host": "lab2"}},
                "gone": {"rootDisk": {"size": "1Gi"}},
                "same": {},
                "web": {"memory": "128Mi", "description": "old", "cpus": 1},
                "unseen": {"placement": {"host": "lab3"}},
            },
            images=images,
        )
    )
    world.domain("lab1/web").config = replace(
        world.domain("lab1/web").config, description="{{ evil }}\x1b[31m\u202e"
    )
    world.hosts["lab3"].down = "connection refused"
    desired = desired_state(
        {
            "db": {"image": "fedora", "updatePolicy": "Replace"},
            "new": {"image": "debian", "autostart": True, "interfaces": [{"network": "default"}]},
            "huge": {"memory": "1Ti"},
            "same": {},
            "unseen": {"placement": {"host": "lab3"}},
            "web": {"memory": "64Mi", "description": "new", "cpus": 2, "interfaces": [{"bridge": "br0"}]},
        },
        images=images,
        revision="1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c",
    )
    return world.plan(desired)[1]


GOLDEN: dict[str, Callable[[], Plan]] = {
    "everything": everything,
    "nothing": from_case("create", "what is as it shall be stays"),
    "waiting": from_case("update", "what waits for a restart keeps waiting, quietly"),
    "drift": from_case("drift", "bus, format and path of a root disk, which drift never replaces"),
    "reported": from_case("drift", "size; what somebody grew is only shown, whatever the policy"),
    "room": from_case("create", "a creation that waits for the room of a machine that leaves"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    expected = (CASES / "view" / f"{name}.txt").read_text()
    assert "\n".join(plan_lines(GOLDEN[name]())) + "\n" == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_a_plan_that_was_saved_looks_the_same(name: str) -> None:
    plan = GOLDEN[name]()
    assert plan_lines(PLAN_JSON.validate_json(plan_json(plan))) == plan_lines(plan)


def test_colours_only_when_told_and_never_from_a_host() -> None:
    plan = everything()
    assert not any("\x1b" in line or "\u202e" in line for line in plan_lines(plan))
    coloured = plan_lines(plan, color=True)
    assert any("\x1b[32m" in line for line in coloured)
    assert not any("\x1b[31m\u202e" in line for line in coloured)
    assert escape("a\tb\x1b[0m\u202eé") == "a\\tb\\x1b[0m\\u202eé"


def test_only_machines_are_told_to_restart() -> None:
    field = FieldChange("dhcp", before=False, after=True, impact=Impact.RESTART)
    network = Change("Network/lan@h1", "u", "h1", Verb.UPDATE, Impact.NONE, "it is used", deferred=(field,))
    machine = replace(network, vm="web")
    shown = "\n".join(plan_lines(Plan("r", (network,), ())))
    assert "[waits until no machine uses it]" in shown
    assert "updatePolicy" not in shown
    assert "[needs restart: set updatePolicy: Restart" in "\n".join(plan_lines(Plan("r", (machine,), ())))


def test_the_summary_counts() -> None:
    plan = everything()
    assert summary(plan) == (
        "Plan: 1 to create, 1 to change (1 needs restart, waiting), 1 to replace, 1 to delete, 1 unchanged."
        " 2 blocked."
    )
    assert summary(Plan("r", (), (), unchanged=7)) == "No changes: 7 unchanged."
    blocked = (Blocked("a", "SameHost", "no"), Blocked("b", "SameHost", "no"))
    assert summary(Plan("r", (), (), blocked)) == "Nothing can be done: 0 unchanged, 2 blocked."
    look = GOLDEN["reported"]().changes
    assert summary(Plan("r", look, (), unchanged=7)) == "No changes: 7 unchanged, 1 to look at."
    both = replace(plan, changes=(*plan.changes, *look))
    assert "1 to change (1 needs restart, waiting)" in summary(both)
    assert "1 unchanged, 1 to look at. 2 blocked." in summary(both)


@pytest.mark.parametrize(
    ("rejected", "shown"),
    [
        ({"memory": 2}, ["h1 lacks memory (1Gi free)", "h2 lacks memory (2Gi free)"]),
        ({"memory": 20, "cpus": 1}, ["1 host: cpus", "20 hosts: memory"]),
    ],
)
def test_a_machine_without_a_place_is_told_what_few_hosts_lack(
    rejected: dict[str, int], shown: list[str]
) -> None:
    reasons = {"h2": "lacks memory (2Gi free)", "h1": "lacks memory (1Gi free)"}
    decision = Decision("a", None, rejected=rejected, reasons=reasons)
    lines = plan_lines(Plan("r", (), (), (Blocked("a", "NoHostFits", "no host fits", decision=decision),)))
    assert [line.strip() for line in lines[2 : 2 + len(shown)]] == shown
    assert lines[2 + len(shown)] == ""


def test_a_paused_machine_waits_for_no_restart() -> None:
    lines = from_case("drift", "paused is shown and not continued")
    text = "\n".join(plan_lines(lines()))
    assert "state: paused -> running (drift) [continue it: virsh resume]" in text
    assert text.endswith("No changes: 0 unchanged, 1 to look at.")


def test_the_documentation_names_every_field_kind_and_impact_of_the_format() -> None:
    schema, text = plan_schema(), DOCS.read_text()
    assert f"version {PLAN_VERSION}" in text
    for definition in [schema, *schema["$defs"].values()]:
        for name, field in definition.get("properties", {}).items():
            if "const" in field and name == "kind":
                assert f"`{field['const']}`" in text, field["const"]
            assert f"`{name}`" in text, f"{definition.get('title')}.{name}"
    for impact in Impact:
        assert f"`{impact}`" in text


def test_json_of_a_plan_fits_its_schema_at_the_top() -> None:
    schema = plan_schema()
    data: dict[str, Any] = json.loads(plan_json(everything()))
    assert data.keys() == schema["properties"].keys()
    assert data["version"] == PLAN_VERSION


if __name__ == "__main__" and "--regenerate" in sys.argv:
    for each, make in GOLDEN.items():
        (CASES / "view").mkdir(exist_ok=True)
        (CASES / "view" / f"{each}.txt").write_text("\n".join(plan_lines(make())) + "\n")
