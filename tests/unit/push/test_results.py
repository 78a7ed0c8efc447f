"""Exactly one result for each action, whatever Ansible does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.operations import Start
from reconciler.model.plan import Action, ActionResult, Impact, Outcome
from reconciler.push.results import Results, Trouble

DIED = Trouble("AnsibleFailed", "it died")


def action(key: str, *after: str, host: str = "h1") -> Action:
    return Action(key, host, "vm", "uid", Start(), Impact.NONE, "", after)


def ended(key: str, outcome: str = "changed") -> dict[str, Any]:
    line = {"message": "m", "reason": "", "terminal": False, "seconds": 0.5}
    return {"event": "ended", "id": key, "outcome": outcome, **line}


def began(key: str) -> dict[str, Any]:
    return {"event": "began", "id": key}


def collect(actions: Iterable[Action]) -> tuple[Results, list[ActionResult | str]]:
    told: list[ActionResult | str] = []
    return Results(actions, told.append), told


def test_a_host_that_was_lost_in_the_middle() -> None:
    actions = [action("a"), action("b", "a"), action("c", "b"), action("d")]
    results, _ = collect(actions)
    results.take([began("a"), ended("a"), began("b")])
    results.settle(actions, DIED)
    found = [(result.outcome, result.reason) for result in results.all()]
    assert found == [
        (Outcome.CHANGED, ""),
        (Outcome.FAILED, "Interrupted"),
        (Outcome.SKIPPED, "AnsibleFailed"),
        (Outcome.FAILED, "AnsibleFailed"),
    ]


def test_a_run_that_was_stopped_on_purpose_failed_nothing() -> None:
    actions = [action("a"), action("b", "a")]
    results, _ = collect(actions)
    results.settle(actions, Trouble("Cancelled", "stopped", failed=False))
    assert {result.outcome for result in results.all()} == {Outcome.SKIPPED}


def test_what_waits_for_a_failure_on_another_host_is_not_begun() -> None:
    actions = [action("a"), action("b", "a", host="h2"), action("c", "b", host="h2")]
    results, _ = collect(actions)
    results.take([ended("a", "failed")])
    assert results.outstanding(actions) == []
    assert [result.reason for result in results.all()[1:]] == ["DependencyFailed"] * 2


def test_what_takes_long_is_announced() -> None:
    results, told = collect([action("stop")])
    results.take([began("stop"), {"event": "says", "host": "h1", "message": "stop web-1"}, ended("stop")])
    assert told[0] == "h1: stop web-1"


def test_lines_about_others_are_passed_over() -> None:
    results, told = collect([action("a")])
    results.take([ended("of-another-run")])
    assert told == []


@given(st.data())
def test_one_result_each_and_each_told_once(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    actions = [
        action(
            str(at),
            *(str(before) for before in data.draw(st.sets(st.integers(0, max(0, at - 1)))) if before < at),
        )
        for at in range(size)
    ]
    keys = st.sampled_from([step.id for step in actions] + ["stranger"])
    outcomes = st.sampled_from(["changed", "ok", "failed", "skipped"])
    lines = data.draw(
        st.lists(st.one_of(st.builds(began, keys), st.builds(ended, keys, outcomes)), max_size=20)
    )
    results, told = collect(actions)
    results.take(lines)
    results.outstanding(actions)
    results.settle(actions, DIED)
    ids = [step.id for step in actions]
    assert [result.id for result in results.all()] == ids
    assert sorted(entry.id for entry in told if isinstance(entry, ActionResult)) == sorted(ids)


def test_a_message_is_one_line_wherever_it_comes_from() -> None:
    actions = [action("a"), action("b", "a"), action("c")]
    results, told = collect(actions)
    results.take([{"event": "says", "host": "h1", "message": "copying\nit"}])
    results.take([ended("a", "failed") | {"message": "cannot write:\n  No space left on device\n"}])
    assert results.outstanding(actions) == [actions[2]]
    results.settle(actions, Trouble("AnsibleFailed", "ended with 1:\nERROR! x\n"))
    assert told[0] == "h1: copying it"
    assert [result.message for result in results.all()] == [
        "cannot write: No space left on device",
        "a was not done",
        "ended with 1: ERROR! x",
    ]
