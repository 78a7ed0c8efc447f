from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reconciler.allocator import make_allocator
from reconciler.allocator.algorithms import BUILT_IN, Algorithm, find_algorithm
from reconciler.allocator.place import place
from reconciler.allocator.simulate import GIB, fleet
from reconciler.errors import AllocatorConfigError, AllocatorError
from reconciler.model.capacity import Demand
from reconciler.model.config import AllocatorConfig


def config(**fields: object) -> AllocatorConfig:
    return AllocatorConfig.model_validate(fields)


def demands(count: int) -> list[Demand]:
    return [Demand(f"m-{number}", 1, GIB) for number in range(count)]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_decision_adds_up(name: str) -> None:
    allocator = make_allocator(config(algorithm=name, weights={"free-memory": 0.5}))
    assert allocator.name == name
    decisions = allocator.place(demands(3), fleet("5x8c32g100d"))
    for decision in decisions.values():
        candidates = [decision.chosen, *decision.runners_up]
        assert len(candidates) == 4
        assert decision.algorithm == name
        assert [c.score for c in candidates if c] == sorted((c.score for c in candidates if c), reverse=True)
        for candidate in candidates:
            assert candidate is not None
            assert set(candidate.parts) == {name, "free-memory"}
            assert sum(candidate.parts.values()) == pytest.approx(candidate.score)
            assert 0 <= candidate.parts[name] <= 1


def test_another_seed_throws_other_dice() -> None:
    def hosts(seed: int) -> list[str | None]:
        decisions = make_allocator(config(algorithm="random", seed=seed)).place(
            demands(40), fleet("9x64c99g9d")
        )
        return [decision.host for decision in decisions.values()]

    assert hosts(1) == hosts(1)
    assert hosts(1) != hosts(2)
    assert len(set(hosts(1))) > 5


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(AllocatorConfigError) as error:
        make_allocator(config(algorithm="bestfit"))
    assert "'bestfit'" in str(error.value)
    assert "best-fit" in error.value.hint
    with pytest.raises(ValueError, match="free-ram") as refused:
        make_allocator(config(weights={"free-ram": 1}))
    assert "free-memory" in str(refused.value)
    with pytest.raises(AllocatorConfigError, match="finite"):
        make_allocator(config(weights={"free-cpu": float("nan")}))


def test_iallocator_takes_no_weights_and_needs_a_runner() -> None:
    with pytest.raises(AllocatorConfigError, match="the program weighs"):
        make_allocator(config(algorithm="iallocator", command=["hail"], weights={"free-cpu": 1}))
    with pytest.raises(AllocatorConfigError, match="cannot run a program"):
        make_allocator(config(algorithm="iallocator", command=["hail"]))


PLUGIN = """
from reconciler.allocator import Algorithm

def last(config):
    return Algorithm("last", lambda demand, host: int(host.name[1:]) / 100)

def wrong(config):
    return 42
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's package, as pip would lay it down."""
    (tmp_path / "stranger.py").write_text(PLUGIN)
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[reconciler.algorithms]\n"
        "last = stranger:last\nwrong = stranger:wrong\ngone = stranger:gone\nno-module = nowhere:x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)


@pytest.mark.usefixtures("plugin")
def test_a_third_party_adds_an_algorithm() -> None:
    allocator = make_allocator(config(algorithm="last"))
    assert allocator.place(demands(1), fleet("5x8c32g100d"))["m-0"].host == "h5"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "words"), [("gone", "AttributeError"), ("no-module", "ModuleNotFound"), ("wrong", "gave a int")]
)
def test_a_broken_entry_point_is_a_clear_error(name: str, words: str) -> None:
    with pytest.raises(AllocatorConfigError, match=words) as error:
        find_algorithm(config(algorithm=name))
    assert f"'{name}'" in str(error.value)


@pytest.mark.usefixtures("plugin")
def test_the_third_partys_names_are_listed_too() -> None:
    with pytest.raises(AllocatorConfigError, match="last"):
        find_algorithm(config(algorithm="lst"))


@pytest.mark.parametrize("by_size", [True, False])
def test_a_score_that_is_no_number_is_told(by_size: bool) -> None:
    broken = Algorithm("broken", lambda *_: float("nan"), by_size=by_size)
    with pytest.raises(AllocatorError, match="'broken' gave m-0 on h1 the score nan"):
        place(demands(1), fleet("1x8c32g100d"), broken)


def test_an_algorithm_that_looks_at_names_is_asked_for_each_machine() -> None:
    def by_name(demand: Demand, host: object) -> float:
        return float(getattr(host, "name", "") == f"h{demand.vm[-1]}")

    decisions = place(demands(4), fleet("4x8c32g100d"), Algorithm("by-name", by_name))
    assert {vm: decision.host for vm, decision in decisions.items()} == {
        "m-0": "h1",
        "m-1": "h1",
        "m-2": "h2",
        "m-3": "h3",
    }
