"""What Prometheus may ask about the REST API: counts by operation, never an object's name."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """All metrics of the API, in the daemon's registry or in one of their own. Safe from any thread.

    Args:
        registry: Where other metrics of this process are; None for a new one with the process's own figures.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry = registry
        self._requests = Counter(
            "reconciler_api_requests",
            "Requests by operation, method and status; the operation of an unknown path is empty.",
            ("operation", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "reconciler_api_request_seconds",
            "How long requests took, streams left out.",
            ("operation",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._open = Gauge("reconciler_api_requests_in_flight", "Requests at work.", registry=registry)
        self._watchers = Gauge("reconciler_api_watchers", "Event streams that are open.", registry=registry)
        self._cut = Counter(
            "reconciler_api_streams_ended", "Streams that the server ended.", ("reason",), registry=registry
        )
        self._groups = Histogram(
            "reconciler_api_write_group",
            "Writes that became commits together.",
            registry=registry,
            buckets=_SIZES,
        )
        self._members = Gauge(
            "reconciler_pool_members", "Machines of pools by state.", ("state",), registry=registry
        )
        self._leases = Gauge("reconciler_leases", "Leases that are open.", registry=registry)
        self._waiters = Gauge("reconciler_lease_waiters", "Who waits for a machine.", registry=registry)
        self._daemon = Gauge(
            "reconciler_daemon_up", "1 if a daemon holds the store that this server reads.", registry=registry
        )

    def begun(self) -> None:
        """A request is there."""
        self._open.inc()

    def answered(self, operation: str, method: str, status: int, seconds: float | None) -> None:
        """A request is over.

        Args:
            operation: Its ``operationId``; empty where there is none.
            method: As the client wrote it.
            status: HTTP status; 0 if the client left before there was one.
            seconds: How long it took; None for a stream.
        """
        self._open.dec()
        # A client may invent methods: one label for all of them.
        known = method if method in _METHODS else "other"
        self._requests.labels(operation, known, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(operation).observe(seconds)

    def stream_ended(self, reason: str) -> None:
        """The server ended a stream, and why."""
        self._cut.labels(reason).inc()

    def grouped(self, writes: int) -> None:
        """So many writes became commits together."""
        self._groups.observe(writes)

    def told(self, *, watchers: int, daemon: bool, leases: int, waiters: int) -> None:
        """How things are right now."""
        self._watchers.set(watchers)
        self._daemon.set(daemon)
        self._leases.set(leases)
        self._waiters.set(waiters)

    def members(self, count: Mapping[str, int]) -> None:
        """Machines of pools, by state; every state is named."""
        for state, number in count.items():
            self._members.labels(state).set(number)

    def text(self) -> bytes:
        """All metrics of the registry, for Prometheus."""
        return generate_latest(self.registry)
