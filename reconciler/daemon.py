"""When to tick: the period, libvirt's events, a change of the desired state. One plain sentence a tick."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from reconciler.calls import Calls
from reconciler.engine import Engine, Look, Tick
from reconciler.errors import DesiredStateError, LimitError, ReconcilerError
from reconciler.lending import Lending
from reconciler.model.config import DaemonConfig
from reconciler.model.plan import ActionResult, Impact, Outcome, Verb
from reconciler.model.status import Event
from reconciler.requests import Desk
from reconciler.service.logs import fields
from reconciler.service.metrics import Metrics
from reconciler.service.notify import Notifier, Watchdog
from reconciler.service.signals import Stop
from reconciler.service.wake import Waker
from reconciler.store.base import Subject
from reconciler.store.base import Tick as StoredTick

_log = logging.getLogger(__name__)

WATCH_EVERY = 1.0
"""Seconds between looks at whether the desired state changed."""

_LIMIT_HINT = (
    "look at the plan; if it is what you mean: `reconciler apply --allow-deletions` (--server, or with no "
    "daemon), or POST /api/v1/apply?allowDeletions=true"
)

LONGEST_SILENCE = 300.0
"""Seconds that one look, or one action of a push, may take before systemd's watchdog thinks us dead."""


class Daemon:
    """Ticks until it is asked to stop.

    A tick that fails is a sentence in the log and is tried again; it never ends the daemon.
    """

    def __init__(
        self, engine: Engine, waker: Waker, notifier: Notifier, watchdog: Watchdog, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._desk = Desk(engine)
        self._calls = Calls(engine.rooms.store)
        self._lending = Lending(engine)
        self._waker = waker
        self._notifier = notifier
        self._watchdog = watchdog
        self._metrics = metrics
        self._config: DaemonConfig = engine.rooms.config.daemon
        self._said = ""

    def run(self, stop: Stop) -> None:
        """Tick until `stop` is requested. Tells systemd when the first tick is over."""
        self._watchdog.promise(LONGEST_SILENCE)
        self._engine.recover()
        reasons: tuple[str, ...] = ("start",)
        ready = False
        while not stop.requested:
            self._watchdog.promise(LONGEST_SILENCE)
            self._desk.serve(stop, self._progress)
            if stop.requested:
                break
            busy = self._turn(reasons)
            if not ready:
                self._notifier.ready(self._said)
                ready = True
            if stop.requested:
                break
            # After a push the hosts are read again at once: what it made possible is not left for a period.
            reasons = ("pushed",) if busy else self._wait()
        self._notifier.stopping(f"stopping: {stop.reason}")
        _log.info("stopped", extra=fields(reason=stop.reason))

    def _wait(self) -> tuple[str, ...]:
        """Sleep until something happened, or the period is over. Why we woke; empty for the period."""
        deadline = time.monotonic() + self._pause()
        slice_ = WATCH_EVERY
        while True:
            pause = max(0.0, min(slice_, deadline - time.monotonic()))
            self._watchdog.promise(pause + LONGEST_SILENCE)
            reasons = self._waker.wait(pause, self._config.settle)
            if reasons or time.monotonic() >= deadline:
                return reasons
            if self._desk.waiting:
                return ("request",)
            if self._calls.waiting:
                return ("call",)
            if self._lend(self._lending.tend):
                return ("pool",)
            began = time.monotonic()
            if self._engine.rooms.source.changed():
                return ("desired state",)
            # A look at 20,000 files takes its time: it may cost two percent of one cpu, not more.
            slice_ = max(WATCH_EVERY, 50 * (time.monotonic() - began))

    def _pause(self) -> float:
        """Seconds until the next tick: the period, or less when a machine's next attempt is due before."""
        now = time.time()
        due = [r.not_before - now for r in self._engine.rooms.store.retries().values() if not r.terminal]
        due += [self._lending.due] if self._lending.due is not None else []
        return min([float(self._config.period), *(max(0.1, wait) for wait in due)])

    def _turn(self, reasons: tuple[str, ...]) -> bool:
        """One tick. True if it changed something, so that another look is worth it."""
        started = time.monotonic()
        self._watchdog.promise(LONGEST_SILENCE)
        allowed = self._calls.begin()
        fetched = self._fetch(reasons)
        self._lend(self._lending.before)
        try:
            look = self._engine.look()
            tick = self._engine.carry_out(
                look, allow_deletions=look.plan.revision in allowed, on_progress=self._progress
            )
        except ReconcilerError as error:
            self._failed(error, time.monotonic() - started)
            # The world was seen, though nothing was done: what is not ready is lent to nobody.
            return isinstance(error, LimitError) and self._see_to_pools(self._engine.seen)
        seconds = time.monotonic() - started
        sentence = sentence_of(tick)
        trouble = self._engine.rooms.source.trouble
        if trouble is not None:
            refusal = f"a newer desired state is refused: {_first(trouble)}"
            self._refused(refusal, tick.look.plan.revision)
            sentence += f"; {refusal}"
        if tick.results or fetched or sentence != self._said:
            _log.info(
                sentence, extra=fields(seconds=round(seconds, 2), because=",".join(reasons) or "period")
            )
        # Who waits for this tick takes what is said of pools for its word, too.
        moved = self._see_to_pools(tick.look)
        self._tell(sentence, tick.look.plan.revision, seconds, ok=True)
        self._measure(tick)
        return moved or any(result.outcome is Outcome.CHANGED for result in tick.results)

    def _see_to_pools(self, look: Look | None) -> bool:
        return self._lend(lambda: self._lending.after(look, self._progress))

    def _lend(self, what: Callable[[], bool]) -> bool:
        """Do something for the pools. What fails is told and tried again, and never ends the daemon."""
        try:
            return what()
        except ReconcilerError as error:
            _log.error("pools of machines: %s", error.message, extra=fields(hint=error.hint))
            return False

    def _refused(self, refusal: str, revision: str) -> None:
        """Tell once, as an event too, that people's newest wishes cannot be followed."""
        if refusal not in self._said:
            event = Event(time.time(), "DesiredStateRefused", refusal, warning=True, revision=revision)
            self._engine.rooms.store.add_events([event])

    def _fetch(self, reasons: tuple[str, ...]) -> bool:
        if reasons and "start" not in reasons:
            return False
        source = self._engine.rooms.source
        moved = source.fetch()
        for warning in source.warnings:
            _log.warning(warning)
        return moved

    def _failed(self, error: ReconcilerError, seconds: float) -> None:
        sentence = "nothing was done: " + "; ".join(line.strip() for line in error.message.splitlines())
        if sentence != self._said:
            hint = _LIMIT_HINT if isinstance(error, LimitError) else error.hint
            _log.error(sentence, extra=fields(hint=hint) if hint else {})
        self._tell(sentence, "", seconds, ok=False)

    def _tell(self, sentence: str, revision: str, seconds: float, *, ok: bool) -> None:
        """What this tick came to: counted, and told where it differs from the last one."""
        now = time.time()
        self._metrics.tick(seconds, now, ok=ok)
        self._calls.end(sentence, ok=ok)
        if sentence == self._said:
            return
        self._said = sentence
        self._notifier.status(sentence)
        self._engine.rooms.store.put_tick(StoredTick(now, sentence, revision, ok))
        if not ok:
            self._engine.rooms.store.add_events([Event(now, "TickRefused", sentence, warning=True)])

    def _measure(self, tick: Tick) -> None:
        self._metrics.fleet(tick.look.fleet)
        self._metrics.plan(tick.look.plan)
        self._metrics.results(tick.look.plan, tick.results)
        self._metrics.machines(self._engine.rooms.store.conditions(Subject.VM))

    def _progress(self, news: ActionResult | str) -> None:
        self._watchdog.promise(LONGEST_SILENCE)
        if isinstance(news, str):
            _log.info(news)
            return
        log: Callable[..., None] = _log.warning if news.outcome is Outcome.FAILED else _log.info
        told = fields(vm=news.vm, host=news.host, action=news.id, seconds=round(news.seconds, 2))
        log(f"{news.outcome}: {news.id}" + (f": {news.message}" if news.message else ""), extra=told)


_VERBS = {
    Verb.CREATE: "created",
    Verb.UPDATE: "changed",
    Verb.REPLACE: "replaced",
    Verb.DELETE: "deleted",
}


def sentence_of(tick: Tick) -> str:
    """What a tick saw and did, as one plain sentence."""
    plan = tick.look.plan
    broken = {result.vm for result in tick.failed}
    undone = {result.vm for result in tick.results if result.outcome is Outcome.SKIPPED} - broken
    touched = {action.vm for action in plan.actions}
    parts = []
    for verb, word in _VERBS.items():
        names = [
            c.vm for c in plan.changes if c.verb is verb and c.vm in touched and c.vm not in broken | undone
        ]
        if names:
            parts.append(f"{word} {_some(names)}")
    if broken - {""}:
        parts.append(f"failed on {_some(sorted(broken - {''}))}")
    if undone - {""}:
        parts.append(f"left {_some(sorted(undone - {''}))} for later")
    if not parts:
        is_as = ("machine is", "it shall be") if plan.unchanged == 1 else ("machines are", "they shall be")
        parts.append(f"{plan.unchanged} {is_as[0]} as {is_as[1]}")
    idle = [change for change in plan.changes if change.deferred and change.vm not in touched]
    waiting = [c.vm for c in idle if any(field.impact is not Impact.NONE for field in c.deferred)]
    if waiting:
        parts.append(f"a restart or consent is awaited by {_some(waiting)}")
    odd = [change.vm for change in idle if change.vm not in waiting]
    if odd:
        parts.append(f"to look at: {_some(odd)}")
    if plan.blocked:
        parts.append("blocked: " + _some([f"{entry.vm} ({entry.reason})" for entry in plan.blocked]))
    silent = sorted(name for name, host in tick.look.fleet.items() if not host.known)
    if silent:
        parts.append(f"unknown hosts: {_some(silent)}")
    return f"{plan.revision[:12]}: " + "; ".join(parts)


def _first(refused: DesiredStateError) -> str:
    """The first mistake of a refused state, and how many more there are."""
    more = f" and {len(refused.problems) - 1} more" if len(refused.problems) > 1 else ""
    return f"{refused.problems[0]}{more}" if refused.problems else refused.message


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
