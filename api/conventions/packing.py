"""gzip for larger answers (RFC 9110, 12.5.3)."""

from __future__ import annotations

import gzip
from typing import Any

from falcon.asgi import Request, Response

from api.services import Services

SMALLEST = 2048
"""Bytes; what is smaller fits into two packets anyway."""

_LEVEL = 1
"""The fastest: JSON of machines shrinks to a tenth with it already."""

_TEXTS = ("application/json", "application/yaml", "application/problem+json", "text/")


def accepts_gzip(req: Request) -> bool:
    """True if the caller takes gzip."""
    for part in (req.get_header("Accept-Encoding") or "").lower().split(","):
        name, _, options = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return options.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def pack(body: bytes) -> bytes:
    """The body, packed; the same body is packed the same."""
    return gzip.compress(body, _LEVEL, mtime=0)


class Packing:
    """Middleware: packs what is worth it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process_response(self, req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        """Once everybody else is done with the answer."""
        text = (resp.content_type or "").startswith(_TEXTS)
        if resp.sse is not None or resp.stream is not None or not text:
            return
        resp.append_header("Vary", "Accept, Accept-Encoding")
        if resp.get_header("Content-Encoding") or not accepts_gzip(req):
            return
        body = await resp.render_body()
        if body is None or len(body) < SMALLEST:
            return
        resp.text = None
        resp.data = await self._services.run(pack, body)
        resp.set_header("Content-Encoding", "gzip")
