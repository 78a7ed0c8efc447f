"""Events over HTTP: lists, streams, and that nothing is left out in silence."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.live_api import Follower, Message, live

from api import hub, listening, sse, streams
from api.services import Services
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.model.desired import DesiredState
from reconciler.model.manifest import VirtualMachine
from reconciler.model.status import Event
from reconciler.store.events import Retention
from reconciler.store.sql import SqlStore

PATH = "/api/v1/events"
VIEWER = Grant(Role.VIEWER)


def happen(store: Any, *messages: str, vm: str = "web", host: str = "alpha", warning: bool = False) -> None:
    store.add_events([Event(time.time(), "Created", one, vm, host, warning) for one in messages])


def told(messages: list[Message]) -> list[str]:
    return [one.data["message"] for one in messages]


def machine(name: str, app: str) -> VirtualMachine:
    spec = {"cpus": 1, "memory": "64Mi"}
    return VirtualMachine.model_validate({"metadata": {"name": name, "labels": {"app": app}}, "spec": spec})


class Desired:
    """A desired state of two machines."""

    def read(self) -> DesiredState:
        return DesiredState("1", machines={"web": machine("web", "shop"), "db": machine("db", "bank")})


class Known:
    """Everybody is who they say; the test says what they may."""

    def __init__(self) -> None:
        self.grants: dict[str, tuple[Grant, ...]] = {}

    def authenticate(self, headers: Any, scope: Any) -> Caller:
        name = {key.lower(): value for key, value in headers.items()}.get("x-name", "viewer")
        return Caller(name, grants=self.grants.get(name, (VIEWER,)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[[], Services]]:
    """Services as a new process would have them."""
    with ExitStack() as stack:

        def made() -> Services:
            store = SqlStore(folder)
            found = Services(ApiConfig(), "test", store, Desired(), SimpleNamespace(), authenticator=Known())
            stack.callback(store.close)
            stack.callback(found.threads.shutdown)
            return found

        yield made


@pytest.fixture
def writer(folder: Path) -> Iterator[SqlStore]:
    """Another process that writes."""
    opened = SqlStore(folder)
    yield opened
    opened.close()


def get(address: str, path: str = PATH, **headers: str) -> Any:
    import http.client  # noqa: PLC0415

    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return SimpleNamespace(status=answer.status, headers=answer.headers, json=json.loads(body), body=body)


def test_a_list_is_newest_first_and_its_pages_have_each_event_once(make: Any, writer: SqlStore) -> None:
    happen(writer, *(str(number) for number in range(7)))
    with live(make()) as address:
        pages, query = [], ""
        while True:
            page = get(address, f"{PATH}?limit=3{query}").json
            pages.append([one["message"] for one in page["items"]])
            happen(writer, "meanwhile")
            if "continue" not in page:
                break
            query = f"&continue={page['continue']}"
        assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
        wrong = get(address, f"{PATH}?limit=3&vm=web{query}")
        assert (wrong.status, wrong.json["errors"][0]["path"]) == (400, "continue")


def test_filters_hold_for_lists_and_streams(make: Any, writer: SqlStore) -> None:
    with live(make()) as address:
        stream = Follower(address, f"{PATH}?vm=web&warning=true").start()
        happen(writer, "no warning")
        happen(writer, "another machine", vm="db", warning=True)
        happen(writer, "this", warning=True)
        assert told(stream.take(1)) == ["this"]
        page = get(address, f"{PATH}?vm=web&warning=true").json
        assert [one["message"] for one in page["items"]] == ["this"]
        page = get(address, f"{PATH}?host=beta").json
        assert page["items"] == []
        stream.close()


SCOPES = (
    (Grant(Role.VIEWER, names=("we*",)), ["web"]),
    (Grant(Role.VIEWER, labels={"app": "bank"}), ["db"]),
    (Grant(Role.VIEWER, kinds=("Host",)), ["alpha"]),
    (Grant(Role.VIEWER, kinds=("StoragePool",), names=("fast",)), ["pool"]),
    (Grant(Role.OPERATOR), ["web", "db", "alpha", "pool", "nothing"]),
)


def test_nobody_learns_what_they_may_not_see(make: Any, writer: SqlStore) -> None:
    services = make()
    services.authenticator.grants |= {f"ann-{at}": (grant,) for at, (grant, _) in enumerate(SCOPES)}
    begin = f"{writer.changes().store:x}.0"
    with live(services) as address:
        streams_ = [Follower(address, PATH, X_Name=f"ann-{at}").start() for at in range(len(SCOPES))]
        happen(writer, "web", vm="web")
        happen(writer, "db", vm="db")
        happen(writer, "alpha", vm="")
        happen(writer, "pool", vm="StoragePool/fast@alpha")
        happen(writer, "nothing", vm="", host="")
        for at, (_, seen) in enumerate(SCOPES):
            listed = [one["message"] for one in get(address, X_Name=f"ann-{at}").json["items"]]
            behind = Follower(address, f"{PATH}?after={begin}", X_Name=f"ann-{at}").start()
            assert told(streams_[at].take(len(seen))) == seen == listed[::-1]
            assert told(behind.take(len(seen))) == seen
            behind.close()
            streams_[at].close()


def test_labels_that_cannot_be_read_show_nothing(make: Any, writer: SqlStore) -> None:
    class Refused:
        def read(self) -> Any:
            raise DesiredStateError([Problem("a.yaml", 1, 1, "", "broken")])

    services = replace(make(), desired=Refused())
    services.authenticator.grants["ann"] = (Grant(Role.VIEWER, labels={"app": "shop"}),)
    with live(services) as address:
        happen(writer, "secret")
        assert get(address, X_Name="ann").json["items"] == []


def test_a_list_and_the_stream_behind_it_have_no_gap_between(make: Any, writer: SqlStore) -> None:
    happen(writer, "listed")
    with live(make()) as address:
        cursor = get(address).json["cursor"]
        happen(writer, "between")
        stream = Follower(address, PATH, Last_Event_ID=cursor).start()
        happen(writer, "behind")
        assert told(stream.take(2)) == ["between", "behind"]
        stream.close()


def test_one_who_comes_back_to_another_server_gets_each_event_once(make: Any, writer: SqlStore) -> None:
    with live(make()) as address:
        stream = Follower(address, PATH).start()
        happen(writer, "1", "2", "3")
        assert told(stream.take(3)) == ["1", "2", "3"]
    (end,) = stream.rest()
    assert (end.event, end.data["reason"]) == ("end", "Stopping")
    # More than is read at once.
    missed = [str(number) for number in range(4, 4 + 2 * hub.CHUNK)]
    happen(writer, *missed)
    with live(make()) as address:
        again = Follower(address, PATH, Last_Event_ID=stream.last_id).start()
        assert told(again.take(len(missed))) == missed
        happen(writer, "live")
        assert told(again.take(1)) == ["live"]
        again.close()


def test_events_come_while_one_catches_up(make: Any, writer: SqlStore) -> None:
    """The seam between what was missed and what is live: nothing twice, nothing left out."""
    begin = f"{writer.changes().store:x}.0"
    happen(writer, *("x" * 1200))
    with live(make()) as address:
        followers = [Follower(address, PATH, Last_Event_ID=begin).start() for _ in range(4)]
        for _ in range(60):
            happen(writer, "live")
        for one in followers:
            ids = [message.data["id"] for message in one.take(1260)]
            assert ids == list(range(1, 1261))
            one.close()


def test_what_was_pruned_is_told_first(make: Any, writer: SqlStore) -> None:
    writer.retention = Retention(count=3)
    happen(writer, "1", "2")
    with live(make()) as address:
        cursor = get(address).json["cursor"]
        happen(writer, "3", "4", "5", "6", "7")
        stream = Follower(address, PATH, Last_Event_ID=cursor).start()
        gap, *rest = stream.take(4)
        assert gap.event == "gap"
        assert (gap.data["reason"], gap.data["from"], gap.data["to"]) == ("Pruned", 3, 4)
        assert told(rest) == ["5", "6", "7"]
        assert gap.id.endswith(".4"), "one who comes back behind the gap is not told of it again"
        stream.close()


def test_everybody_learns_of_a_gap_whatever_they_may_see(make: Any, writer: SqlStore) -> None:
    services = make()
    services.authenticator.grants["ann"] = (Grant(Role.VIEWER, names=("other",)),)
    writer.retention = Retention(count=1)
    cursor = f"{writer.changes().store:x}.0"
    happen(writer, "1", "2", "3")
    with live(services) as address:
        stream = Follower(address, f"{PATH}?vm=other", Last_Event_ID=cursor, X_Name="ann").start()
        assert stream.take(1)[0].event == "gap"
        stream.close()


def test_another_store_is_no_continuation(make: Any, writer: SqlStore) -> None:
    """The database was lost: ids begin anew, and the old ones must not be taken for new ones."""
    happen(writer, "1", "2", "3")
    with live(make()) as address:
        for old in ("abc123.2", f"{writer.changes().store:x}.99"):
            stream = Follower(address, PATH, Last_Event_ID=old).start()
            gap, *rest = stream.take(4)
            assert (gap.event, gap.data["reason"]) == ("gap", "AnotherStore")
            assert told(rest) == ["1", "2", "3"]
            stream.close()


def test_an_id_that_is_none_is_refused(make: Any, writer: SqlStore) -> None:
    with live(make()) as address:
        for wrong in ("12", "x.1", "1.x", "1.-1", "1.1.1", "9" * 60, "1.1%0aid: 5"):
            answer = get(address, f"{PATH}?watch=true&after={wrong}".replace(" ", "%20"))
            assert answer.status == 400
            assert answer.headers["Content-Type"] == "application/problem+json"


def test_what_is_put_into_a_message_cannot_forge_another(make: Any, writer: SqlStore) -> None:
    evil = "x\n\ndata: {}\nid: 1.1\nevent: gap\r\x85\u2028\x00ü"
    assert not set("\x85\u2028") & set(sse.raw_message(f'"{evil[-5:]}"').decode())
    with live(make()) as address:
        stream = Follower(address, PATH).start()
        happen(writer, evil, vm=evil, host=evil)
        (one,) = stream.take(1)
        assert (one.event, one.data["message"], one.data["vm"]) == ("", evil, evil)
        stream.close()


def test_who_hangs_up_is_forgotten(make: Any, writer: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BEAT", 0.05)
    services = make()
    with live(services) as address:
        staying = Follower(address, PATH).start()
        for _ in range(3):
            Follower(address, PATH).start().close()
        _until(lambda: services.hub.watchers == 1)
        happen(writer, "still")
        assert told(staying.take(1)) == ["still"]
        staying.close()
        _until(lambda: services.hub.watchers == 0)


@pytest.mark.slow
def test_one_who_is_slow_is_cut_off_and_loses_nothing(
    make: Any, writer: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_BYTES", 300_000)
    monkeypatch.setattr(hub, "MOST_QUEUED", 100)
    with live(make()) as address:
        slow, quick = Follower(address, PATH), Follower(address, PATH).start()
        seen = []
        for number in range(60):
            happen(writer, *(f"{number}-{part} " + "x" * 4000 for part in range(20)))
            seen += quick.take(20)
        *first, end = slow.start().rest()
        assert (end.event, end.data["reason"]) == ("end", "TooSlow")
        assert len(first) < 1200
        again = Follower(address, PATH, Last_Event_ID=slow.last_id).start()
        both = told(first) + told(again.take(1200 - len(first)))
        assert both == told(seen)
        again.close()
        quick.close()


@pytest.mark.slow
def test_one_who_takes_nothing_is_cut_off_by_the_kernel(
    make: Any, writer: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "UNREAD_FOR", 1500)
    monkeypatch.setattr(hub, "MOST_BYTES", 300_000)
    monkeypatch.setattr(streams, "BEAT", 0.5)
    services = make()
    with live(services) as address:
        stuck = Follower(address, PATH)
        _until(lambda: services.hub.watchers == 1)
        for number in range(60):
            happen(writer, *(f"{number}-{part} " + "x" * 4000 for part in range(20)))
        _until(lambda: services.hub.watchers == 0)
        stuck.socket.close()


def test_a_stream_ends_with_the_right_to_see_it(
    make: Any, writer: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BEAT", 0.05)
    services = make()
    with live(services) as address:
        stream = Follower(address, PATH, X_Name="ann").start()
        services.authenticator.grants["ann"] = ()
        (end,) = stream.rest()
        assert (end.event, end.data["reason"]) == ("end", "Unauthenticated")
        assert get(address, X_Name="ann").status == 403


def test_a_mistake_of_ours_ends_streams_instead_of_letting_them_wait(make: Any, writer: SqlStore) -> None:
    services = make()
    with live(services) as address:
        stream = Follower(address, PATH).start()
        teller = services.hub.teller
        services.hub.teller = None
        happen(writer, "cannot be told")
        (end,) = stream.rest()
        assert (end.event, end.data["reason"]) == ("end", "Unavailable")
        services.hub.teller = teller
        again = Follower(address, PATH, Last_Event_ID=stream.last_id).start()
        assert told(again.take(1)) == ["cannot be told"]
        again.close()


def test_one_watcher_too_many_is_told_when_to_come_back(
    make: Any, writer: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_WATCHERS", 1)
    with live(make()) as address:
        first = Follower(address, PATH).start()
        _until(lambda: get(address, f"{PATH}?watch=true").status == 503)
        assert int(get(address, f"{PATH}?watch=true").headers["Retry-After"]) > 0
        first.close()


@pytest.mark.slow
def test_two_hundred_watchers_get_every_event_in_order(make: Any, writer: SqlStore) -> None:
    async def follow(address: str, opened: asyncio.Semaphore) -> list[int]:
        host, _, port = address.partition(":")
        reader, writer_ = await asyncio.open_connection(host, int(port))
        writer_.write(f"GET {PATH}?watch=true HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await reader.readuntil(b"retry: ")
        opened.release()
        ids: list[int] = []
        while len(ids) < 50:
            line = await reader.readline()
            if line.startswith(b"data: "):
                ids.append(json.loads(line[6:])["id"])
        writer_.close()
        return ids

    async def all_of_them(address: str) -> list[list[int]]:
        opened = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(follow(address, opened)) for _ in range(200)]
        for _ in tasks:
            await opened.acquire()
        for number in range(10):
            await asyncio.to_thread(happen, writer, *(str(number) for _ in range(5)))
        return await asyncio.gather(*tasks)

    with live(make()) as address:
        found = asyncio.run(asyncio.wait_for(all_of_them(address), 60))
    assert found == [list(range(1, 51))] * 200


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
