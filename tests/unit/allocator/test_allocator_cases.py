"""Runs the scenarios in tests/cases/allocator: a fleet, machines, and where they go or why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.allocator import make_allocator
from reconciler.allocator.filters import ROOM, STANDING
from reconciler.allocator.simulate import fleet
from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.config import AllocatorConfig
from reconciler.model.manifest import Placement
from reconciler.model.units import parse_size

FOLDER = Path(__file__).parents[2] / "cases" / "allocator"
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    keys = {"algorithm", "seed", "weights"} & case.keys()
    allocator = make_allocator(AllocatorConfig(**{key: case[key] for key in keys}))
    decisions = allocator.place(list(demands(case)), list(hosts(case)))
    assert decisions.keys() == case["expect"].keys()
    for vm, expected in case["expect"].items():
        check(decisions[vm], expected if isinstance(expected, dict) else {"host": expected})


def check(decision: Any, expected: dict[str, Any]) -> None:
    assert decision.host == expected.pop("host", None), decision.message
    assert decision.message
    for name, value in expected.items():
        found = getattr(decision, name)
        assert (list(found) if isinstance(value, list) else found) == value, name


def hosts(case: dict[str, Any]) -> Iterator[HostCapacity]:
    tenants = case.get("tenants", {})
    for capacity in fleet(case["fleet"]):
        yield replace(
            capacity, tenants=tuple(Tenant(**typed(each)) for each in tenants.get(capacity.name, ()))
        )


def demands(case: dict[str, Any]) -> Iterator[Demand]:
    for each in case["demands"]:
        fields = typed(each)
        times = fields.pop("times", None)
        names = [f"{fields['vm']}-{number}" for number in range(1, times + 1)] if times else [fields["vm"]]
        for name in names:
            yield Demand(**{**fields, "vm": name})


def typed(written: dict[str, Any]) -> dict[str, Any]:
    fields = {**written, "memory": parse_size(written["memory"])}
    for name in ("networks", "bridges", "not_on", "hardware"):
        if name in fields:
            fields[name] = frozenset(fields[name])
    if "disks" in fields:
        fields["disks"] = {pool: parse_size(size) for pool, size in fields["disks"].items()}
    if "placement" in fields:
        fields["placement"] = Placement.model_validate(fields["placement"])
    return fields


def test_every_reason_has_a_case() -> None:
    met = {
        reason
        for param in CASES
        for expected in param.values[0]["expect"].values()
        if isinstance(expected, dict)
        for reason in expected.get("rejected", ())
    }
    assert {each.reason for each in STANDING + ROOM} <= met
