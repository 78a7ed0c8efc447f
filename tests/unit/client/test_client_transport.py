"""What the client tries again, what it refuses, and what its errors are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.client import Client
from reconciler.client.problems import error_of
from reconciler.client.transport import Transport
from reconciler.client.watch import messages
from reconciler.client.words import Operation, seconds
from reconciler.errors import (
    BusyError,
    ConflictError,
    DesiredStateError,
    LimitError,
    NotFoundError,
    PreconditionError,
    ReconcilerError,
    StalePlanError,
    UnauthenticatedError,
    UnavailableError,
    UsageError,
)

Answers = list[httpx.Response | Exception]


class Server:
    """Answers what it is given, one after the other, and keeps what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def make() -> Callable[..., tuple[Client, Server, list[float]]]:
    def made(*answers: httpx.Response | Exception, **about: Any) -> tuple[Client, Server, list[float]]:
        slept: list[float] = []
        client = Client("http://127.0.0.1:1", sleep=slept.append, **about)
        server = Server(list(answers))
        headers = client._http.headers
        client._http = httpx.Client(transport=httpx.MockTransport(server), headers=headers)
        return client, server, slept

    return made


def problem(status: int, **about: Any) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "detail": "no", **about})


def test_what_cannot_be_answered_now_is_asked_again_after_the_time_that_it_says(make: Any) -> None:
    later = httpx.Response(503, json={"detail": "busy"}, headers={"Retry-After": "3"})
    client, server, slept = make(later, httpx.Response(200, json={"name": "ann"}))
    assert client.whoami() == {"name": "ann"}
    assert (len(server.asked), slept) == (2, [3.0])


def test_a_write_that_broke_off_is_repeated_under_the_same_key(make: Any) -> None:
    stored = httpx.Response(201, json={"metadata": {"name": "a"}}, headers={"ETag": '"v"'})
    client, server, _ = make(httpx.ReadError("gone"), stored)
    made = client.create("volumes", {"metadata": {"name": "a"}}, message="why")
    keys = {request.headers["Idempotency-Key"] for request in server.asked}
    assert (made.name, made.etag, len(server.asked), len(keys)) == ("a", '"v"', 2, 1)
    assert server.asked[0].url.params["message"] == "why"


def test_two_writes_have_two_keys(make: Any) -> None:
    client, server, _ = make(*(httpx.Response(204) for _ in range(2)))
    client.delete("volumes", "a", match='"v"')
    client.delete("volumes", "b/c d")
    assert len({request.headers["Idempotency-Key"] for request in server.asked}) == 2
    assert server.asked[0].headers["If-Match"] == '"v"'
    assert server.asked[1].url.raw_path == b"/api/v1/volumes/b%2Fc%20d"


def test_patience_ends(make: Any) -> None:
    client, server, slept = make(*(httpx.ConnectError("refused") for _ in range(50)), patience=2.0)
    with pytest.raises(UnavailableError, match="cannot reach"):
        client.whoami()
    assert sum(slept) <= 2.0
    assert 3 < len(server.asked) < 50


def test_a_refusal_is_not_repeated(make: Any) -> None:
    client, server, _ = make(problem(409, reason="Conflict", file="a.yaml", line=7))
    with pytest.raises(ConflictError) as caught:
        client.put("volumes", {"metadata": {"name": "a"}})
    assert (caught.value.file, caught.value.line, len(server.asked)) == ("a.yaml", 7, 1)


def test_nobody_waits_for_a_machine_who_did_not_say_so(make: Any) -> None:
    client, server, _ = make(
        httpx.Response(503, json={"reason": "NoneAvailable"}, headers={"Retry-After": "1"})
    )
    with pytest.raises(UnavailableError):
        client.checkout("runners")
    assert len(server.asked) == 1


def test_a_list_is_read_page_after_page(make: Any) -> None:
    pages = [{"items": [1, 2], "continue": "t"}, {"items": [3]}]
    client, server, _ = make(*(httpx.Response(200, json=page) for page in pages))
    assert list(client.objects("volumes", selector="a=b")) == [1, 2, 3]
    asked = [dict(request.url.params) for request in server.asked]
    assert asked[1] == {"labelSelector": "a=b", "limit": "1000", "continue": "t"}


@pytest.mark.parametrize(
    ("status", "about", "kind", "code"),
    [
        (400, {}, UsageError, 64),
        (401, {}, UnauthenticatedError, 1),
        (404, {}, NotFoundError, 1),
        (409, {"reason": "Limit"}, LimitError, 4),
        (409, {"reason": "StalePlan"}, StalePlanError, 6),
        (412, {}, PreconditionError, 6),
        (422, {"errors": [{"file": "a", "line": 1, "path": "spec", "message": "no"}]}, DesiredStateError, 3),
        (503, {"reason": "Busy"}, BusyError, 5),
        (503, {"reason": "Reconciler"}, ReconcilerError, 1),
        (409, {"reason": "Blocked"}, ReconcilerError, 7),
        (500, {"requestId": "r"}, ReconcilerError, 1),
        (418, {"errors": "what"}, ReconcilerError, 1),
        (422, {"errors": [{"line": "x"}, 3]}, ReconcilerError, 1),
    ],
)
def test_problems_are_the_errors_that_a_command_here_would_have_had(
    status: int, about: dict[str, Any], kind: type[ReconcilerError], code: int
) -> None:
    error = error_of(status, {"detail": "what", "hint": "do", **about})
    assert (type(error), error.exit_code) == (kind, code)


def test_every_mistake_of_a_body_is_told() -> None:
    errors = [{"path": f"spec.{name}", "message": "no", "line": 1, "file": "body"} for name in "ab"]
    told = error_of(422, {"errors": errors})
    assert "spec.a" in told.message
    assert "spec.b" in told.message


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_an_error_of_a_proxy_is_one_too(make: Any, body: bytes) -> None:
    client, _, _ = make(httpx.Response(404, content=body))
    with pytest.raises(NotFoundError):
        client.whoami()


def test_what_is_no_json_is_told(make: Any) -> None:
    client, _, _ = make(httpx.Response(200, content=b"<html>"))
    with pytest.raises(ReconcilerError, match="not JSON"):
        client.whoami()


@pytest.mark.parametrize(
    "server", ["", "kvm", "ftp://a", "https://", "https://a:b@c", "https://a?b=c", "http://a b"]
)
def test_what_is_no_address_is_refused(server: str) -> None:
    with pytest.raises(UsageError):
        Transport(server)


def test_a_token_goes_nowhere_in_the_clear() -> None:
    with pytest.raises(UsageError, match="use https"):
        Transport("http://kvm.example.org", token="secret")
    Transport("http://127.0.0.1:8440", token="secret").close()
    Transport("http://[::1]:8440", token="secret").close()


def test_a_token_is_in_no_text_about_the_client(make: Any) -> None:
    client, _, _ = make(httpx.ConnectError("refused"), token="secret", patience=0.0)
    with pytest.raises(UnavailableError) as caught:
        client.whoami()
    assert "secret" not in f"{caught.value} {client!r} {vars(caught.value)}"


def test_a_stream_is_read_message_by_message() -> None:
    lines = ["event: gap", "id: 7", 'data: {"a":', "data: 1}", "", ": alive", "", "data:x", "", "data: lost"]
    assert list(messages(lines)) == [("gap", "7", '{"a":\n1}'), ("message", "", "x")]


def test_a_watch_goes_on_after_the_last_one() -> None:
    streams = [b'id: 1\ndata: {"n": 1}\n\nid: 2\ndata: {"n": 2}\n\n', b'id: 3\ndata: {"n": 3}\n\n']
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 2:
            raise httpx.ConnectError("restarting")
        return httpx.Response(200, content=streams.pop(0))

    client = Client("http://127.0.0.1:1", sleep=lambda _: None)
    client._http = httpx.Client(transport=httpx.MockTransport(answer))
    followed = client.watch(after="0")
    assert [next(followed)[2]["n"] for _ in range(3)] == [1, 2, 3]
    assert asked == ["0", "2", "2"]


def test_a_watch_that_is_refused_ends() -> None:
    client = Client("http://127.0.0.1:1")
    client._http = httpx.Client(transport=httpx.MockTransport(lambda _: problem(401)))
    with pytest.raises(UnauthenticatedError):
        next(client.watch())


def _operation(state: str, **about: Any) -> dict[str, Any]:
    when = "2026-01-01T00:00:00Z"
    return {"id": "act-1", "kind": "restart", "state": state, "asked": when, "changed": when, **about}


def test_an_operation_is_waited_for(make: Any) -> None:
    states = [httpx.Response(200, json=_operation(state)) for state in ("pending", "running", "done")]
    client, server, _ = make(httpx.Response(202, json=_operation("pending")), *states)
    done = client.wait_for(client.restart("web-1", force=True))
    assert done.check() is done
    assert json.loads(server.asked[0].content) == {"force": True}
    assert server.asked[1].url.params["wait"].endswith("s")


def test_an_operation_that_failed_has_the_commands_exit_code() -> None:
    failed = Operation.of(_operation("failed", code=7, message="blocked"))
    with pytest.raises(ReconcilerError, match="blocked") as caught:
        failed.check()
    assert caught.value.exit_code == 7
    assert ReconcilerError.exit_code == 1


def test_times_are_read() -> None:
    assert seconds("1970-01-01T00:01:00Z") == 60.0
    assert seconds("1970-01-01T01:01:00.5+01:00") == 60.5
    assert (seconds(5), seconds(None)) == (5.0, 0.0)
