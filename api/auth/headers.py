"""Headers that every answer has, so that a browser does no more with it than it must."""

from __future__ import annotations

from typing import Any

from falcon.asgi import Request, Response

from api.auth.forgery import origin_of
from reconciler.model.api_config import ApiConfig

HSTS = "max-age=31536000"
"""Once seen over TLS, a browser does not come back without it for a year."""

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Our own pages' requests must be told from others' (`api.auth.forgery`).
    "Referrer-Policy": "same-origin",
}
_CONTENT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class SafeHeaders:
    """Middleware: adds them; a resource that set one itself knows better, but may not be framed either.

    There is no CORS: without it no page of another origin reads an answer.

    Args:
        config: Says whose pages may have answers as scripts.
    """

    def __init__(self, config: ApiConfig) -> None:
        self._origins = config.origins

    async def process_response(self, req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        """After the responder."""
        for name, value in _ALWAYS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, value)
        content = resp.get_header("Content-Security-Policy") or _CONTENT
        if "frame-ancestors" not in content:
            content += "; frame-ancestors 'none'"
        resp.set_header("Content-Security-Policy", content)
        if resp.get_header("Cross-Origin-Resource-Policy") is None:
            friend = origin_of(req.headers) in self._origins
            resp.set_header("Cross-Origin-Resource-Policy", "cross-origin" if friend else "same-origin")
        if resp.get_header("Cache-Control") is None:
            # Each answer depends on who asks; a validator makes asking again cheap.
            kept = resp.get_header("ETag") is not None
            resp.set_header("Cache-Control", "private, no-cache" if kept else "no-store")
        if req.scope.get("scheme") == "https":
            resp.set_header("Strict-Transport-Security", HSTS)
