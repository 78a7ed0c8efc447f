"""The allocator: which host a new machine goes to, and why. Pure and deterministic.

    company.py     machines counted by label rule and place, for anti-affinity and spread
    usage.py       how much of every host is used
    filters.py     which hosts can take a machine at all
    weighers.py    what makes one fitting host better than another
    algorithms.py  first-fit, best-fit, worst-fit, dot-product, round-robin, random, and others' own
    search.py      the hosts that fit one machine, fast
    words.py       a decision as a sentence
    place.py       all machines, one after the other
    explain.py     a decision told at length
    iallocator.py  an external program decides, through Ganeti's protocol
    simulate.py    a fleet from a string

`make_allocator` gives the one that the configuration names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.allocator.algorithms import Algorithm, find_algorithm
from reconciler.allocator.iallocator import NAME as IALLOCATOR
from reconciler.allocator.iallocator import ProgramAllocator, Run
from reconciler.allocator.place import place
from reconciler.allocator.usage import HostUsage
from reconciler.allocator.weighers import checked_factors
from reconciler.errors import AllocatorConfigError
from reconciler.model.capacity import Demand, HostCapacity
from reconciler.model.config import AllocatorConfig
from reconciler.model.placement import Decision

__all__ = ["Algorithm", "Allocator", "HostUsage", "make_allocator", "place"]


class Allocator(Protocol):
    """Chooses hosts for machines."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    def place(self, demands: Sequence[Demand], capacities: Sequence[HostCapacity]) -> Mapping[str, Decision]:
        """Decide for every machine where it goes, or why it cannot go anywhere.

        Raises:
            ValueError: A machine or a host is named twice.
        """


@dataclass(frozen=True, slots=True)
class ScoringAllocator:
    """An allocator that takes the best by an algorithm's score and the weighers."""

    algorithm: Algorithm
    factors: Mapping[str, float]

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.algorithm.name

    def place(self, demands: Sequence[Demand], capacities: Sequence[HostCapacity]) -> Mapping[str, Decision]:
        """Decide for every machine where it goes, or why it cannot go anywhere."""
        return place(demands, capacities, self.algorithm, factors=self.factors)


def make_allocator(config: AllocatorConfig, run: Run | None = None) -> Allocator:
    """The allocator that the configuration names.

    Args:
        config: Algorithm, weights, and for ``iallocator`` the command.
        run: Runs the external program; needed for ``iallocator`` only.

    Raises:
        AllocatorConfigError: An unknown algorithm or weigher, or a broken entry point.
    """
    factors = checked_factors(config.weights)
    if config.algorithm != IALLOCATOR:
        return ScoringAllocator(find_algorithm(config), factors)
    if config.weights:
        raise AllocatorConfigError("allocator.weights: with 'iallocator' the program weighs, not we")
    if run is None:
        raise AllocatorConfigError("allocator.algorithm: 'iallocator' cannot run a program here")
    return ProgramAllocator(config.command, config.timeout, run)
