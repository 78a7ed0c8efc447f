"""One lab of three hosts that every scenario shares, wiped before each.

With pytest-xdist each worker has a lab of its own; what one file builds for itself stays on one worker.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.world import World

from reconciler.lab import Lab
from reconciler.lab.debian import build_debian
from reconciler.lab.guests import Guests, build_guests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in ("test_lab_itself.py", "test_lab_services.py", "test_tls.py"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


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
    folder = request.config.cache.mkdir("lab-guests")  # type: ignore[union-attr]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_guests(folder)


@pytest.fixture(scope="session")
def debian(small_guests: Guests) -> Callable[[], Path]:
    """Builds the Debian guest beside the small ones when somebody needs it."""

    def build() -> Path:
        folder = small_guests.halt.parent
        with (folder / "debian-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return build_debian(folder)

    return build


@pytest.fixture
def world(shared_lab: Lab, small_guests: Guests, debian: Callable[[], Path]) -> World:
    """The lab, mended and empty."""
    made = World(shared_lab, small_guests, debian)
    made.wipe()
    return made
