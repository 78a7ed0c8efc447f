"""The whole tick, legible on one screen: look, plan, push, remember.

`plan`, `apply`, the daemon and a dry run share `look`; only `reconcile_once` goes on to push.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler import bookkeeping
from reconciler.allocator import Allocator
from reconciler.desired.inventory import Inventory
from reconciler.desired.last_good import LastGood
from reconciler.desired.source import Source
from reconciler.errors import BusyError, StalePlanError
from reconciler.model.config import Config
from reconciler.model.desired import DesiredState
from reconciler.model.host import Fleet, Host
from reconciler.model.placement import Decision, Record
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.model.readiness import Guests
from reconciler.model.status import Condition
from reconciler.observed.fleet import Observer
from reconciler.planner import Memo, Situation, Survey, check_limits, conditions, make_plan, survey
from reconciler.planner.hold import HELD_BACK, hold
from reconciler.planner.lent import Expansion, Lent
from reconciler.planner.stale import difference
from reconciler.provisioning import Provisioning, due, interrupt
from reconciler.push.orphans import wait_for_orphans
from reconciler.push.pusher import Pusher
from reconciler.store.base import Store, Subject

Progress = Callable[[ActionResult | str], None]

ORPHANS_MAY_TAKE = 120.0
"""Seconds that workers of a killed process get to notice and end."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything a tick works with, injected: no room finds another by itself."""

    config: Config
    source: Source | LastGood
    inventory: Inventory
    observer: Observer
    allocator: Allocator
    pusher: Pusher
    store: Store
    prober: bookkeeping.Looks | None = None
    provisioning: Provisioning | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the world gave: the inputs, who is where, and the plan that follows."""

    situation: Situation
    survey: Survey
    decisions: Mapping[str, Decision]
    plan: Plan
    guests: Guests = Guests()

    @property
    def desired(self) -> DesiredState:
        """What people asked for."""
        return self.situation.desired

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The inventory."""
        return self.situation.hosts

    @property
    def records(self) -> Mapping[str, Record]:
        """What the store knows of machines, but for those on hosts declared dead."""
        return self.situation.records

    @property
    def fleet(self) -> Fleet:
        """What the hosts answered."""
        return self.situation.fleet


@dataclass(frozen=True, slots=True)
class Tick:
    """One turn of the loop: what was seen, what was done and how it went."""

    look: Look
    results: tuple[ActionResult, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[ActionResult, ...]:
        """The actions that failed (not those skipped because of them)."""
        return tuple(result for result in self.results if result.outcome is Outcome.FAILED)


class Engine:
    """Reconciles. Keeps nothing between ticks but what makes an idle tick cheap.

    Attributes:
        rooms: What it works with.
        lent: What the members of pools came to at the last look.
    """

    def __init__(self, rooms: Rooms, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self.rooms = rooms
        self._state_dir = state_dir
        self._clock = clock
        self._memo = Memo()
        self._expansion = Expansion()
        self.lent = Lent(DesiredState("", {}))
        self._last: Look | None = None
        self._remembered: Look | None = None
        self._images_noted = 0.0
        self._statuses = bookkeeping.StatusBook()

    def look(self, uids: Mapping[str, str] | None = None) -> Look:
        """Read desired and observed state, place new machines and plan. Changes nothing, not even the store.

        Args:
            uids: Uid by machine name for new machines (those of a saved plan); else random ones.

        Raises:
            DesiredStateError: The desired state is refused.
            InventoryError: The inventory is.
        """
        situation = self._situation()
        last = self._last
        if uids is None and last is not None and self._rests(last) and _same(last.situation, situation):
            return last
        # Read only now: a lease that comes or goes is no reason to plan anew.
        situation = replace(situation, leases=self.rooms.observer.leases(situation.fleet))
        seen = survey(situation, memo=self._memo)
        # With nobody to place, what every host has to give need not even be added up.
        decisions = self.rooms.allocator.place(seen.demands, seen.capacities) if seen.demands else {}
        known = dict(uids or {})
        plan = make_plan(
            seen, decisions, new_uid=lambda vm: known.get(vm) or str(uuid.uuid4()), memo=self._memo
        )
        store, now = self.rooms.store, self._clock()
        retries = store.retries()
        plan = hold(plan, retries, {vm: bookkeeping.wish(situation.desired, vm) for vm in retries}, now)
        guests = bookkeeping.look_at_guests(store, self.rooms.prober, seen, situation.hosts, now)
        self._last = Look(situation, seen, decisions, plan, guests)
        return self._last

    def _situation(self) -> Situation:
        """The world, read once: the desired state, the hosts, and what is on record of them."""
        rooms, store = self.rooms, self.rooms.store
        lent = self.lent = self._expansion.expand(rooms.source.read(), store.members())
        hosts = rooms.inventory.hosts()
        fleet = rooms.observer.observe(hosts)
        records = bookkeeping.living_records(store, fleet)
        return Situation(
            lent.desired,
            hosts,
            fleet,
            records,
            rooms.config.owner,
            bookkeeping.never_seen(store, fleet),
            dead={vm: record for vm, record in store.records().items() if vm not in records},
            volumes=bookkeeping.living_volumes(store, fleet),
            claims=store.claims(),
            dead_hosts=frozenset(bookkeeping.dead_hosts(store, fleet)),
            addresses=store.addresses(),
            stale_images=bookkeeping.stale_images(store, rooms.config.images, self._clock()),
            held=lent.held,
            asked=lent.asked | bookkeeping.asked_for(store, lent.desired),
            members=lent.members,
        )

    def _rests(self, last: Look) -> bool:
        """True if nothing is left to do since that look: no action, no retry, no guest that is waited for.

        Retries that another process cleared since then are no reason to rest.
        """
        store = self.rooms.store
        return (
            last.plan.empty
            and not store.retries()
            and not any(refusal.reason in HELD_BACK for refusal in last.plan.blocked)
            and not last.guests.waiting
            and last.guests.provisions is store.provisions()
        )

    @property
    def clock(self) -> Callable[[], float]:
        """Epoch seconds by the wall clock."""
        return self._clock

    @property
    def seen(self) -> Look | None:
        """The newest look, whatever became of it."""
        return self._last

    def conditions(self, look: Look) -> Mapping[str, tuple[Condition, ...]]:
        """How every machine is at this look, with the times since when from the store."""
        earlier = self.rooms.store.conditions(Subject.VM)
        said = conditions(look.survey, look.plan, now=self._clock(), guests=look.guests)
        said |= bookkeeping.pool_conditions_of(self.rooms.store, look.desired)
        return {vm: _since(found, earlier.get(vm, ())) for vm, found in said.items()}

    def reconcile_once(
        self, *, push: bool = True, allow_deletions: bool = False, on_progress: Progress = lambda _: None
    ) -> Tick:
        """One whole tick.

        Raises:
            LimitError: The plan deletes too much; nothing was touched.
        """
        return self.carry_out(
            self.look(), push=push, allow_deletions=allow_deletions, on_progress=on_progress
        )

    def carry_out(
        self,
        look: Look,
        *,
        push: bool = True,
        allow_deletions: bool = False,
        on_progress: Progress = lambda _: None,
    ) -> Tick:
        """Push what `look` planned, and remember what came of it. With `push` false, only remember.

        Raises:
            LimitError: The plan deletes too much; nothing was touched.
        """
        started = time.monotonic()
        self._note_world(look)
        self._note_statuses(look)
        if self.rooms.source.trouble is None:  # else it is not what people want now
            bookkeeping.note_kept(self.rooms.store, look.desired, self._clock())
        if push:
            check_limits(look.plan, look.survey, self.rooms.config.limits, allow_deletions)
        results = self._push(look, on_progress) if push and not look.plan.empty else ()
        self._note_outcome(look, results)
        if push:
            self.provision(look)
        return Tick(look, results, time.monotonic() - started)

    def provision(self, look: Look) -> bool:
        """Begin the playbooks of machines that are ready, each once, in the background. True if any runs."""
        provisioning = self.rooms.provisioning
        if provisioning is None:
            return False
        begun = self.rooms.store.provisions()
        provisioning.begin(due(look.survey, look.guests, begun, look.plan.revision))
        return provisioning.busy

    def carry_out_part(
        self, look: Look, part: Plan, *, one_off: bool = False, on_progress: Progress = lambda _: None
    ) -> Tick:
        """Push only `part`: some of what `look` planned, or with `one_off` an act that is no desired state.

        The conditions are left to the next look, which sees all machines. An act that fails is told, and
        holds nobody up: nothing tries it again.

        Raises:
            LimitError: It deletes too much; nothing was touched.
        """
        started = time.monotonic()
        look = replace(look, plan=part)
        self._note_world(look)
        check_limits(part, look.survey, self.rooms.config.limits, allow_deletions=False)
        results = self._push(look, on_progress) if part.actions else ()
        store, now = self.rooms.store, self._clock()
        with store.transaction():
            if one_off:
                store.add_events(bookkeeping.events_of(part, results, now))
            else:
                bookkeeping.note_results(store, look.desired, part, results, self.rooms.config.retry, now)
        return Tick(look, results, time.monotonic() - started)

    def _note_world(self, look: Look) -> None:
        """Write down what was seen, before anything is changed: an intent must not be overwritten by it.

        Together: a host counts as seen only once what is on it is on record.
        """
        if look is self._remembered:
            return
        store = self.rooms.store
        with store.transaction():
            bookkeeping.note_found(store, look.survey, self._clock())
            bookkeeping.note_whereabouts(store, look.survey)
            bookkeeping.note_hosts(store, bookkeeping.with_warnings(look.survey, look.fleet), self._clock())

    def _note_statuses(self, look: Look) -> None:
        """Write down how everything was seen. Also when nothing is to do: a guest may have got an address."""
        addresses = self.rooms.observer.addresses_by_host(look.survey.observed)
        self._statuses.note(self.rooms.store, look.survey, addresses)

    def _note_outcome(self, look: Look, results: tuple[ActionResult, ...]) -> None:
        """Write down what came of it. The same look twice, with nothing done, is not worth a word."""
        store, now = self.rooms.store, self._clock()
        if results or now - self._images_noted >= bookkeeping.NOTED_EVERY:
            bookkeeping.note_images(store, look.survey, look.plan, results, now)
            self._images_noted = now
        if not results and look is self._remembered:
            return
        said = conditions(look.survey, look.plan, results, now=now, memo=self._memo, guests=look.guests)
        said |= bookkeeping.pool_conditions_of(store, look.desired)
        with store.transaction():
            bookkeeping.note_results(store, look.desired, look.plan, results, self.rooms.config.retry, now)
            bookkeeping.note_conditions(store, look.plan, said, now)
            bookkeeping.note_living(store, look.situation, said)
            bookkeeping.note_deleted(store, said)
            bookkeeping.note_guests(store, look.survey, look.guests)
        self._remembered = None if results else look

    def _push(self, look: Look, on_progress: Progress) -> tuple[ActionResult, ...]:
        """Commit the intents, then carry the plan out: this order keeps a machine from existing twice."""
        rooms = self.rooms
        plan = bookkeeping.claim(rooms.store, look.plan)
        run = bookkeeping.begin(rooms.store, plan, look.fleet, self._clock())
        results = rooms.pusher.push(plan, look.hosts, look.fleet, look.desired.templates, on_progress)
        # Not every change is followed by an event; what we did ourselves we know.
        rooms.observer.refresh({result.host for result in results})
        return bookkeeping.finish(rooms.store, run, results)

    def recover(self) -> None:
        """After a crash: wait until nothing of the last process works on a host any more, and say so.

        What its actions came to is not asked of the journal but of the hosts, by the next look.

        Raises:
            BusyError: Something of it still works.
        """
        store = self.rooms.store
        unfinished = store.unfinished_runs()
        if not wait_for_orphans(self._state_dir, ORPHANS_MAY_TAKE):
            raise BusyError(
                "workers of an apply that was interrupted are still at work on a host",
                hint="wait for them, or end the ansible-playbook processes that they belong to",
            )
        interrupt(store, self._clock())
        for run in unfinished:
            store.add_events([bookkeeping.interrupted(run, self._clock())])
            store.finish_run(run.id)

    def apply_saved(
        self, saved: Plan, *, allow_deletions: bool = False, on_progress: Progress = lambda _: None
    ) -> Tick:
        """Apply exactly `saved`.

        Raises:
            StalePlanError: The world moved: a plan made now differs from it.
        """
        uids = {change.vm: change.uid for change in saved.changes if change.decision is not None}
        look = self.look(uids=uids)
        moved = difference(saved, look.plan)
        if moved:
            raise StalePlanError(
                f"the saved plan no longer fits the world: {moved}",
                hint="make a new plan, look at it, and apply that one",
            )
        return self.carry_out(look, allow_deletions=allow_deletions, on_progress=on_progress)


def _same(last: Situation, now: Situation) -> bool:
    """True if nothing moved: an unchanged host or file is the identical object, and records are few."""
    return (
        last.desired is now.desired
        and last.hosts is now.hosts
        and last.fleet.keys() == now.fleet.keys()
        and all(last.fleet[name] is now.fleet[name] for name in now.fleet)
        and last.records == now.records
        and last.volumes == now.volumes
        and last.addresses == now.addresses
        and last.stale_images == now.stale_images
        and (last.held, last.asked, last.members) == (now.held, now.asked, now.members)
    )


def _since(now: Sequence[Condition], earlier: Sequence[Condition]) -> tuple[Condition, ...]:
    before = {condition.type: condition for condition in earlier}
    return tuple(condition.after(before.get(condition.type)) for condition in now)
