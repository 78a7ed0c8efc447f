"""Plays every scenario of ``tests/cases/lab`` on real hosts. `support.scenario` says how to write one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from support.scenario import Scenario, Stage, load
from support.world import World

from reconciler.model.domain import DiskConfig, DomainConfig, InterfaceConfig

CASES = sorted((Path(__file__).parents[1] / "cases/lab").glob("*.yaml"))
SCENARIOS = [load(path) for path in CASES]


NOT_SEEN = {
    "uuid": "it is the machine's identity; a domain with another one is another domain",
    "template": "no XML tells what came from a template",
    "disks.name": "it is only ours",
    "disks.volume": "it is only ours",
    "disks.size": "libvirt's XML does not tell; a disk that somebody grew is not made smaller anyway",
    "interfaces.name": "it is only ours",
}
"""Fields that cannot drift, and why."""


@pytest.mark.lab
@pytest.mark.parametrize("scenario", [pytest.param(s, id=s.name) for s in SCENARIOS])
def test_scenario(scenario: Scenario, world: World, tmp_path: Path) -> None:
    Stage(world, tmp_path).play(scenario)


def test_every_modelled_field_drifts_in_some_scenario() -> None:
    modelled = {field.name for field in fields(DomainConfig)} | {"state"}
    modelled |= {f"disks.{field.name}" for field in fields(DiskConfig)}
    modelled |= {f"interfaces.{field.name}" for field in fields(InterfaceConfig)}
    drifting = {name for scenario in SCENARIOS for name in scenario.drifts}
    assert drifting == modelled - NOT_SEEN.keys()


def test_titles_are_told_apart() -> None:
    titles = [scenario.title for scenario in SCENARIOS]
    assert len(set(titles)) == len(titles)
