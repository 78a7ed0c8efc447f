"""Streams of objects and operations: how they are, and then each time they are another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import falcon
from falcon.asgi import Request, Response

from api import feeds, sse, streams
from api.conventions.selectors import parse_selector
from api.hub import Queue
from api.kinds import Kind
from api.operation import BadQueryError, Header, Query
from api.services import Services
from api.views import View
from reconciler.errors import Problem
from reconciler.model.access import Role

WATCH = (
    Query("watch", {"type": "boolean"}, "A stream of what changes; so is `Accept: text/event-stream`."),
    Query("after", {"type": "string", "maxLength": 64}, "Stream only: as `Last-Event-ID`."),
)
LAST_EVENT_ID = Header(
    "Last-Event-ID", "Stream only: go on behind this one, or 410 where that is too long ago."
)

_UNFIT = ("fields", "limit", "continue")

OPERATIONS = frozenset({"open_requests", "open_operations"})
"""Topics that tell of operations."""


async def watch(
    req: Request, resp: Response, services: Services, kind: Kind, name: str | None = None
) -> None:
    """Answer with a stream of a collection, or of one object of it.

    Without ``Last-Event-ID`` it begins with all objects as ``ADDED`` and a message of type ``listed``; so
    nothing can happen between a list and its stream.

    Raises:
        falcon.HTTPGone: What happened since ``Last-Event-ID`` is not known any more, or not here.
        UnavailableError: There are too many watchers.
    """
    query = req.context.query
    unfit = [one for one in _UNFIT if query.get(one) is not None]
    if unfit:
        raise BadQueryError([Problem("query", 0, 0, one, "a stream has no such thing") for one in unfit])
    wish = feeds.Wish(_wants(req, name), bool(query.get("status", True)))
    services.hub.make_room()
    queue = Queue(lambda _told: True)
    feed = await services.run(services.feeds.join, kind, queue)
    try:
        given = req.get_header("Last-Event-ID") or query["after"]
        missed = feed.behind(given) if given else None
        if given and missed is None:
            raise falcon.HTTPGone(
                description="what changed since is not known here (any more): begin without Last-Event-ID"
            )
    except BaseException:
        services.feeds.leave(kind, queue)
        raise
    streams.begin(resp, ObjectStream(services, req, feed, queue, wish, missed))


def _wants(req: Request, name: str | None) -> Callable[[View], bool]:
    selector = parse_selector(req.context.query.get("labelSelector"))
    caller = req.context.caller

    def wants(view: View) -> bool:
        return (
            (name is None or view.name == name)
            and (selector is None or selector.fits(view.labels))
            and caller.may(Role.VIEWER, view.thing)
        )

    return wants


class ObjectStream:
    """One watcher's stream of objects.

    Args:
        services: The feeds.
        req: The request, whose caller is looked at again and again.
        feed: How the collection was when the queue was joined.
        queue: What changes from then on.
        wish: What is wanted.
        missed: What happened since the client was cut off; None for one that begins.
    """

    def __init__(
        self,
        services: Services,
        req: Request,
        feed: feeds.Feed,
        queue: Queue,
        wish: feeds.Wish,
        missed: list[feeds.Change] | None,
    ) -> None:
        self._services = services
        self._req = req
        self._feed = feed
        self._queue = queue
        self._wish = wish
        self._missed = missed

    async def __aiter__(self) -> AsyncIterator[sse.Sent]:
        self._services.hub.follow(1)
        try:
            async for data in self._begin():
                yield sse.Sent(data)
            async for data in self._live(self._feed.position):
                yield sse.Sent(data)
        finally:
            self._services.hub.follow(-1)
            self._services.feeds.leave(self._feed.kind, self._queue)

    async def _begin(self) -> AsyncIterator[bytes]:
        yield f"retry: {sse.AGAIN_AFTER}\n\n".encode()
        if self._missed is not None:
            yield self._join(self._missed) or sse.position(self._feed.position)
            return
        count = 0
        # In parts, so that a large collection does not keep the loop from everybody else.
        views = list(self._feed.views.values())
        for begin in range(0, len(views), 200):
            wanted = [view for view in views[begin : begin + 200] if self._wish.wants(view)]
            count += len(wanted)
            if wanted:
                yield b"".join(feeds.message("ADDED", view, status=self._wish.status) for view in wanted)
                await asyncio.sleep(0)
        yield sse.message({"count": count}, event="listed", id_=self._feed.position)

    async def _live(self, position: str) -> AsyncIterator[bytes]:
        while True:
            items = await self._queue.take(streams.BEAT)
            if self._queue.ended:
                yield streams.goodbye(self._services, self._queue.ended).serialize()
                return
            changes = [item.change for item in items]
            if changes:
                position = changes[-1].id
                data = self._join(changes)
                if data:
                    yield data
            if self._queue.due():
                if not await streams.still_known(self._services, self._req):
                    yield streams.goodbye(self._services, "Unauthenticated").serialize()
                    return
                yield sse.position(position)

    def _join(self, changes: list[feeds.Change]) -> bytes:
        return b"".join(change.seen_by(self._wish) for change in changes)


class OperationStream:
    """How an operation is, each time it is another, until it is over.

    Args:
        services: The hub.
        req: The request, whose caller is looked at again and again.
        look: How it is now. Blocks.
    """

    def __init__(self, services: Services, req: Request, look: Callable[[], Mapping[str, Any]]) -> None:
        self._services = services
        self._req = req
        self._look = look

    async def __aiter__(self) -> AsyncIterator[sse.Sent]:
        services, queue = self._services, Queue(lambda _told: False, topics=OPERATIONS)
        await services.run(services.hub.begin)
        services.hub.join(queue)
        said: Mapping[str, Any] = {}
        quiet = 0.0
        try:
            yield sse.Sent(f"retry: {sse.AGAIN_AFTER}\n\n".encode())
            while not queue.ended:
                now = await services.run(self._look)
                if now != said:
                    said, quiet = now, 0.0
                    yield sse.Sent(sse.message(now))
                if now["state"] not in ("pending", "running"):
                    yield streams.goodbye(services, "Over")
                    return
                # A wait is judged by the world, of which no topic tells: so it is looked at each second.
                await queue.take(1.0)
                quiet += queue.due()
                if quiet >= streams.BEAT:
                    quiet = 0.0
                    if not await streams.still_known(services, self._req):
                        queue.end("Unauthenticated")
                        break
                    yield sse.Sent(b": here\n\n")
            yield streams.goodbye(services, queue.ended)
        finally:
            services.hub.leave(queue)
