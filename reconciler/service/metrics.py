"""What Prometheus may ask: counts only, never a machine's name, so that their number stays small."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Mapping, Sequence
from threading import Thread
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from reconciler.errors import UsageError
from reconciler.model.host import Fleet, HostStatus
from reconciler.model.plan import ActionResult, Outcome, Plan, Verb
from reconciler.model.status import Condition

_TICK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """All metrics, in a registry of their own.

    Every method may be called from any thread.  Label values that are known beforehand are there from
    the start, so that a rule such as ``increase(...{outcome="failed"}) > 0`` sees the first failure.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._ticks = self._counter("ticks", "Ticks by outcome: ok or failed.", "outcome")
        self._seconds = Histogram(
            "reconciler_tick_seconds", "How long a tick took.", registry=self.registry, buckets=_TICK_BUCKETS
        )
        self._success = self._gauge("last_success_timestamp_seconds", "When a tick last went well.")
        self._hosts = self._gauge("hosts", "Hosts by status.", "status")
        self._unknown = self._gauge("unknown_hosts", "Hosts whose machines cannot be known.")
        self._machines = self._gauge(
            "machines", "Machines by condition and its status.", "condition", "status"
        )
        self._changes = self._gauge("plan_changes", "Machines that the last plan changes, by verb.", "verb")
        self._blocked = self._gauge("plan_blocked", "Machines that the last plan could not plan.")
        self._actions = self._counter(
            "actions", "Actions carried out, by kind and outcome.", "kind", "outcome"
        )
        self._stuck = self._gauge("stuck_threads", "Threads that libvirt has not given back.")
        self._counted: Mapping[str, Sequence[Condition]] | None = None
        self._conditions_met: set[tuple[str, str]] = set()
        for outcome in ("ok", "failed"):
            self._ticks.labels(outcome)
        self.plan(Plan(revision="", changes=(), actions=()))
        self.fleet({})

    def tick(self, seconds: float, now: float, *, ok: bool) -> None:
        """A tick is over.

        Args:
            seconds: How long it took.
            now: Epoch seconds.
            ok: It did what it was there for, whatever became of single machines.
        """
        self._ticks.labels("ok" if ok else "failed").inc()
        self._seconds.observe(seconds)
        if ok:
            self._success.set(now)

    def fleet(self, fleet: Fleet) -> None:
        """What the hosts answered."""
        count = Count(host.status for host in fleet.values())
        for status in HostStatus:
            self._hosts.labels(status.value).set(count[status])
        self._unknown.set(sum(not host.known for host in fleet.values()))

    def machines(self, conditions: Mapping[str, Sequence[Condition]]) -> None:
        """How the machines are. The same object as the last time costs nothing."""
        if conditions is self._counted:
            return
        self._counted = conditions
        count = Count((c.type, c.status.value) for each in conditions.values() for c in each)
        self._conditions_met |= count.keys()
        for kind, status in self._conditions_met:
            self._machines.labels(kind, status).set(count[kind, status])

    def plan(self, plan: Plan) -> None:
        """What this tick's plan changes."""
        count = Count(change.verb for change in plan.changes)
        for verb in Verb:
            self._changes.labels(verb.value).set(count[verb])
        self._blocked.set(len(plan.blocked))

    def results(self, plan: Plan, results: Iterable[ActionResult]) -> None:
        """What became of the plan's actions."""
        kinds = {action.id: action.operation.kind for action in plan.actions}
        for result in results:
            kind = kinds.get(result.id, "unknown")
            for outcome in Outcome:
                self._actions.labels(kind, outcome.value)
            self._actions.labels(kind, result.outcome.value).inc()

    def stuck_threads(self, number: int) -> None:
        """How many threads libvirt has not given back."""
        self._stuck.set(number)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(f"reconciler_{name}", help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(f"reconciler_{name}", help_, labels, registry=self.registry)


class Endpoint:
    """Serves metrics over HTTP within a ``with`` block.

    Args:
        metrics: What is served.
        address: ``host:port``, ``[ipv6]:port`` or ``:port`` (this machine only); port 0 takes a free one.

    Raises:
        UsageError: The address is malformed, or cannot be listened on.
    """

    def __init__(self, metrics: Metrics, address: str) -> None:
        host, port = parse_address(address)
        self._server: WSGIServer
        self._thread: Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry=metrics.registry)
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served on {address}: {error.strerror}",
                hint="set daemon.metrics in reconciler.yaml to an address of this machine and a free port",
            ) from error
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def parse_address(address: str, purpose: str = "serve metrics on") -> tuple[str, int]:
    """Host and port of ``host:port``; no host means this machine only.

    Args:
        address: What somebody wrote.
        purpose: What it is for, for the message.

    Raises:
        UsageError: It is something else.
    """
    host, separator, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not 0 <= number <= 65535 or (":" in host and not bracketed):
        raise UsageError(
            f"{address!r} is not an address to {purpose}",
            hint="write for example 127.0.0.1:9177, [::1]:9177 or :9177",
        )
    return (host.strip("[]") or "127.0.0.1"), number
