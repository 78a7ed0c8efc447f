"""``/healthz``: this process answers."""

from __future__ import annotations

from falcon.asgi import Request, Response

from api.operation import Answer, operation


class Health:
    """The process lives."""

    @operation(
        "getHealth",
        summary="Whether this process answers",
        tag="health",
        answers=(Answer(200, "It does.", {"type": "object", "properties": {"status": {"const": "ok"}}}),),
        role=None,
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """It does."""
        resp.media = {"status": "ok"}
