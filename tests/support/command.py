"""Calls the command line inside this process, which saves a second of imports each time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.cli.main import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said and how it ended."""

    words: tuple[str, ...]
    exit: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything it printed."""
        return self.out + self.err


def call(*words: str) -> Said:
    """Run ``reconciler WORDS`` and wait for its end."""
    # With a buffer beneath, as the real ones have: some output is bytes.
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Said(tuple(words), status, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def options(words: Sequence[str]) -> list[str]:
    """A list of words as they stand in a scenario: one string with blanks, or a list."""
    return words.split() if isinstance(words, str) else [str(word) for word in words]
