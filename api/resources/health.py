"""``/healthz``: this process answers. ``/readyz``: it can do its work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from falcon.asgi import Request, Response

from api.operation import Answer, operation
from api.schemas import FLAG, SCHEMAS, TEXT, array, thing
from api.services import Services
from reconciler.errors import ReconcilerError
from reconciler.service.logs import fields

_log = logging.getLogger(__name__)

SCHEMAS["ServerReadiness"] = thing(
    "Whether this process can do its work, and what it was judged by.",
    "ready checks",
    ready=FLAG,
    checks=array(
        thing(
            "One thing that was looked at.",
            "name ok needed message",
            name={"type": "string", "enum": ["store", "desired-state", "daemon", "last-tick"]},
            ok=FLAG,
            needed={"type": "boolean", "description": "Without it this process is not ready."},
            message=TEXT,
        )
    ),
)

DAEMON = "reconciler run"
"""For what a daemon holds the store."""

_WORDS = {
    "store": ("it can be read", "it cannot be read: the server's log says why"),
    "desired-state": (
        "it can be read",
        "the newest is refused, or cannot be read; the last good one, if there is one, is kept up: "
        "`reconciler validate` says why",
    ),
    "daemon": ("it runs", "none runs on this store: wishes are kept, and carried out once one does"),
    "last-tick": (
        "it was carried out",
        "it was refused, so nothing is done: why is the newest event TickRefused, GET /api/v1/events",
    ),
}


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths for those who watch over processes."""
    yield "/healthz", Health()
    yield "/readyz", Ready(services)


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


class Ready:
    """The process can do its work. Says only what anybody may know: no names, no messages from inside."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "getReady",
        summary="Whether this process can do its work",
        tag="health",
        answers=(
            Answer(200, "It can.", "ServerReadiness", media=("application/json",)),
            Answer(503, "It cannot now.", "ServerReadiness", media=("application/json",)),
        ),
        role=None,
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """What it was judged by."""
        checks = await self._services.run(self._checks)
        ready = all(check["ok"] for check in checks if check["needed"])
        resp.status = 200 if ready else 503
        if not ready:
            resp.set_header("Retry-After", "5")
        resp.media = {"ready": ready, "checks": checks}

    def _checks(self) -> list[dict[str, Any]]:
        services = self._services
        return [
            _check("store", services.store.changes),
            _check("desired-state", services.desired.read_newest, needed=not kept_up(services)),
            _check("daemon", lambda: daemon_runs(services), needed=False),
            _check("last-tick", lambda: _tick_went_well(services), needed=False),
        ]


def kept_up(services: Services) -> bool:
    """There is a desired state to work with, be it the last good one: whoever broke it stops nobody else."""
    try:
        services.desired.read()
    except ReconcilerError:
        return False
    return True


def _tick_went_well(services: Services) -> bool:
    tick = services.store.last_tick()
    return tick is None or tick.ok


def daemon_runs(services: Services) -> bool:
    """A daemon holds the store."""
    holder = services.store.holder()
    return holder is not None and holder.purpose == DAEMON


def _check(name: str, look: Callable[[], object], *, needed: bool = True) -> dict[str, Any]:
    try:
        ok = look() is not False
    except ReconcilerError as error:
        ok = False
        _log.warning("not ready: %s", error.message, extra=fields(check=name))
    return {"name": name, "ok": ok, "needed": needed, "message": _WORDS[name][0 if ok else 1]}
