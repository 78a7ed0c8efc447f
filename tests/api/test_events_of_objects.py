"""Watching objects and operations: by the API, by git, and by what a tick saw."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import yaml
from support.live_api import Follower, live

from api import streams
from reconciler.model.access import Grant, Role
from reconciler.model.request import Act, Request, RequestOutcome, RequestState
from reconciler.store.sql import SqlStore

PATH = "/api/v1/virtualmachines"


def machine(name: str, cpus: int = 1, **labels: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "reconciler/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "labels": labels},
            "spec": {"cpus": cpus, "memory": "64Mi"},
        }
    )


def bearer(site: Any, *grants: Grant) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.token(*(grants or (Grant(Role.VIEWER),)))}"}


def told(messages: list[Any]) -> list[tuple[str, str]]:
    return [(one.data["type"], one.data["object"]["metadata"]["name"]) for one in messages]


def status_of(address: str, path: str, **headers: str) -> tuple[int, Any]:
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_a_watch_begins_with_what_is_there_and_goes_on(site: Any) -> None:
    site.commit({"a.yaml": machine("a"), "b.yaml": machine("b")})
    with live(site.services) as address:
        stream = Follower(address, PATH, **bearer(site)).start()
        *first, listed = stream.take(3)
        assert told(first) == [("ADDED", "a"), ("ADDED", "b")]
        assert (listed.event, listed.data) == ("listed", {"count": 2})
        # A person in git, a tick's status, and an end.
        site.commit({"a.yaml": machine("a", cpus=2)})
        (changed,) = stream.take(1)
        assert told([changed]) == [("MODIFIED", "a")]
        assert changed.data["object"]["spec"]["cpus"] == 2
        tick = SqlStore(site.store._folder)
        tick.set_statuses("VirtualMachine", {"b": '{"state":"running"}'})
        (changed,) = stream.take(1)
        assert (told([changed]), changed.data["object"]["status"]["state"]) == (
            [("MODIFIED", "b")],
            "running",
        )
        tick.close()
        (site.repository / "a.yaml").unlink()
        site.commit({"c.yaml": machine("c")})
        assert told(stream.take(2)) == [("DELETED", "a"), ("ADDED", "c")]
        stream.close()


def test_one_who_comes_back_gets_what_was_missed_or_is_told_to_begin_anew(site: Any) -> None:
    site.commit({"a.yaml": machine("a")})
    headers = bearer(site)
    with live(site.services) as address:
        stream = Follower(address, PATH, **headers).start()
        stream.take(2)
        stream.close()
        site.commit({"b.yaml": machine("b", cpus=3)})
        again = Follower(address, PATH, Last_Event_ID=stream.last_id, **headers).start()
        (one,) = again.take(1)
        assert (told([one]), one.data["object"]["spec"]["cpus"]) == ([("ADDED", "b")], 3)
        again.close()
        for strange in ("beef.1", f"{stream.last_id}9", "x", f"{stream.last_id.partition('.')[0]}.-1"):
            status, problem = status_of(address, f"{PATH}?watch=true", Last_Event_ID=strange, **headers)
            assert (status, problem["status"]) == (410, 410)
        status, problem = status_of(address, f"{PATH}?watch=true&limit=3&fields=metadata", **headers)
        assert (status, [one["path"] for one in problem["errors"]]) == (400, ["fields", "limit"])


def test_a_watcher_sees_its_own_part_of_the_world(site: Any) -> None:
    """What leaves a watcher's part is gone for them; what enters it is new; the rest is never told."""
    site.commit({"a.yaml": machine("a", app="shop"), "b.yaml": machine("b", app="bank")})
    with live(site.services) as address:
        scoped = bearer(site, Grant(Role.VIEWER, labels={"app": "shop"}))
        shop = Follower(address, PATH, **scoped).start()
        selected = Follower(address, f"{PATH}?labelSelector=app%3Dbank&status=false", **bearer(site)).start()
        only = Follower(address, f"{PATH}/b", **bearer(site)).start()
        assert told(shop.take(2)[:1]) == [("ADDED", "a")]
        assert told(selected.take(2)[:1]) == told(only.take(2)[:1]) == [("ADDED", "b")]
        site.commit({"a.yaml": machine("a", app="bank")})
        assert told(shop.take(1)) == [("DELETED", "a")]
        assert told(selected.take(1)) == [("ADDED", "a")]
        site.store.set_statuses("VirtualMachine", {"a": '{"state":"running"}', "b": '{"state":"running"}'})
        assert told(only.take(1)) == [("MODIFIED", "b")]
        site.commit({"b.yaml": machine("b", app="shop")})
        assert told(shop.take(1)) == [("ADDED", "b")]
        assert told(selected.take(1)) == [("DELETED", "b")], "a status is nothing to one who wants none"
        assert told(only.take(1)) == [("MODIFIED", "b")]
        status, _ = status_of(address, f"{PATH}/a?watch=true", **scoped)
        assert status == 404
        for one in (shop, selected, only):
            one.close()


def test_a_desired_state_that_is_refused_changes_nothing_until_it_is_mended(site: Any) -> None:
    site.commit({"a.yaml": machine("a")})
    with live(site.services) as address:
        stream = Follower(address, PATH, **bearer(site)).start()
        stream.take(2)
        site.commit({"b.yaml": "kind: Nonsense\n"})
        site.commit({"b.yaml": machine("b")})
        assert told(stream.take(1)) == [("ADDED", "b")]
        stream.close()


def test_the_end_of_the_server_ends_watches(site: Any) -> None:
    site.commit({"a.yaml": machine("a")})
    with live(site.services) as address:
        stream = Follower(address, PATH, **bearer(site)).start()
    assert [one.event for one in stream.rest()] == ["", "listed", "end"]


def test_a_token_that_is_revoked_ends_a_watch(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BEAT", 0.05)
    site.commit({"a.yaml": machine("a")})
    headers = bearer(site)
    with live(site.services) as address:
        stream = Follower(address, PATH, **headers).start()
        stream.take(2)
        for token in site.store.tokens():
            site.store.revoke_token(token, site.clock())
        (end,) = stream.rest()
        assert (end.event, end.data["reason"]) == ("end", "Unauthenticated")


def test_an_operation_is_followed_until_it_is_over(site: Any) -> None:
    site.commit({"a.yaml": machine("a")})
    number = site.store.add_request(Request(Act.START, "a"), "ann", site.clock())
    with live(site.services) as address:
        stream = Follower(address, f"/api/v1/operations/act-{number}", **bearer(site)).start()
        assert stream.take(1)[0].data["state"] == "pending"
        other = SqlStore(site.store._folder)
        other.begin_request(number, site.clock())
        assert stream.take(1)[0].data["state"] == "running"
        other.end_request(number, RequestOutcome(RequestState.DONE, "started", 0, ()), site.clock())
        other.close()
        done, end = stream.rest()
        assert (done.data["state"], done.data["message"]) == ("done", "started")
        assert (end.event, end.data["reason"]) == ("end", "Over")
        again = Follower(address, f"/api/v1/operations/act-{number}", **bearer(site)).start()
        assert [one.event for one in again.rest()] == ["", "end"]
