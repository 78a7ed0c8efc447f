"""``/api/v1/whoami``: as whom the API knows the caller, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable

from falcon.asgi import Request, Response

from api.auth.words import caller_data
from api.conventions import media
from api.operation import Answer, operation
from api.services import Services


def routes(_services: Services) -> Iterable[tuple[str, object]]:
    """The path."""
    return [("/api/v1/whoami", WhoAmI())]


class WhoAmI:
    """The caller."""

    @operation(
        "getWhoAmI",
        summary="Who the caller is, and what they may do",
        tag="access",
        answers=(Answer(200, "The caller.", "Caller"),),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """The caller."""
        resp.set_header("Cache-Control", "no-store")
        media.say(req, resp, caller_data(req.context.caller))
