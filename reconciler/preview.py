"""Looks at the hosts and plans, for whoever only wants to know: nothing is pushed, nothing written down.

It has an engine and connections of its own, so that a question never waits for the daemon's tick, nor the
tick for a question.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from reconciler.desired.source import Source
from reconciler.engine import Engine, Look
from reconciler.errors import LimitError
from reconciler.model.plan import Plan
from reconciler.model.pool import POOL_LABEL
from reconciler.model.snapshot import Snapshot
from reconciler.planner import check_limits
from reconciler.planner.lent.expand import OLDER
from reconciler.requests import known_snapshots
from reconciler.views import show
from reconciler.views.glance import Glance


class Preview:
    """Plans for the API; safe from any thread, one look at a time.

    Args:
        engine: Its rooms are used by nobody else, but for the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rooms = engine.rooms
        self._lock = threading.Lock()
        self._begun = 0
        self._shared: tuple[int, Look] | None = None

    def plan(self, source: object | None = None) -> Plan:
        """What would be done now, or with another desired state.

        A plan over the deletion limits says so in a note.

        Args:
            source: Of `Desired.source_with`; None: what is desired.

        Raises:
            DesiredStateError: The desired state is refused.
            InventoryError: The inventory is.
        """
        look = self.look() if source is None else self._look_with(cast("Source", source))
        if source is None and (trouble := self._rooms.source.trouble) is not None:
            first = f"{trouble.problems[0]}" if trouble.problems else trouble.message
            note = f"a newer desired state is refused, and this is a plan of the last good one: {first}"
            look = replace(look, plan=replace(look.plan, notes=(note, *look.plan.notes)))
        try:
            check_limits(look.plan, look.survey, self._rooms.config.limits, allow_deletions=False)
        except LimitError as error:
            note = f"it would not be carried out: {error.message}"
            return replace(look.plan, notes=(*look.plan.notes, note))
        return look.plan

    def look(self) -> Look:
        """A look that began after this call did; those who wait for one share it. Raises as `plan` does."""
        arrived = self._begun
        with self._lock:
            if self._shared is None or self._shared[0] <= arrived:
                self._begun += 1
                self._shared = (self._begun, self._engine.look())
            return self._shared[1]

    def _look_with(self, source: Source) -> Look:
        with self._lock:
            # The same engine: of all that did not change it knows the plan already.
            self._engine.rooms = replace(self._rooms, source=source)
            try:
                look = self._engine.look()
            finally:
                self._engine.rooms = self._rooms
        return replace(look, plan=replace(look.plan, notes=(*look.plan.notes, *_made_anew(look))))

    def snapshots(self, key: str) -> Sequence[Snapshot]:
        """The snapshots that a machine, or a volume (``Volume/data``), has now.

        Raises:
            UsageError: There is no such thing.
            ReconcilerError: It is not to be found.
            HostError: Its host does not answer.
        """
        return known_snapshots(self.look(), key)

    def show(self, view: str, about: str = "") -> object:
        """What a command shows, as plain data; see `reconciler.views`.

        Raises:
            NotFoundError: There is no such view.
            ReconcilerError: There is nothing of that name to show, or its host does not answer.
        """
        return show(Glance(self._engine, self.look()), view, about)

    def host(self, name: str) -> tuple[str, str] | None:
        """How a host is now (a word of `HostStatus`), and what it said; None: the inventory has none."""
        found = self.look().fleet.get(name)
        return (str(found.status), found.message) if found is not None else None


def _made_anew(look: Look) -> Iterator[str]:
    """A sentence about each pool with machines of an older template: no plan has them while they are held."""
    machines = look.desired.machines
    old = Counter(
        machines[vm].metadata.labels.get(POOL_LABEL, "")
        for vm, refusal in look.situation.held.items()
        if refusal.reason == OLDER and vm in machines
    )
    for pool, count in sorted(old.items()):
        are = "machine is" if count == 1 else "machines are"
        yield f"{count} {are} of an older template of the pool {pool}: made anew as they become free"
