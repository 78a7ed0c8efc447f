"""Requests: written by anybody, taken by one, and never lost or done by two."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import ActionResult, Outcome
from reconciler.model.request import REQUEST_JSON, Act, Request, RequestOutcome, RequestState
from reconciler.store import requests
from reconciler.store.sql import SqlStore

from .test_processes import hear, python, say

RESTART = Request(Act.RESTART, "web-1", force=True, uid="u1")
DONE = RequestOutcome(
    RequestState.DONE, "well", 0, (ActionResult("web-1/start", "h", "web-1", Outcome.CHANGED, "x"),)
)

TAKE = """
import sys
from pathlib import Path
from reconciler.store.sql import SqlStore
store = SqlStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
number = int(sys.argv[3])
taken = store.begin_request(number, 1.0) if sys.argv[2] == "take" else store.cancel_request(number, "no", 1.0)
print(taken, flush=True)
"""

ASK_FOR_EVER = """
import sys
from pathlib import Path
from reconciler.model.request import Act, Request
from reconciler.store.sql import SqlStore
store = SqlStore(Path(sys.argv[1]))
while True:
    print(store.add_request(Request(Act.SNAPSHOT, "web", sys.argv[2]), sys.argv[2], 1.0), flush=True)
"""


def test_a_request_goes_one_way(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    first, second = (store.add_request(RESTART, "ann", 5.0) for _ in range(2))
    asked = store.request(first)
    assert asked is not None
    assert (asked.request, asked.by, asked.asked, asked.state) == (RESTART, "ann", 5.0, RequestState.PENDING)
    assert not store.end_request(first, DONE, 6.0), "it was never begun"
    assert store.begin_request(first, 6.0)
    assert not store.begin_request(first, 7.0), "it is being done"
    assert not store.cancel_request(first, "too late", 7.0)
    assert [(one.id, one.state) for one in open_again().open_requests()] == [
        (first, RequestState.RUNNING),
        (second, RequestState.PENDING),
    ]
    assert store.end_request(first, DONE, 8.0)
    assert not store.end_request(first, RequestOutcome(RequestState.FAILED), 9.0), "it is final"
    ended = open_again().request(first)
    assert ended is not None
    assert (ended.state, ended.message, ended.results) == (RequestState.DONE, "well", DONE.results)
    assert ended.changed == 8.0
    assert store.cancel_request(second, "changed my mind", 9.0)
    assert not store.begin_request(second, 10.0), "who took it back wants it not done"
    assert store.open_requests() == ()
    assert [one.id for one in store.requests(vm="web-1")] == [second, first]
    assert store.requests(vm="web-2") == ()
    assert store.request(99) is None


def test_what_another_process_asks_is_seen(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    assert store.open_requests() == ()
    number = open_again().add_request(RESTART, "ann", 5.0)
    assert [one.id for one in store.open_requests()] == [number]
    assert store.open_requests() is store.open_requests(), "an idle daemon asks each second"


@pytest.mark.parametrize("other", ["take", "cancel"])
def test_of_two_processes_one_gets_it(store: SqlStore, folder: Path, other: str) -> None:
    number = str(store.add_request(RESTART, "ann", 5.0))
    with python(TAKE, str(folder), "take", number) as one, python(TAKE, str(folder), other, number) as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        say(one)
        say(two)
        assert sorted((hear(one), hear(two))) == ["False", "True"]


def test_what_was_told_asked_is_there_after_kill_9(folder: Path, open_again: Callable[[], SqlStore]) -> None:
    SqlStore(folder).close()
    with python(ASK_FOR_EVER, str(folder), "a") as one, python(ASK_FOR_EVER, str(folder), "b") as two:
        told = [int(hear(process)) for _ in range(10) for process in (one, two)]
        one.send_signal(signal.SIGKILL)
        two.send_signal(signal.SIGKILL)
    assert len(set(told)) == len(told), "an id is one request's"
    found = [record.id for record in open_again().open_requests()]
    assert set(told) <= set(found)
    assert found == sorted(found)


def test_old_ones_go_but_never_an_open_one(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REQUESTS_KEPT", 3)
    waiting = store.add_request(RESTART, "ann", 1.0)
    for _ in range(5):
        number = store.add_request(RESTART, "ann", 1.0)
        store.begin_request(number, 1.0)
        store.end_request(number, DONE, 1.0)
    last = store.add_request(RESTART, "ann", 2.0)
    assert [one.id for one in store.requests()] == [last, last - 1, last - 2, waiting]


@given(
    st.builds(
        Request,
        act=st.sampled_from(Act),
        vm=st.text(),
        snapshot=st.text(),
        force=st.booleans(),
        uid=st.text(),
        taken=st.floats(0, 1e12),
    )
)
def test_a_request_is_the_same_after_json(request: Request) -> None:
    assert REQUEST_JSON.validate_json(REQUEST_JSON.dump_json(request)) == request
