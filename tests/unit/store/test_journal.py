from __future__ import annotations

from collections.abc import Callable

from reconciler.model.plan import ActionResult, Outcome
from reconciler.store.base import Tick
from reconciler.store.sql import SqlStore

DONE = ActionResult("web-1/start", "alpha", "web-1", Outcome.CHANGED, "running", seconds=1.5)
FAILED = ActionResult(
    "web-2/define",
    "beta",
    "web-2",
    Outcome.FAILED,
    "the name is taken",
    "NameTaken",
    terminal=True,
    detail={"uuid": "x", "sizes": [1, 2]},
)


def test_a_restart_learns_what_was_in_flight(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    store.begin_run("run-1", '{"version": 1}', 100.0)
    store.finish_action("run-1", DONE, FAILED)
    (run,) = open_again().unfinished_runs()
    assert (run.id, run.started, run.plan) == ("run-1", 100.0, '{"version": 1}')
    assert run.results == {DONE.id: DONE, FAILED.id: FAILED}


def test_the_last_word_on_an_action_counts(store: SqlStore) -> None:
    store.begin_run("run-1", "{}", 100.0)
    early = ActionResult(DONE.id, "alpha", "web-1", Outcome.FAILED)
    store.finish_action("run-1", early)
    store.finish_action("run-1", early, DONE)
    assert store.unfinished_runs()[0].results == {DONE.id: DONE}


def test_a_finished_run_leaves_nothing(store: SqlStore) -> None:
    store.begin_run("late", "{}", 200.0)
    store.begin_run("early", "{}", 100.0)
    store.finish_action("early", DONE)
    assert [run.id for run in store.unfinished_runs()] == ["early", "late"]
    store.finish_run("early")
    assert [run.id for run in store.unfinished_runs()] == ["late"]
    store.begin_run("early", "{}", 300.0)
    assert store.unfinished_runs()[1].results == {}, "the results of a finished run are gone with it"


def test_the_last_tick(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    assert store.last_tick() is None
    store.put_tick(Tick(1.0, "nothing to do", "abc"))
    store.put_tick(Tick(2.0, "host alpha does not answer", "def", ok=False))
    assert open_again().last_tick() == Tick(2.0, "host alpha does not answer", "def", ok=False)
