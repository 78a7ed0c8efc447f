"""The daemon's desk: order, refusals and what was interrupted; and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.command import call

from reconciler.cli import ask
from reconciler.engine import Engine
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.plan import ActionResult, Outcome
from reconciler.model.request import Act, Request, RequestRecord, RequestState
from reconciler.requests import DAEMON, EXPIRES, INTERRUPTED, Desk, outcome_of
from reconciler.store.base import Store
from reconciler.store.sql import open_store

TYPE = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""


class Blind:
    """Stands for an engine that sees nothing: every look is refused, and counted."""

    def __init__(self, store: Store, error: ReconcilerError) -> None:
        self.rooms = SimpleNamespace(store=store)
        self.looks = 0
        self._error = error

    def look(self) -> None:
        self.looks += 1
        raise self._error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "state")
    yield opened
    opened.close()


def _desk(store: Store, now: float = 100.0) -> tuple[Desk, Blind]:
    engine = Blind(store, UsageError("there is no machine 'web'", hint="look"))
    return Desk(cast("Engine", engine), lambda: now), engine


def _record(store: Store, number: int) -> RequestRecord:
    found = store.request(number)
    assert found is not None
    return found


def test_what_is_refused_fails_with_the_reason_and_its_exit_code(store: Store) -> None:
    number = store.add_request(Request(Act.RESTART, "web"), "ann", 99.0)
    desk, _ = _desk(store)
    assert desk.waiting
    desk.serve(lambda: False)
    record = _record(store, number)
    assert (record.state, record.code) == (RequestState.FAILED, 64)
    assert record.message == "there is no machine 'web' (look)"
    (event,) = store.events()
    assert (event.reason, event.vm, event.warning) == ("RequestFailed", "web", True)
    assert event.message.startswith("reconciler restart web, asked by ann: there is no machine")
    assert not desk.waiting


def test_what_was_begun_and_not_ended_is_never_repeated(store: Store) -> None:
    number = store.add_request(Request(Act.RESTART, "web"), "ann", 99.0)
    store.begin_request(number, 99.0)
    desk, engine = _desk(store)
    desk.serve(lambda: False)
    desk.serve(lambda: False)
    record = _record(store, number)
    assert (record.state, record.message, engine.looks) == (RequestState.FAILED, INTERRUPTED, 0)
    assert len(store.events()) == 1


def test_what_waited_too_long_is_not_done(store: Store) -> None:
    number = store.add_request(Request(Act.STOP, "web"), "ann", 100.0)
    desk, engine = _desk(store, 101.0 + EXPIRES)
    desk.serve(lambda: False)
    assert "ask again" in _record(store, number).message
    assert engine.looks == 0


def test_they_are_taken_in_order_until_the_daemon_shall_stop(store: Store) -> None:
    numbers = [store.add_request(Request(Act.STOP, f"vm-{n}"), "ann", 99.0) for n in range(3)]
    desk, engine = _desk(store)
    said: list[object] = []
    desk.serve(lambda: engine.looks == 2, said.append)
    assert [_record(store, number).state for number in numbers] == [
        RequestState.FAILED,
        RequestState.FAILED,
        RequestState.PENDING,
    ]
    assert [str(line).split(",")[0] for line in said[::2]] == ["reconciler stop vm-0", "reconciler stop vm-1"]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED])
def test_what_is_not_done_whole_is_not_done(outcome: Outcome) -> None:
    found = outcome_of(
        (
            ActionResult("web/stop", "h", "web", Outcome.CHANGED, "shut down"),
            ActionResult("web/start", "h", "web", outcome, "why"),
        )
    )
    assert (found.state, found.code, "web/start" in found.message) == (RequestState.FAILED, 1, True)


def test_words_are_what_one_would_type() -> None:
    assert Request(Act.RESTART, "web", force=True).words == "reconciler restart web --force"
    assert Request(Act.SNAPSHOT, "web", "a").words == "reconciler snapshot web --name a"
    assert Request(Act.DELETE_SNAPSHOT, "web", "a").words == "reconciler delete-snapshot web a"


def test_without_a_daemon_what_was_not_begun_is_taken_back(store: Store) -> None:
    number = store.add_request(Request(Act.STOP, "web"), "ann", 99.0)
    with pytest.raises(ReconcilerError, match="nothing was done"):
        ask.wait_for(store, number, poll=0.01, grace=0.0)
    assert _record(store, number).state is RequestState.CANCELLED
    number = store.add_request(Request(Act.STOP, "web"), "ann", 99.0)
    store.begin_request(number, 99.0)
    with pytest.raises(ReconcilerError, match="ended in the middle"):
        ask.wait_for(store, number, poll=0.01, grace=0.0)
    assert _record(store, number).state is RequestState.RUNNING


@pytest.mark.parametrize(("begun", "says"), [(False, "Taken back"), (True, "goes on")])
def test_who_stops_waiting_takes_it_back_or_lets_it_go_on(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    begun: bool,
    says: str,
) -> None:
    number = store.add_request(Request(Act.STOP, "web"), "ann", 99.0)
    if begun:
        store.begin_request(number, 99.0)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with store.hold(DAEMON), pytest.raises(KeyboardInterrupt):
        ask.wait_for(store, number)
    assert says in capsys.readouterr().err
    assert _record(store, number).state is (RequestState.RUNNING if begun else RequestState.CANCELLED)


def test_only_a_daemon_is_asked_and_nothing_is_asked_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/types.yaml").write_text(TYPE)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {kvm1: {reconciler_uri: 'test:///default'}}}\n")
    rest = [
        "--source",
        str(tmp_path / "source"),
        "--state-dir",
        str(tmp_path / "state"),
        "-i",
        str(inventory),
    ]
    store = open_store(tmp_path / "state")
    with store.hold("reconciler apply"):
        said = call("restart", "web", "--yes", *rest)
        assert (said.exit, "reconciler apply (pid" in said.err) == (5, True), said.text
    with store.hold(DAEMON):
        said = call("restart", "web", "--yes", *rest)
        assert (said.exit, "there is no machine 'web'" in said.err) == (64, True), said.text
    assert store.requests() == ()
    store.close()
