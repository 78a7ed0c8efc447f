from __future__ import annotations

from reconciler.allocator.algorithms import Algorithm, first_fit
from reconciler.allocator.explain import explain_lines
from reconciler.allocator.place import place
from reconciler.allocator.simulate import GIB, fleet
from reconciler.model.capacity import Demand
from reconciler.model.placement import Decision

ALGORITHM = Algorithm("first-fit", first_fit, by_size=True)


def test_a_placed_machine() -> None:
    hosts = fleet("2x8c32g100d; 1x8c32g100d maintenance")
    decision = place([Demand("web-1", 1, GIB)], hosts, ALGORITHM)["web-1"]
    assert explain_lines(decision) == [
        "web-1 goes to h1: the best of 2 hosts that fit (first-fit)",
        "  h1  0.000  first-fit 0.000",
        "  h2  0.000  first-fit 0.000",
        "ruled out: 1 by maintenance",
        "  h3  is in maintenance",
    ]


def test_a_refused_machine() -> None:
    hosts = fleet("1x8c32g100d down; 2x8c32g100d")
    decision = place([Demand("web-1", 9, GIB)], hosts, ALGORITHM)["web-1"]
    assert explain_lines(decision) == [
        "web-1 has no place: no host fits: 2 of 3 hosts lack cpus (need 9), 1 does not answer",
        "ruled out: 2 by cpus, 1 by not answering",
        "  h1  cannot be used: connection refused",
        "  h2  lacks cpus (8 free, need 9)",
        "  h3  lacks cpus (8 free, need 9)",
    ]


def test_hosts_that_are_not_told_are_counted() -> None:
    decision = place([Demand("m", 9, GIB)], fleet("120x8c32g100d"), ALGORITHM)["m"]
    assert explain_lines(decision)[-1] == "  … and 20 more"


def test_a_bare_decision() -> None:
    assert explain_lines(Decision("m", None)) == ["m has no place: no host was found"]
    assert explain_lines(Decision("m", "h1")) == ["m goes to h1"]
