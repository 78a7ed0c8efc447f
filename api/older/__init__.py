"""The interfaces of the two systems that came before, on today's engine: see docs/older-apis.md.

frame.py         paths, parameters and refusals of both
jsonp.py         answers as scripts
ids.py           objects by number
deleting.py      one object, by its name
reading.py       the desired state, for those who only look
waiting.py       until something is so
orchestration.py ``/vm/create`` and its like
machines.py      its machines
volumes.py       its volumes
hosts.py         its hosts, images and types
reservations.py  ``/createVM/`` and its like
lending.py       its machines
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from falcon.asgi import App, Request, Response

from api.older import orchestration, reservations
from api.older.frame import Call, OlderPaths, answer, resource
from api.services import Services

__all__ = ["OlderPaths", "calls", "catch_the_rest", "routes"]


def calls(services: Services) -> list[Call]:
    """Every call of the older interfaces that are switched on."""
    config = services.config.older_apis
    found = orchestration.calls(services) if config.orchestration else []
    if config.reservations is not None:
        found += reservations.calls(services, config.reservations)
    return found


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """Their paths."""
    return [(call.path, resource(services, call)) for call in calls(services)]


def catch_the_rest(app: App[Request, Response], services: Services, known: Iterable[str]) -> None:
    """Let every path that nobody has be answered with 0, as the orchestration layer did, if it is on.

    Args:
        app: Gets it.
        services: Say whether it is on.
        known: Paths of everything that is served: below their first parts, an error says what it is.
    """
    if not services.config.older_apis.orchestration:
        return
    theirs = {call.path for call in calls(services)}
    ours = {path.split("/")[1] for path in known if path not in theirs} - {""}
    rest = "|".join(sorted(map(re.escape, ours)))
    app.add_sink(_nothing, re.compile(rf"/(?!(?:{rest})(?:/|$))"))  # type: ignore[arg-type]


async def _nothing(_req: Request, resp: Response, **_parts: Any) -> None:
    answer(resp, 0)
