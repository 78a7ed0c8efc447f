"""The bytes of a request's body."""

from __future__ import annotations

from falcon.asgi import Request


async def read_body(req: Request) -> bytes:
    """The body's bytes; asked again, they are the same. `api.conventions.guard` bounds them."""
    known: bytes | None = getattr(req.context, "body", None)
    if known is None:
        known = req.context.body = await req.stream.read()
    return known
