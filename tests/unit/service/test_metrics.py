from __future__ import annotations

import socket
import urllib.request

import prometheus_client
import pytest

from reconciler.errors import UsageError
from reconciler.model.host import HostStatus, ObservedHost
from reconciler.model.operations import Start
from reconciler.model.plan import Action, ActionResult, Blocked, Change, Impact, Outcome, Plan, Verb
from reconciler.model.status import Condition, ConditionStatus
from reconciler.service.metrics import Endpoint, Metrics, parse_address

READY = Condition("Ready", ConditionStatus.TRUE, "Running")
NOT_READY = Condition("Ready", ConditionStatus.FALSE, "Stopped")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"reconciler_{name}", labels)


def test_ticks() -> None:
    metrics = Metrics()
    metrics.tick(0.2, 1000.0, ok=True)
    metrics.tick(3.0, 2000.0, ok=False)
    assert value(metrics, "ticks_total", outcome="ok") == 1
    assert value(metrics, "ticks_total", outcome="failed") == 1
    assert value(metrics, "tick_seconds_sum") == 3.2
    assert value(metrics, "last_success_timestamp_seconds") == 1000


def test_hosts_that_are_unknown() -> None:
    metrics = Metrics()
    ready, slow = ObservedHost("a", HostStatus.READY), ObservedHost("b", HostStatus.SLOW)
    metrics.fleet({"a": ready, "b": slow})
    assert value(metrics, "hosts", status="Ready") == 1
    assert value(metrics, "hosts", status="DeadlineExceeded") == 1
    assert value(metrics, "unknown_hosts") == 1
    metrics.fleet({"a": ready})
    assert value(metrics, "hosts", status="DeadlineExceeded") == 0
    assert value(metrics, "unknown_hosts") == 0


def test_machines_by_condition() -> None:
    metrics = Metrics()
    metrics.machines({"web-1": (READY,), "web-2": (READY,), "web-3": (NOT_READY,)})
    assert value(metrics, "machines", condition="Ready", status="True") == 2
    assert value(metrics, "machines", condition="Ready", status="False") == 1
    metrics.machines({"web-1": (READY,)})
    assert value(metrics, "machines", condition="Ready", status="False") == 0


def test_plan_and_actions() -> None:
    metrics = Metrics()
    change = Change("web-1", "uid", "alpha", Verb.CREATE, Impact.NONE, "new")
    action = Action("web-1/start", "alpha", "web-1", "uid", Start(), Impact.NONE, "new")
    plan = Plan("rev", (change,), (action,), blocked=(Blocked("web-2", "NoHostFits", "none"),))
    metrics.plan(plan)
    assert value(metrics, "plan_changes", verb="create") == 1
    assert value(metrics, "plan_changes", verb="delete") == 0
    assert value(metrics, "plan_blocked") == 1
    metrics.results(plan, [ActionResult("web-1/start", "alpha", "web-1", Outcome.CHANGED)])
    assert value(metrics, "actions_total", kind="start", outcome="changed") == 1
    assert value(metrics, "actions_total", kind="start", outcome="failed") == 0, "there before it happens"


def test_stuck_threads() -> None:
    metrics = Metrics()
    metrics.stuck_threads(2)
    assert value(metrics, "stuck_threads") == 2


def test_nothing_is_global() -> None:
    Metrics()
    Metrics()
    assert "reconciler_" not in prometheus_client.generate_latest().decode()


def test_served_over_http() -> None:
    metrics = Metrics()
    metrics.stuck_threads(7)
    with Endpoint(metrics, "127.0.0.1:0") as endpoint:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(UsageError, match="cannot be served") as caught:
            Endpoint(metrics, f"127.0.0.1:{endpoint.port}")
        assert "daemon.metrics" in caught.value.hint
    assert "reconciler_stuck_threads 7.0" in text
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", endpoint.port)):
        pass


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (":9177", ("127.0.0.1", 9177)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9177", ("::1", 9177)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address", ["", "9177", "localhost", "localhost:", "a:65536", "a:-1", "::1:80", "a:²"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        parse_address(address)
