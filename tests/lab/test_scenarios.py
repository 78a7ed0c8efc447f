"""Plays every scenario of ``tests/cases/lab`` against real hosts. `support.scenario` says how one is written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from support.scenario import Scenario, Stage, load
from support.world import World

from reconciler.model.domain import DomainConfig

CASES = sorted((Path(__file__).parents[1] / "cases/lab").glob("*.yaml"))
SCENARIOS = [load(path) for path in CASES]


@pytest.mark.lab
@pytest.mark.parametrize("scenario", [pytest.param(s, id=s.name) for s in SCENARIOS])
def test_scenario(scenario: Scenario, world: World, tmp_path: Path) -> None:
    Stage(world, tmp_path).play(scenario)
