"""What the tests share: this folder on the import path (`support`), and one lab for a whole run.

Pytest puts the folder of a conftest.py on `sys.path`, which is all that `from support import …` needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lab-dir",
        type=Path,
        default=None,
        help="Use the lab in this folder and leave it standing: the next run need not build it.",
    )
