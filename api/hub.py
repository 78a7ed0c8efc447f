"""One reader a process: it looks at what the store's other users committed, and tells all who watch.

Each event is read and written as bytes once, whatever the number of watchers.  A watcher has a bounded queue;
one that does not keep up is cut off with a word why, and loses nothing: it comes back with the id that it had
last, and the store has the rest.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from api.cursor import Cursor, Gap, gap
from reconciler.errors import ReconcilerError, UnavailableError
from reconciler.model.status import Event
from reconciler.store.base_watch import Changes

_log = logging.getLogger(__name__)

LOOK_EVERY = 0.01
"""Seconds between looks at the store, as long as anybody watches."""

REST = 0.004
"""Seconds between two looks at least, however often it is woken."""

CHUNK = 500
"""Events that are read at once."""

MOST_QUEUED = 20_000
"""Messages that wait for one watcher; then it is cut off. One tick may well tell of 10,000 machines."""

MOST_BYTES = 8 << 20
"""Bytes that wait for one watcher; then it is cut off. They are the same bytes for all watchers."""

MOST_WATCHERS = 2000
"""Watchers of one process."""

_RETRY = 1.0


class Source(Protocol):
    """What the hub reads; the `Store` has it."""

    def changes(self) -> Changes:
        """What moved so far."""

    def events(self, *, after: int = 0, limit: int = 100, oldest_first: bool = False) -> tuple[Event, ...]:
        """The next events after an id."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something to tell: an event, or that some are missing.

    Attributes:
        id: Of the event, or of the last one that is missing.
        event: The event; None for a gap.
        data: Bytes to send.
        labels: Of the machine, or other object, that it is about; empty where none are known.
        change: For those who watch objects: what changed.
    """

    id: int
    event: Event | None
    data: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    change: Any = None


Wants = Callable[[Told], bool]
"""Whether a watcher is to be told."""


class Queue:
    """What waits for one watcher. Only touched in the loop of its watcher.

    Args:
        wants: Which events.
        topics: Names of `Changes.topics` that it wants to be woken for.
        labelled: It decides by labels, which costs a look at the desired state.
    """

    def __init__(self, wants: Wants, *, topics: frozenset[str] = frozenset(), labelled: bool = False) -> None:
        self.wants = wants
        self.topics = topics
        self.labelled = labelled
        self.loop = asyncio.get_running_loop()
        self.ended = ""
        self.since = 0
        self._reached: Cursor | None = None
        self._waiting: deque[Told] = deque()
        self._bytes = 0
        self._moved: set[str] = set()
        self._woken = False
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = False

    def put(self, items: Sequence[Told]) -> None:
        """Something happened."""
        wanted = [item for item in items if self.wants(item)]
        if not wanted or self.ended:
            return
        self._waiting.extend(wanted)
        self._bytes += sum(len(item.data) for item in wanted)
        if len(self._waiting) > MOST_QUEUED or self._bytes > MOST_BYTES:
            self.end("TooSlow")
        self._wake()

    def reach(self, cursor: Cursor) -> None:
        """All events up to here were put, or are not wanted."""
        self._reached = cursor

    def position(self, told: Cursor) -> Cursor:
        """How far one has followed who was told up to `told` and has taken everything that waited."""
        if self._waiting or self._reached is None or self._reached.event < told.event:
            return told
        return self._reached

    def move(self, topics: frozenset[str]) -> None:
        """These were written."""
        mine = topics & self.topics
        if mine:
            self._moved |= mine
            self._wake()

    def end(self, reason: str) -> None:
        """Nothing more is told, and what still waits is not either: a CamelCase word why."""
        self.ended = self.ended or reason
        self._waiting.clear()
        self._bytes = 0
        self._wake()

    async def take(self, beat: float) -> list[Told]:
        """What there is to tell; nothing when a beat is due, or it ended, or a topic moved.

        Args:
            beat: Seconds from one beat to the next, whatever there is to tell.
        """
        # One timer for all that comes until then: hundreds are woken at once, and each timer costs.
        if self._timer is None and not self._due:
            self._timer = self.loop.call_later(beat, self._beat)
        if not self._woken:
            self._sleeper = self.loop.create_future()
            try:
                await self._sleeper
            finally:
                self._sleeper = None
        self._woken = False
        items = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return items

    def due(self) -> bool:
        """True once for each beat."""
        due, self._due = self._due, False
        return due

    def _beat(self) -> None:
        self._timer, self._due = None, True
        self._wake()

    def _wake(self) -> None:
        self._woken = True
        if self._sleeper is not None:
            _finish(self._sleeper)

    def moved(self) -> frozenset[str]:
        """Topics that were written since the last call."""
        found = frozenset(self._moved)
        self._moved.clear()
        return found


class Teller(Protocol):
    """Writes what watchers get; `api.telling.Teller` does."""

    def event(self, event: Event, cursor: Cursor) -> bytes:
        """An event."""

    def gap(self, missing: Gap, cursor: Cursor) -> bytes:
        """That some are missing."""

    def labels(self, event: Event) -> Mapping[str, str]:
        """Labels of what it is about. Blocks."""


class Hub:
    """Tells watchers what happens. Methods may be called from any thread unless they say otherwise.

    Args:
        store: What it reads.
        look_every: Seconds between looks.
    """

    teller: Teller
    """Writes what watchers get; set before anybody watches."""

    def __init__(self, store: Source, look_every: float = LOOK_EVERY) -> None:
        self.store = store
        self._look_every = look_every
        self._queues: set[Queue] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._others = 0
        self._seen: Changes | None = None

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._queues) + self._others

    def follow(self, count: int) -> None:
        """So many more follow objects instead of events; in the loop."""
        self._others += count

    def wake(self, _reason: str = "") -> None:
        """Look now: something was committed in this process."""
        self._wake.set()

    def stop(self) -> None:
        """Tell all watchers that the server stops, and look no more."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._end_all("Stopping")
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)

    def begin(self) -> Changes:
        """Look by itself from now on, if it does not yet; what was seen so far. Blocks.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._lock:
            if self._seen is None or self._thread is None:
                self._seen = self.store.changes()
            self._look_by_itself()
            return self._seen

    def make_room(self) -> None:
        """Refuse one watcher too many.

        Raises:
            UnavailableError: There are so many already.
        """
        if self.watchers >= MOST_WATCHERS:
            message = f"{MOST_WATCHERS} watchers are there already"
            raise UnavailableError(message, hint="end some, or ask another server", retry_after=30.0)

    def join(self, queue: Queue) -> None:
        """Tell this one from now on; `queue.since` is the event after which that begins.

        Call `begin` before, and this in the loop of the watcher.
        """
        with self._lock:
            queue.since = self._seen.last_event if self._seen is not None else 0
            self._queues.add(queue)
            self._look_by_itself()
            if self._stopped:
                queue.end("Stopping")

    def leave(self, queue: Queue) -> None:
        """Tell this one no more."""
        with self._lock:
            self._queues.discard(queue)

    def _look_by_itself(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._keep_looking, name="api-hub", daemon=True)
            self._thread.start()

    def _keep_looking(self) -> None:
        idle = 0.0
        while not self._stopped:
            self._wake.wait(self._look_every)
            self._wake.clear()
            if self._stopped:
                return
            try:
                self._look()
            except ReconcilerError as error:
                # Nobody was told anything, so the next look tells all of it.
                _log.warning("the store cannot be read for those who watch: %s", error.message)
                self._wake.wait(_RETRY)
            except Exception:  # noqa: BLE001 - the thread's outer edge: nobody must wait for what never comes
                _log.exception("telling those who watch failed")
                self._end_all("Unavailable")
                self._wake.wait(_RETRY)
            # After a while without watchers there is nobody to look for.
            idle = 0.0 if self._queues else idle + self._look_every
            if idle > 10.0 and self._rest():
                return
            time.sleep(REST)

    def _end_all(self, reason: str) -> None:
        with self._lock:
            queues = list(self._queues)
        for queue in queues:
            tell(queue, queue.end, reason)

    def _rest(self) -> bool:
        with self._lock:
            if not self._queues:
                self._thread = None
            return self._thread is None

    def _look(self) -> None:
        """Read what is new, and give it to everybody."""
        seen, now = self._seen, self.store.changes()
        if seen is None or now is seen:
            return
        items: list[Told] = []
        if now.last_event != seen.last_event or now.store != seen.store:
            labelled = any(queue.labelled for queue in self._queues)
            items, _ = self.read(Cursor.now(seen), now, labelled=labelled)
        moved = frozenset(
            name for name, version in now.topics.items() if seen.topics.get(name) != version
        ) | (seen.topics.keys() - now.topics.keys())
        with self._lock:
            self._seen = now
            queues = list(self._queues)
        by_loop: dict[asyncio.AbstractEventLoop, list[Queue]] = {}
        for queue in queues:
            by_loop.setdefault(queue.loop, []).append(queue)
        for mine in by_loop.values():
            tell(mine[0], _deliver, mine, items, moved, Cursor.now(now))

    def read(
        self,
        after: Cursor,
        now: Changes,
        *,
        labelled: bool,
        wants: Callable[[Event, Mapping[str, str]], bool] = lambda _event, _labels: True,
        most: float = math.inf,
    ) -> tuple[list[Told], Cursor]:
        """Events behind a cursor with what is missing before them, and how far that is. Blocks.

        Args:
            after: Behind this one.
            now: Up to the last event that this knows of.
            labelled: With labels.
            wants: Only these events.
            most: Look at so many events, or a few more.
        """
        told: list[Told] = []
        looked = 0
        while looked < most:
            chunk = self.store.events(after=after.event, limit=CHUNK, oldest_first=True)
            # Asked behind the events: what was pruned while they were read is missing too.
            missing = gap(after, self.store.changes())
            if missing is not None:
                after = Cursor(now.store, missing.last if missing.reason == "Pruned" else 0)
                told.append(Told(after.event, None, self.teller.gap(missing, after)))
                continue
            for event in (event for event in chunk if event.id <= now.last_event):
                after = Cursor(now.store, event.id)
                labels = self.teller.labels(event) if labelled else {}
                if wants(event, labels):
                    told.append(Told(event.id, event, self.teller.event(event, after), labels))
            looked += len(chunk)
            if len(chunk) < CHUNK or chunk[-1].id >= now.last_event:
                return told, max(after, Cursor.now(now), key=lambda cursor: cursor.event)
        return told, after


def _finish(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _deliver(queues: Sequence[Queue], items: Sequence[Told], moved: frozenset[str], reached: Cursor) -> None:
    for queue in queues:
        if items:
            queue.put(items)
        queue.reach(reached)
        if moved:
            queue.move(moved)


def tell(queue: Queue, work: Callable[..., object], *arguments: object) -> None:
    """Do this in the loop of the queue's watcher. From any thread."""
    try:
        queue.loop.call_soon_threadsafe(work, *arguments)
    except RuntimeError:
        # Its loop ended, and with it the watcher.
        _log.debug("a watcher's loop is closed")
