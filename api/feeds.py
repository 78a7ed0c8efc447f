"""Objects as they change, for all who watch a collection: compared and written once for each process.

An unchanged object is the identical `View`, so a look at 10,000 machines of which one changed is a
comparison of identities.  What changed is kept for a while, so that one who was cut off can go on; who was
away longer is told to list anew.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from api import sse
from api.hub import Queue, Told, tell
from api.kinds import Kind
from api.views import Moment, View, Views
from reconciler.errors import ReconcilerError

_log = logging.getLogger(__name__)

LOOK_EVERY = 0.1
"""Seconds between looks at a collection that is watched; the store's part of it is woken for."""

KEPT = 5000
"""Changes that are kept for those who come back."""

REST = 0.02
"""Seconds between two looks at least, however often it is woken."""

_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What one watcher wants.

    Attributes:
        wants: Which objects; never one that the caller may not see.
        status: Whether their status matters.
    """

    wants: Callable[[View], bool]
    status: bool


@dataclass(frozen=True)
class Change:
    """One object that is another now.

    Attributes:
        id: What a client that comes back tells it had last.
        before: As it was; None for one that is new.
        after: As it is; None for one that is gone.
    """

    id: str
    before: View | None
    after: View | None

    def seen_by(self, wish: Wish) -> bytes:
        """The message for one watcher; empty if it is none of its business.

        One that does not fit any more is gone for them, and one that begins to is new.
        """
        wants, status = wish.wants, wish.status
        before = self.before if self.before is not None and wants(self.before) else None
        after = self.after if self.after is not None and wants(self.after) else None
        if after is None:
            return self.message("DELETED", status=status) if before is not None else b""
        if before is None:
            return self.message("ADDED", status=status)
        if not status and before.version == after.version:
            return b""
        return self.message("MODIFIED", status=status)

    def message(self, kind: str, *, status: bool) -> bytes:
        """It as a message, made once for all who get it."""
        known = self._made.get((kind, status))
        if known is None:
            view = self.before if kind == "DELETED" and self.before is not None else self.after
            assert view is not None  # noqa: S101 (one of them is there)
            known = self._made[kind, status] = message(kind, view, self.id, status=status)
        return known

    @cached_property
    def _made(self) -> dict[tuple[str, bool], bytes]:
        return {}


def message(kind: str, view: View, id_: str = "", *, status: bool) -> bytes:
    """``{"type": …, "object": …}``."""
    return sse.raw_message(f'{{"type":"{kind}","object":{view.json(status=status)}}}', id_=id_)


@dataclass
class Feed:
    """One collection's changes.

    Attributes:
        kind: The kind.
        run: Tells this feed from one of another process, or of an earlier life.
        views: By name, as of the newest change.
        number: Of the newest change.
        log: The last changes.
    """

    kind: Kind
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    views: Mapping[str, View] = field(default_factory=dict)
    number: int = 0
    log: deque[Change] = field(default_factory=lambda: deque(maxlen=KEPT))
    moment: Moment | None = None
    queues: set[Queue] = field(default_factory=set)

    @property
    def position(self) -> str:
        """What a client tells that was told everything so far."""
        return f"{self.run}.{self.number}"

    def behind(self, id_: str) -> list[Change] | None:
        """What came after an id; None if that cannot be told (any more)."""
        run, _, number = id_.partition(".")
        if run != self.run or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        missed = self.number - int(number)
        if not 0 <= missed <= len(self.log):
            return None
        return list(self.log)[len(self.log) - missed :]

    def update(self, moment: Moment, views: Mapping[str, View]) -> list[Change]:
        """Take over how it is now; what changed."""
        before, found = self.views, []
        for name in sorted(before.keys() | views.keys()):
            old, new = before.get(name), views.get(name)
            if old is new or (old is not None and new is not None and _same(old, new)):
                continue
            self.number += 1
            found.append(Change(self.position, old, new))
        self.views, self.moment = views, moment
        self.log.extend(found)
        return found


def _same(old: View, new: View) -> bool:
    return (old.version, old.seen, old.labels) == (new.version, new.seen, new.labels)


class Feeds:
    """The feeds of one process, and the thread that looks for them. Safe from any thread.

    Args:
        views: How objects are.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._lock = threading.RLock()
        self._feeds: dict[str, Feed] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def join(self, kind: Kind, queue: Queue) -> Feed:
        """Tell this one of changes from now on; how things are at that moment is `Feed.views`. Blocks.

        Returns:
            A copy of the feed as it is: views, position and log belong together.

        Raises:
            DesiredStateError: The desired state is refused.
        """
        with self._lock:
            feed = self._feeds.get(kind.name) or Feed(kind)
            self._look(feed)
            self._feeds[kind.name] = feed
            feed.queues.add(queue)
            if self._stopped:
                queue.end("Stopping")
            elif self._thread is None:
                self._thread = threading.Thread(target=self._keep_looking, name="api-feeds", daemon=True)
                self._thread.start()
            return Feed(kind, feed.run, feed.views, feed.number, deque(feed.log, maxlen=KEPT))

    def leave(self, kind: Kind, queue: Queue) -> None:
        """Tell this one no more. The feed stays, for those who come back."""
        feed = self._feeds.get(kind.name)
        if feed is not None:
            # Not under the lock, which is held while a large collection is read: the loop must not wait.
            feed.queues.discard(queue)

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Tell all watchers that the server stops, and look no more."""
        with self._lock:
            self._stopped = True
            thread = self._thread
            self._end_all("Stopping")
        self._wake.set()
        if thread is not None:
            thread.join(5.0)

    def _end_all(self, reason: str) -> None:
        for feed in self._feeds.values():
            for queue in tuple(feed.queues):
                tell(queue, queue.end, reason)

    def _keep_looking(self) -> None:
        trouble = ""
        while not self._stopped:
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()
            try:
                with self._lock:
                    watched = any(feed.queues for feed in self._feeds.values())
                    for feed in self._feeds.values() if watched else ():
                        self._look(feed)
                trouble = ""
            except ReconcilerError as error:
                # A desired state that is refused is none: what was true before stays true until it is mended.
                if error.message != trouble:
                    _log.warning("what is watched cannot be read: %s", error.message)
                trouble = error.message
                self._wake.wait(_RETRY)
            except Exception:  # noqa: BLE001 - the thread's outer edge: nobody must wait for what never comes
                _log.exception("telling those who watch failed")
                with self._lock:
                    self._end_all("Unavailable")
                self._wake.wait(_RETRY)
            time.sleep(REST)

    def _look(self, feed: Feed) -> None:
        """Find what changed, and tell it. Under the lock, so that who joins meanwhile misses nothing."""
        moment = self._views.moment(feed.kind)
        if moment is feed.moment:
            return
        first = feed.moment is None
        whole = self._views.whole(moment, status=True)
        changes = feed.update(moment, dict(zip(whole.names, whole.views, strict=True)))
        if first or not changes:
            return
        items = [Told(0, None, b"", change=change) for change in changes]
        for queue in tuple(feed.queues):
            tell(queue, queue.put, items)
