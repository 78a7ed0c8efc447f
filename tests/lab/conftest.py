"""One lab of three hosts that every scenario shares, wiped before each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.world import World

from reconciler.lab import Lab
from reconciler.lab.guests import Guests, build_guests


@pytest.fixture(scope="session")
def shared_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three hosts. What cannot come up fails the tests that ask for it: a lab test never skips."""
    standing: Path | None = request.config.getoption("--lab-dir")
    lab = Lab(standing or tmp_path_factory.mktemp("scenarios") / "lab")
    try:
        lab.up(3)
        yield lab
    finally:
        if standing is None:
            lab.down(purge=True)


@pytest.fixture(scope="session")
def small_guests(request: pytest.FixtureRequest) -> Guests:
    """The small guests; pytest's cache folder keeps them from one run to the next."""
    return build_guests(request.config.cache.mkdir("lab-guests"))  # type: ignore[union-attr]


@pytest.fixture
def world(shared_lab: Lab, small_guests: Guests) -> World:
    """The lab, mended and empty."""
    made = World(shared_lab, small_guests)
    made.wipe()
    return made
