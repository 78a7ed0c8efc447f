"""The server: sockets, threads, its end, and what it tells of requests."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.live_api import Follower, live

from api.app import create_app
from api.listening import listen
from api.server import Manners, Server
from api.services import Services
from reconciler.errors import DesiredStateError, Problem, UsageError
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.model.desired import DesiredState
from reconciler.model.status import Event
from reconciler.store.base import Tick
from reconciler.store.sql import SqlStore


class Known:
    """Whoever says a name is that one."""

    def authenticate(self, headers: Any, scope: Any) -> Caller:
        return Caller("ann", grants=(Grant(Role.VIEWER),))


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    store = SqlStore(tmp_path / "state")
    desired = SimpleNamespace(read=lambda: DesiredState("1", machines={}), read_newest=lambda: None)
    made = Services(ApiConfig(), "test", store, desired, SimpleNamespace(), authenticator=Known())
    yield made
    made.threads.shutdown()
    store.close()


def ask(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=20)
    connection.request("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Sockets


@pytest.mark.parametrize("address", ["", "here", "127.0.0.1:", "127.0.0.1:x", "::1:80", "nowhere.invalid:80"])
def test_what_is_no_address_is_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(UsageError):
        listen(address)


def test_a_port_that_is_taken_is_told(services: Services) -> None:
    (taken,) = listen("127.0.0.1:0")
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UsageError, match="already in use") as caught:
        listen(address)
    assert "reusePort" in caught.value.hint
    with pytest.raises(UsageError):
        listen(address, reuse_port=True)
    taken.close()


def test_several_servers_share_a_port(services: Services) -> None:
    (first,) = listen("127.0.0.1:0", reuse_port=True)
    address = f"127.0.0.1:{first.getsockname()[1]}"
    app = create_app(services)
    with Server(app, [first]), Server(app, listen(address, reuse_port=True)):
        assert {ask(address, "/healthz")[0] for _ in range(20)} == {200}
    with pytest.raises(ConnectionRefusedError):
        ask(address, "/healthz")


def test_ipv6_is_served(services: Services) -> None:
    with live(services, "[::1]:0") as address:
        assert ask(f"[::1]:{address.rpartition(':')[2]}", "/healthz")[0] == 200


# The thread and its end


def test_a_request_in_flight_is_finished(services: Services) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> DesiredState:
        begun.set()
        may_end.wait(20)
        return DesiredState("1", machines={})

    services.desired.read = slow  # type: ignore[method-assign]
    found: list[int] = []
    with live(services) as address:
        asker = threading.Thread(target=lambda: found.append(ask(address, "/readyz")[0]))
        asker.start()
        assert begun.wait(20)
        threading.Timer(0.3, may_end.set).start()
    asker.join(20)
    assert found == [200]


@pytest.mark.slow
def test_a_request_that_never_ends_does_not_hold_the_server_up(services: Services) -> None:
    begun, may_end = threading.Event(), threading.Event()
    services.desired.read = lambda: begun.set() or may_end.wait(30)  # type: ignore[method-assign,func-returns-value,assignment,return-value]
    failed: list[Exception] = []

    def asking(address: str) -> None:
        try:
            ask(address, "/readyz")
        except (OSError, http.client.HTTPException) as error:
            failed.append(error)

    with live(services, manners=Manners(finish=1)) as address:
        asker = threading.Thread(target=asking, args=(address,))
        asker.start()
        assert begun.wait(20)
    may_end.set()
    asker.join(20)


def test_a_loop_that_ends_by_itself_is_started_again(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("api.server.FIRST_PAUSE", 0.05)
    with ExitStack() as stack:
        sockets = listen("127.0.0.1:0")
        address = f"127.0.0.1:{sockets[0].getsockname()[1]}"
        server = stack.enter_context(Server(create_app(services), sockets, on_stop=services.hub.stop))
        stream = Follower(address, "/api/v1/events").start()
        first = server._current
        assert first is not None
        # As an exception in the middle of uvicorn would.
        first.main_loop_task = None  # type: ignore[attr-defined]
        first.on_tick = lambda _counter: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        assert stream.rest() == []
        until(lambda: server._current is not first and server.answers)
        assert ask(address, "/healthz")[0] == 200
        again = Follower(address, "/api/v1/events", Last_Event_ID=stream.last_id).start()
        services.store.add_events([Event(1.0, "Created", "after", "web", "")])
        assert again.take(1)[0].data["message"] == "after"
        again.close()
    assert "the API server failed" in caplog.text


def test_the_end_of_the_server_is_the_end_of_its_threads(services: Services) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with live(services) as address:
        Follower(address, "/api/v1/events").start()
    left = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in left if name in ("api-server", "api-hub")}


def test_headers_that_never_end_hold_no_connection(services: Services) -> None:
    with live(services, manners=Manners(headers=0.3, finish=1)) as address:
        host, _, port = address.partition(":")
        whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        for sent in ([b""], [b"GET /healthz HTT"], [whole, b"GET /he"]):
            with socket.create_connection((host, int(port)), timeout=20) as one:
                received = b""
                for part in sent:
                    one.sendall(part)
                    if part == whole:
                        received += one.recv(65536)
                while more := one.recv(65536):
                    received += more
                assert received.count(b"HTTP/1.1 200") == sent.count(whole)
        assert ask(address, "/healthz")[0] == 200


# What it tells


def test_each_request_is_a_line_without_what_is_secret(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "api.access"), live(services) as address:
        ask(address, "/api/v1/events?vm=secret", X_Request_Id="mine-1", Authorization="Bearer secret")
        ask(address, "/healthz")
        ask(address, "/no%0awhere")
    lines = [record for record in caplog.records if record.name == "api.access"]
    assert [record.getMessage() for record in lines] == ["GET /api/v1/events", "GET /no\nwhere"]
    told = lines[0].fields  # type: ignore[attr-defined]
    assert (told["status"], told["caller"], told["operation"]) == (200, "ann", "listEvents")
    assert told["request"] == "mine-1"
    assert lines[1].fields["status"] == 404  # type: ignore[attr-defined]
    assert "secret" not in str([record.__dict__ for record in lines])


def test_a_mistake_of_ours_is_500_with_an_id_and_nothing_from_inside(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    services.desired.read = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with live(services) as address:
        status, body = ask(address, "/readyz", X_Request_Id="mine-2")
    assert (status, json.loads(body)["requestId"]) == (500, "mine-2")
    assert b"division" not in body
    assert "mine-2" in caplog.text


def test_ready_says_what_is_missing_and_no_more(services: Services) -> None:
    def refused() -> Any:
        raise DesiredStateError([Problem("secret-machine.yaml", 1, 1, "", "broken")])

    with live(services) as address:
        status, body = ask(address, "/readyz")
        found = {check["name"]: check["ok"] for check in json.loads(body)["checks"]}
        assert (status, found) == (
            200,
            {"store": True, "desired-state": True, "daemon": False, "last-tick": True},
        )
        with services.store.hold("reconciler run"):
            assert json.loads(ask(address, "/readyz")[1])["checks"][2]["ok"]
        services.desired.read = services.desired.read_newest = refused  # type: ignore[method-assign]
        status, body = ask(address, "/readyz")
        assert (status, json.loads(body)["ready"]) == (503, False)
        assert b"secret" not in body


def test_ready_tells_of_a_refused_tick_without_its_names(services: Services) -> None:
    services.store.put_tick(Tick(1.0, "nothing was done: the plan deletes secret-machine", "", False))
    with live(services) as address:
        status, body = ask(address, "/readyz")
    (check,) = [one for one in json.loads(body)["checks"] if one["name"] == "last-tick"]
    assert (status, check["ok"], check["needed"]) == (200, False, False)
    assert "TickRefused" in check["message"]
    assert b"secret" not in body


def test_metrics_count_operations_and_name_no_object(services: Services) -> None:
    with live(services) as address:
        ask(address, "/api/v1/events?vm=my-machine")
        ask(address, "/my-path")
        stream = Follower(address, "/api/v1/events").start()
        text = ask(address, "/metrics")[1].decode()
        stream.close()
    assert 'reconciler_api_requests_total{method="GET",operation="listEvents",status="200"} 1.0' in text
    assert 'reconciler_api_requests_total{method="GET",operation="",status="404"} 1.0' in text
    assert "reconciler_api_watchers 1.0" in text
    assert 'reconciler_pool_members{state="available"} 0.0' in text
    assert "reconciler_daemon_up 0.0" in text
    assert not re.search("my-machine|my-path", text)
