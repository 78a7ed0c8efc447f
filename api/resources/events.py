"""``/events``: what happened, as a list or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from falcon.asgi import Request, Response

from api import sse, streams
from api.conventions import media
from api.conventions.pages import CONTINUE, make_token, parse_page
from api.cursor import Cursor
from api.operation import Answer, Header, Query, operation
from api.schemas import FLAG, NUMBER, SCHEMAS, TEXT, TIME, listing, thing
from api.services import Services
from api.telling import Teller, Wants, event_data
from reconciler.model.status import Event

SCHEMAS["Event"] = thing(
    "Something that happened.",
    "id time reason message vm host warning revision",
    id=NUMBER,
    time=TIME,
    reason={"type": "string", "description": "One CamelCase word for programs."},
    message=TEXT,
    vm={"type": "string", "description": "The machine, or `Kind/name@host` of another object; or empty."},
    host={"type": "string", "description": "The host, or empty."},
    warning=FLAG,
    revision={"type": "string", "description": "Of the desired state that it has to do with, or empty."},
)
SCHEMAS["EventList"] = listing("Event")
SCHEMAS["EventList"]["properties"]["cursor"] = {
    "type": "string",
    "description": "Give it as `Last-Event-ID`, or `after`, to follow from here on without a gap.",
}

_PAGE = 200
"""Events that are read at once, when not all of them may be shown."""

_QUERY = (
    Query("vm", {"type": "string", "maxLength": 512}, "Only of this machine, or `Kind/name@host`."),
    Query("host", {"type": "string", "maxLength": 255}, "Only of this host."),
    Query("warning", {"type": "boolean"}, "`true`: only warnings; `false`: only others."),
    Query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "At most so many.", default=100),
    CONTINUE,
    Query("watch", {"type": "boolean"}, "A stream of what happens from now on.", default=False),
    Query("after", {"type": "string", "maxLength": 64}, "Stream only: as `Last-Event-ID`."),
)


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths of events."""
    services.hub.teller = Teller(services)
    yield "/api/v1/events", Events(services)


class Events:
    """What happened."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "listEvents",
        summary="List events, or follow them",
        description=(
            "Newest first. With `Accept: text/event-stream` (or `watch=true`) it is a stream of server-sent "
            "events: each message has an event as JSON, and its id. One who comes back with `Last-Event-ID` "
            "gets what happened meanwhile; what cannot be told any more is a message of type `gap` with "
            "`from` and `to`. A message of type `end` says why the server ends a stream."
        ),
        tag="events",
        query=_QUERY,
        headers=(Header("Last-Event-ID", "Stream only: go on behind this one."),),
        answers=(
            Answer(
                200,
                "Those about things that the caller may see.",
                "EventList",
                media=(media.JSON, media.YAML, sse.MEDIA_TYPE),
            ),
        ),
        problems=(503,),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of them, or all that come."""
        query, services = req.context.query, self._services
        wants = Wants(req.context.caller, query["vm"], query["host"], query["warning"])
        if streams.asked_for(req):
            cursor = streams.resumed(req)
            services.hub.make_room()
            await services.run(services.hub.begin)
            streams.begin(resp, streams.EventStream(services, req, wants, cursor))
            return
        media.say(req, resp, await services.run(self._listed, wants, query))

    def _listed(self, wants: Wants, query: Mapping[str, Any]) -> dict[str, Any]:
        """A page, newest first. What comes meanwhile is on none of the pages that follow."""
        store = self._services.store
        page = parse_page(query["limit"], query["continue"], "events", wants.vm, wants.host, wants.warning)
        changes = store.changes()
        before = int(page.after) if page.after else changes.last_event + 1
        items: list[Event] = []
        limit = int(query["limit"])
        while len(items) <= limit:
            chunk = store.events(before=before, vm=wants.vm, host=wants.host, limit=max(limit + 1, _PAGE))
            items += [event for event in chunk if wants.takes(event, self._labels(event, wants))]
            if len(chunk) < max(limit + 1, _PAGE):
                break
            before = chunk[-1].id
        said: dict[str, Any] = {"items": [event_data(event) for event in items[:limit]]}
        if len(items) > limit:
            said["continue"] = make_token(str(items[limit - 1].id), page)
        return said | {"cursor": str(Cursor.now(changes))}

    def _labels(self, event: Event, wants: Wants) -> Mapping[str, str]:
        return self._services.hub.teller.labels(event) if wants.labelled else {}
