"""One line of the table that `scripts/bench` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two figures measured in the same run on the same machine, and what their ratio has to be.

    Attributes:
        name: What was measured, in a few words.
        ours: Our figure, usually seconds.
        reference: What it is held against, in the same unit.
        at_least: We have to be so many times better: reference / ours.
        at_most: We may cost so many times as much: ours / reference.
        note: Sizes and figures for people.
    """

    name: str
    ours: float
    reference: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The ratio, in the direction of its aim."""
        return self.reference / self.ours if self.at_least is not None else self.ours / self.reference

    @property
    def aim(self) -> str:
        """The aim as people write it."""
        if self.at_least is not None:
            return f">= {self.at_least:g}x"
        return f"<= {self.at_most:g}x" if self.at_most is not None else "-"

    @property
    def met(self) -> bool:
        """The aim is reached, or there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.at_most is None or self.value <= self.at_most
