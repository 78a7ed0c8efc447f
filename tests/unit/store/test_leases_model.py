"""Leases against a model of a few dictionaries, over any order of steps, two processes and reopening."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from reconciler.model.pool import Lease, Member, MemberState, Waiter
from reconciler.store.base_leases import DEMAND, PATIENCE, Checkout, Spent
from reconciler.store.sql import SqlStore

POOLS = ("a", "b")
HOLDERS = ("ann", "bob", "cat")
FREE = [state for state in MemberState if state is not MemberState.LEASED]
pools, holders = st.sampled_from(POOLS), st.sampled_from(HOLDERS)
slots = st.integers(1, 4)


@dataclass
class Place:
    """Somebody in the model's line."""

    id: int
    pool: str
    holder: str
    seen: float
    key: str


@dataclass
class Model:
    """What should be."""

    members: dict[str, Member] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    line: list[Place] = field(default_factory=list)
    asked: dict[tuple[str, str], float] = field(default_factory=dict)
    keys: dict[str, tuple[Checkout, str]] = field(default_factory=dict)

    def free(self, pool: str) -> list[str]:
        found = [m for m in self.members.values() if m.pool == pool and m.state is MemberState.AVAILABLE]
        return [one.vm for one in sorted(found, key=lambda one: (one.since, one.slot))]

    def waiting(self, pool: str, now: float) -> list[Place]:
        return [one for one in self.line if one.pool == pool and one.seen >= now - PATIENCE]

    def end(self, lease: str, now: float) -> None:
        vm = self.leases.pop(lease).vm
        self.members[vm] = replace(self.members[vm], state=MemberState.CLEANING, since=now, message="")


class Leases(RuleBasedStateMachine):
    """The store beside the model."""

    ids: Bundle[str] = Bundle("ids")
    waiters: Bundle[int] = Bundle("waiters")

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a place: nothing is shown here of what a power failure does.
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.stores = [SqlStore(self.folder), SqlStore(self.folder)]
        self.store = self.stores[0]
        self.model = Model()
        self.now = 1000.0

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    @rule(seconds=st.sampled_from([0.5, 3.0, PATIENCE - 1, PATIENCE + 1, DEMAND + 1]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def another_process(self) -> None:
        self.stores.reverse()
        self.store = self.stores[0]

    @rule()
    def reopened(self) -> None:
        self.stores[0].close()
        self.store = self.stores[0] = SqlStore(self.folder)

    @rule(pool=pools, slot=slots, state=st.sampled_from([MemberState.CREATING, MemberState.AVAILABLE]))
    def add(self, pool: str, slot: int, state: MemberState) -> None:
        member = Member(pool, slot, state, self.now)
        added = self.store.add_members([member])
        assert added == (() if member.vm in self.model.members else (member,))
        self.model.members.setdefault(member.vm, member)

    @rule(
        pool=pools, slot=slots, before=st.sets(st.sampled_from(FREE), min_size=1), after=st.sampled_from(FREE)
    )
    def step(self, pool: str, slot: int, before: set[MemberState], after: MemberState) -> None:
        vm = f"{pool}-{slot}"
        known = self.model.members.get(vm)
        fits = known is not None and known.state in before
        assert self.store.step_member(vm, before, after, self.now, message="why") is fits
        if known is not None and fits:
            self.model.members[vm] = replace(known, state=after, since=self.now, message="why")

    @rule(pool=pools)
    def clean_all(self, pool: str) -> None:
        for member in self.store.members(pool):
            if member.state is MemberState.CLEANING:
                self.step(pool, member.slot, {MemberState.CLEANING}, MemberState.AVAILABLE)

    @rule(pool=pools, slot=slots)
    def delete(self, pool: str, slot: int) -> None:
        vm = f"{pool}-{slot}"
        self.store.delete_members([vm])
        known = self.model.members.get(vm)
        if known is not None and known.state is MemberState.RETIRING:
            del self.model.members[vm]

    @rule(
        target=ids,
        pool=pools,
        holder=holders,
        ttl=st.sampled_from([2.0, 30.0, 500.0]),
        wait=st.booleans(),
        key=st.sampled_from(["", "", "k1", "k2"]),
    )
    def checkout(self, pool: str, holder: str, ttl: float, wait: bool, key: str):
        return self._ask(Checkout(pool, holder, "tests", ttl, 100.0, wait=wait, key=key, by=holder))

    @rule(target=ids, waiter=waiters, pool=pools, holder=holders)
    def ask_again(self, waiter: int, pool: str, holder: str):
        return self._ask(Checkout(pool, holder, "tests", 30.0, 100.0, waiter=waiter, by=holder))

    @rule(target=waiters)
    def note_waiters(self):
        return multiple(*(place.id for place in self.model.line))

    def _ask(self, wish: Checkout):
        model, outcome = self.model, self.store.checkout(wish, self.now)
        if wish.key in model.keys:
            earlier, lease = model.keys[wish.key]
            if replace(earlier, wait=wish.wait) != wish:
                assert isinstance(outcome, Spent)
                assert outcome.other
            elif lease in model.leases:
                assert outcome == model.leases[lease]
            else:
                assert isinstance(outcome, Spent)
                assert not outcome.other
            return multiple()
        line, free = model.waiting(wish.pool, self.now), model.free(wish.pool)
        place = next((one for one in line if wish.key and one.key == wish.key), None)
        place = place or next((one for one in line if one.id == wish.waiter), None)
        ahead = len(line) if place is None else line.index(place)
        model.line = [one for one in model.line if one.pool != wish.pool or one in line]
        if len(free) > ahead:
            assert isinstance(outcome, Lease)
            assert outcome.vm == free[0], "the one that is available for longest"
            return self._lent(wish, outcome, place)
        assert isinstance(outcome, Waiter)
        self._waits(wish, outcome, place)
        return multiple()

    def _lent(self, wish: Checkout, lease: Lease, place: Place | None) -> str:
        model, now = self.model, self.now
        assert (lease.pool, lease.holder, lease.taken) == (wish.pool, wish.holder, now)
        assert (lease.expires, lease.latest) == (now + min(wish.ttl, wish.longest), now + wish.longest)
        assert lease.id not in model.leases
        model.leases[lease.id] = lease
        model.members[lease.vm] = replace(
            model.members[lease.vm], state=MemberState.LEASED, since=now, message=""
        )
        model.asked.pop((wish.pool, wish.holder), None)
        if place is not None:
            model.line.remove(place)
        if wish.key:
            model.keys[wish.key] = (wish, lease.id)
        return lease.id

    def _waits(self, wish: Checkout, waiter: Waiter, place: Place | None) -> None:
        model, now = self.model, self.now
        assert (waiter.pool, waiter.seen) == (wish.pool, now)
        if place is not None:
            assert waiter.id == place.id, "who waits keeps the place"
            place.seen = now
        elif wish.wait:
            assert all(waiter.id > one.id for one in model.line), "who comes later stands behind"
            model.asked.pop((wish.pool, wish.holder), None)
            model.line.append(Place(waiter.id, wish.pool, wish.holder, now, wish.key))
        else:
            assert not waiter.waits
            model.asked[wish.pool, wish.holder] = now

    @rule(waiter=waiters)
    def leave(self, waiter: int) -> None:
        self.store.leave_line(waiter)
        self.model.line = [one for one in self.model.line if one.id != waiter]

    @rule()
    def all_still_wait(self) -> None:
        self.store.still_wait([one.id for one in self.model.line], self.now)
        rows = {one.id for pool in POOLS for one in self._rows(pool)}
        for place in self.model.line:
            if place.id in rows:
                place.seen = self.now

    def _rows(self, pool: str) -> list[Waiter]:
        """Also of those who were silent and were not dropped yet: heard of again, they are as before."""
        return [one for one in self.store.waiters(pool, float("-inf")) if one.waits]

    @rule(lease=consumes(ids))
    def checkin(self, lease: str) -> None:
        ended = self.store.checkin(lease, self.now)
        assert ended == self.model.leases.get(lease)
        if ended is not None:
            self.model.end(lease, self.now)
        assert self.store.checkin(lease, self.now) is None

    @rule(lease=ids, seconds=st.sampled_from([1.0, 40.0, 1000.0]))
    def extend(self, lease: str, seconds: float) -> None:
        known = self.model.leases.get(lease)
        kept = self.store.extend(lease, self.now + seconds, self.now)
        if known is None or known.expires <= self.now:
            assert kept is None
        else:
            expires = min(self.now + seconds, known.latest)
            self.model.leases[lease] = replace(known, expires=expires, warned=False)
            assert kept == self.model.leases[lease]

    @rule()
    def expire(self) -> None:
        over = sorted(
            (one for one in self.model.leases.values() if one.expires <= self.now),
            key=lambda one: (one.expires, one.id),
        )
        assert self.store.expire(self.now) == tuple(over)
        for lease in over:
            self.model.end(lease.id, self.now)
        rows = {one.id for pool in POOLS for one in self._rows(pool)}
        self.model.line = [
            one for one in self.model.line if one.id in rows or one.seen >= self.now - PATIENCE
        ]

    @rule(grace=st.sampled_from([0.0, 20.0, 200.0]))
    def warn(self, grace: float) -> None:
        due = {
            one.id
            for one in self.model.leases.values()
            if not one.warned and one.pool == "a" and one.expires <= self.now + grace
        }
        assert {one.id for one in self.store.warn(self.now, {"a": grace})} == due
        for lease in due:
            self.model.leases[lease] = replace(self.model.leases[lease], warned=True)

    @invariant()
    def the_same_in_every_process(self) -> None:
        model = self.model
        wanted = tuple(sorted(model.members.values(), key=lambda one: (one.pool, one.slot)))
        leases = sorted(model.leases.values(), key=lambda one: (one.expires, one.id))
        for store in self.stores:
            assert store.members() == wanted
            assert store.leases() == tuple(leases)
            for pool in POOLS:
                line = store.waiters(pool, self.now)
                assert [one.id for one in line if one.waits] == [
                    one.id for one in model.waiting(pool, self.now)
                ]
                assert sum(store.tally(pool).values()) == len(store.members(pool))
        lent = sorted(one.vm for one in wanted if one.state is MemberState.LEASED)
        assert sorted(one.vm for one in leases) == lent, "lent if and only if there is a lease"

    @invariant()
    def served_are_the_first_in_line(self) -> None:
        wanted = {
            one.id
            for pool in POOLS
            for one in self.model.waiting(pool, self.now)[: len(self.model.free(pool))]
        }
        assert self.store.served(self.now) == wanted


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=3, stateful_step_count=30, deadline=None)


@pytest.mark.slow
class TestLeasesForLong(Leases.TestCase):
    settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
