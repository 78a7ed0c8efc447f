"""Whoever reads our output may have seen enough: that is no failure."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", ["schema", "--help"])
def test_a_reader_that_goes_away_ends_a_command_quietly(words: str) -> None:
    command = [sys.executable, "-m", "reconciler.cli.main", *words.split()]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()  # before it has begun to write
    said = running.stderr.read().decode()
    assert (running.wait(), said) == (0, "")
