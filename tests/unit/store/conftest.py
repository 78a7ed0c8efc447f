from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.store.sql import SqlStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def open_again(folder: Path) -> Iterator[Callable[[], SqlStore]]:
    """Opens the same store once more, as another process would see it."""
    opened: list[SqlStore] = []

    def opener() -> SqlStore:
        opened.append(SqlStore(folder))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: Callable[[], SqlStore]) -> SqlStore:
    return open_again()
