"""Tells with every answer that the newest desired state is refused."""

from __future__ import annotations

from typing import Any

from falcon.asgi import Request, Response

from api.services import Services

HEADER = "Reconciler-Desired-State"
"""Says ``refused`` as long as it is; what is wrong with it is told only to who may see everything."""


class ToldRefused:
    """Middleware: adds the header. It looks at no file: it says what the last look found."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process_response(self, _req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        """After the responder."""
        if getattr(self._services.desired, "trouble", None) is not None:
            resp.set_header(HEADER, "refused")
