"""``/metrics``: what Prometheus may ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from falcon.asgi import Request, Response

from api.operation import Answer, operation
from api.resources.health import daemon_runs
from api.services import Services
from reconciler.model.pool import MemberState
from reconciler.service.api_metrics import MEDIA_TYPE


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The path of metrics."""
    yield "/metrics", Metrics(services)


class Metrics:
    """Counts and times, never an object's name."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "getMetrics",
        summary="Metrics for Prometheus",
        description="In the text format of Prometheus. A scraper needs a token of a viewer.",
        tag="health",
        answers=(Answer(200, "All metrics of this process.", {"type": "string"}, media=("text/plain",)),),
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """What is known now."""
        resp.data = await self._services.run(self._text)
        resp.content_type = MEDIA_TYPE

    def _text(self) -> bytes:
        services, metrics = self._services, self._services.metrics
        store = services.store
        members = store.members()
        count = Counter(member.state for member in members)
        metrics.members({str(state): count[state] for state in MemberState})
        now = store.lease_time()
        metrics.told(
            watchers=services.hub.watchers,
            daemon=daemon_runs(services),
            leases=len(store.leases()),
            waiters=sum(len(store.waiters(pool, now)) for pool in {member.pool for member in members}),
        )
        return metrics.text()
