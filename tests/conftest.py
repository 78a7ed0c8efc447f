"""What the tests share: this folder on the import path (`support`), and one lab for a whole run.

Pytest puts the folder of a conftest.py on `sys.path`, which is all that `from support import …` needs.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Where a change is judged, the same examples are tried each time; at a desk, new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lab-dir",
        type=Path,
        default=None,
        help="Use the lab in this folder and leave it standing: the next run need not build it.",
    )
