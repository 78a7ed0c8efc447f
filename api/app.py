"""Puts the app together: everything injected, every path in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import falcon
from falcon.asgi import App, Request, Response

from api import older
from api.access import Noted
from api.auth.audit import Audit
from api.auth.headers import SafeHeaders
from api.context import RequestId, WhoAsks
from api.conventions.guard import GuardedApp
from api.conventions.head import answer_head
from api.conventions.idempotency import Idempotency
from api.conventions.packing import Packing
from api.conventions.refused import ToldRefused
from api.problems import on_any_error, on_http_error, on_no_path, on_reconciler_error
from api.resources import (
    audit,
    commands,
    events,
    health,
    hosts,
    leases,
    metrics,
    objects,
    session,
    tokens,
    whoami,
)
from api.resources.documents import Documents
from api.services import Services
from reconciler.errors import ReconcilerError

Route = tuple[str, object]
"""A path and its resource."""

Routes = Callable[[Services], Iterable[Route]]

ROUTES: tuple[Routes, ...] = (
    health.routes,
    metrics.routes,
    whoami.routes,
    session.routes,
    tokens.routes,
    audit.routes,
    objects.routes,
    hosts.routes,
    leases.routes,
    events.routes,
    commands.routes,
    older.routes,
)
"""Who adds paths. Each module of `resources` that has any is named here."""


def routes(services: Services) -> list[Route]:
    """Every path of the app with its resource."""
    found = [route for part in ROUTES for route in part(services)]
    return [*found, *Documents(found).routes()]


def create_app(services: Services) -> App[Request, Response]:
    """The ASGI app.

    Args:
        services: Everything that it works with.
    """
    app: App[Request, Response] = GuardedApp(
        services.config,
        middleware=[
            RequestId(),
            older.OlderPaths(older.calls(services)),
            Noted(),
            Packing(services),
            SafeHeaders(services.config),
            ToldRefused(services),
            Audit(services),
            WhoAsks(services),
            Idempotency(services),
        ],
    )
    # The later one wins where several fit.
    app.add_error_handler(Exception, on_any_error)
    app.add_error_handler(falcon.HTTPError, on_http_error)
    app.add_error_handler(ReconcilerError, on_reconciler_error)
    found = routes(services)
    app.add_error_handler(falcon.HTTPRouteNotFound, on_no_path([path for path, _ in found]))
    for path, resource in found:
        answer_head(resource)
        app.add_route(path, resource)
    older.catch_the_rest(app, services, (path for path, _ in found))
    return app
