"""Streams of server-sent events: what a client missed first, then what happens, until either side ends it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, AsyncIterator

from falcon.asgi import Request, Response

from api import sse
from api.conventions import media
from api.cursor import Cursor
from api.hub import CHUNK, Queue, Told
from api.services import Services
from api.telling import Wants
from reconciler.errors import RefusedError, StoreError
from reconciler.store.base_watch import Changes

BEAT = 15.0
"""Seconds after which an idle stream shows that it lives, and whether its caller still may."""

STREAMED = (media.JSON, media.YAML, sse.MEDIA_TYPE)
"""Media types of what can be had as a stream too."""

WHY = {
    "Stopping": "the server stops: come back with the last id",
    "TooSlow": "more waited for you than is kept: come back with the last id, and read faster",
    "Unauthenticated": "what proved who you are does so no more",
    "Over": "it is over, nothing more will happen",
    "Unavailable": "the store cannot be read now: come back with the last id",
}


def begin(resp: Response, stream: AsyncIterable[sse.Sent]) -> None:
    """Answer with a stream."""
    resp.content_type = sse.MEDIA_TYPE
    resp.set_header("Cache-Control", "no-store")
    # nginx would gather a few kilobytes of it before anybody sees them.
    resp.set_header("X-Accel-Buffering", "no")
    resp.sse = stream  # type: ignore[assignment]


def asked_for(req: Request) -> bool:
    """True if a stream is wanted: by ``Accept``, or by ``?watch=true``. HEAD never has one."""
    if req.method == "HEAD":
        return False
    accepted = req.get_header("Accept") or ""
    return bool(req.context.query.get("watch")) or sse.MEDIA_TYPE in accepted.lower()


def resumed(req: Request) -> Cursor | None:
    """Where the client comes back to, by ``Last-Event-ID``, or by ``?after=`` where headers cannot be set.

    Raises:
        BadQueryError: It is no id of ours.
    """
    given = req.get_header("Last-Event-ID")
    if given:
        return Cursor.parse(given, "Last-Event-ID")
    after = req.context.query.get("after")
    return Cursor.parse(after, "after") if after else None


def goodbye(services: Services, reason: str) -> sse.Sent:
    """The last message of a stream that the server ends."""
    services.metrics.stream_ended(reason)
    return sse.Sent(sse.message({"reason": reason, "message": WHY.get(reason, reason)}, event="end"))


async def still_known(services: Services, req: Request) -> bool:
    """False once the token was revoked, the session has ended, or a grant is gone."""
    if services.authenticator is None:
        return True
    try:
        now = await services.run(services.authenticator.authenticate, req.headers, req.scope)
    except RefusedError:
        return False
    return bool(now.grants == req.context.caller.grants)


class EventStream:
    """Events from a cursor on, or from now on; `Hub.begin` was called.

    No event is left out in silence: whatever cannot be told any more is a message of type ``gap``.

    Args:
        services: The store and the hub.
        req: The request, whose caller is looked at again and again.
        wants: Which events.
        cursor: Where the client comes back to, or None.
    """

    def __init__(self, services: Services, req: Request, wants: Wants, cursor: Cursor | None) -> None:
        self._services = services
        self._req = req
        self._wants = wants
        self._told = cursor

    async def __aiter__(self) -> AsyncIterator[sse.Sent]:
        hub, changes = self._services.hub, self._services.store.changes
        queue = Queue(self._wants, labelled=self._wants.labelled)
        try:
            now = await self._services.run(changes)
            position = self._told or Cursor.now(now)
            yield sse.Sent(sse.greeting(str(position)))
            if self._told is not None:
                async for sent, position in self._missed(self._told, now):  # noqa: B007 (used below)
                    yield sent
            hub.join(queue)
            if queue.since > position.event:
                # What came between that look and now.
                behind = position
                async for sent, position in self._missed(behind, await self._services.run(changes)):  # noqa: B007
                    yield sent
            async for sent in self._live(queue, position):
                yield sent
        except StoreError:
            yield goodbye(self._services, "Unavailable")
        finally:
            hub.leave(queue)

    async def _missed(self, after: Cursor, now: Changes) -> AsyncIterator[tuple[sse.Sent, Cursor]]:
        """What a client missed, a part at a time, each with how far that is."""
        wants = self._wants
        read = functools.partial(
            self._services.hub.read, labelled=wants.labelled, wants=wants.takes, most=CHUNK
        )
        while True:
            told, after = await self._services.run(read, after, now)
            yield sse.Sent(b"".join(item.data for item in told) or sse.position(str(after))), after
            if after.event >= now.last_event:
                return

    async def _live(self, queue: Queue, position: Cursor) -> AsyncIterator[sse.Sent]:
        while True:
            items = await queue.take(BEAT)
            if queue.ended:
                yield goodbye(self._services, queue.ended)
                return
            news = [item for item in items if _is_new(item, position)]
            if news:
                position = Cursor(position.store, news[-1].id)
                yield sse.Sent(b"".join(item.data for item in news) if len(news) > 1 else news[0].data)
            if queue.due():
                if not await still_known(self._services, self._req):
                    yield goodbye(self._services, "Unauthenticated")
                    return
                position = queue.position(position)
                yield sse.Sent(sse.position(str(position)))


def _is_new(item: Told, position: Cursor) -> bool:
    """Not told already while the client caught up."""
    return item.event is None or item.id > position.event
