"""Puts the app together: everything injected, every path in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import falcon
from falcon.asgi import App, Request, Response

from api.context import RequestId, WhoAsks
from api.problems import on_any_error, on_http_error, on_reconciler_error
from api.resources.health import Health
from api.services import Services
from reconciler.errors import ReconcilerError

Route = tuple[str, object]
"""A path and its resource."""

Routes = Callable[[Services], Iterable[Route]]

ROUTES: tuple[Routes, ...] = (lambda _services: [("/healthz", Health())],)
"""Who adds paths. Each module of `resources` that has any is named here."""


def routes(services: Services) -> list[Route]:
    """Every path of the app with its resource."""
    return [route for part in ROUTES for route in part(services)]


def create_app(services: Services) -> App[Request, Response]:
    """The ASGI app.

    Args:
        services: Everything that it works with.
    """
    app: App[Request, Response] = App(middleware=[RequestId(), WhoAsks(services)])
    # The later one wins where several fit.
    app.add_error_handler(Exception, on_any_error)
    app.add_error_handler(falcon.HTTPError, on_http_error)
    app.add_error_handler(ReconcilerError, on_reconciler_error)
    for path, resource in routes(services):
        app.add_route(path, resource)
    return app
