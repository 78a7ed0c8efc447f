"""The document without a server: what `reconciler schema -o openapi` prints."""

from __future__ import annotations

from typing import Any, cast

from api.app import routes
from api.openapi.document import document
from api.services import Authenticator, Desired, Planner, Services
from reconciler.model.api_config import ApiConfig
from reconciler.store.base import Store


def offline(config: ApiConfig | None = None) -> dict[str, Any]:
    """The OpenAPI document of an API that is configured so.

    No responder is called, so that none of the rooms is there.
    """
    nothing = _Nothing()
    services = Services(
        config or ApiConfig(),
        "",
        cast("Store", nothing),
        cast("Desired", nothing),
        cast("Planner", nothing),
        cast("Authenticator", nothing),
    )
    return document(routes(services))


class _Nothing:
    """Stands where a room would be."""
