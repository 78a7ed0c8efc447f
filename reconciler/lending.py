"""What the daemon does for pools of machines that are lent: it keeps them warm, cleans, and ends leases.

The decisions are `planner.lent`'s, pure.  Here they are carried out: each step through the store, which takes
it only if the member is still where it was seen; machines come and go by the loop itself, as any others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.engine import Engine, Look, Progress
from reconciler.leasing import expire
from reconciler.model.plan import Outcome
from reconciler.model.pool import Lease, Member, MemberState, VirtualMachinePool
from reconciler.model.status import Event
from reconciler.model.units import format_duration
from reconciler.planner import lent
from reconciler.planner.lent.life import UNREADY
from reconciler.planner.lent.report import KIND, key_of
from reconciler.planner.lent.slots import machine_of
from reconciler.store.base import Store, Subject

ATTEMPTS = 4
"""So often in a row a machine may fail to be cleaned; then it is made anew."""

AGAIN = 5.0
"""Seconds before the second attempt; the time doubles with each."""


_AT_REST = frozenset({MemberState.AVAILABLE, MemberState.LEASED})


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Cleaning that failed: how often, and the lease time before which it is not tried again."""

    attempts: int
    not_before: float


class Lending:
    """Pools, as the one process sees to them that holds the store.

    `before` is called before a look and `after` with that look: a member is judged only by what was seen
    since it came into its state.

    Args:
        engine: Looks, and pushes what cleaning takes.
        clock: Epoch seconds by the wall clock, for events and guests.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._members: tuple[Member, ...] = ()
        self._unready: dict[str, float] = {}
        self._trouble: dict[str, _Trouble] = {}

    @property
    def _store(self) -> Store:
        return self._engine.rooms.store

    @property
    def moved(self) -> bool:
        """Some member is not as it was before the last look. Costs next to nothing to ask."""
        return self._store.members() is not self._members

    @property
    def due(self) -> float | None:
        """Seconds until a member has to be looked at again though nothing happens; None: not at all."""
        waits = [one.not_before - self._store.lease_time() for one in self._trouble.values()]
        if self._unready or any(member.state not in _AT_REST for member in self._members):
            waits.append(UNREADY)
        return max(0.1, min(waits)) if waits else None

    def before(self) -> bool:
        """End what is over, and remember who stands where, before the world is looked at."""
        self.tend()
        self._members = self._store.members()
        return self.moved

    def after(self, look: Look | None, on_progress: Progress = lambda _: None) -> bool:
        """Take every step that this look allows. True if any was taken, so that another look is worth it."""
        if look is None or not (self._members or look.desired.machine_pools or self._store.statuses(KIND)):
            return False
        pools = look.desired.machine_pools
        mine: dict[str, list[Member]] = {name: [] for name in pools}
        for member in self._members:
            mine.setdefault(member.pool, []).append(member)
        # Cleaning may take minutes: what was true before it is not said meanwhile.
        self._tell(look)
        seen = self._seen(look)
        moved = False
        for name in sorted(mine):
            wish = self._wish(look, name, pools.get(name))
            steps = lent.steps(wish, mine[name], seen, self._store.lease_time())
            moved |= self._clear(look, steps, on_progress)
            moved |= self._revert(look, pools.get(name), mine[name], steps, on_progress)
            moved |= self._take(look, pools.get(name), steps)
        self._tell(look)
        return moved

    def _seen(self, look: Look) -> Mapping[str, lent.Seen]:
        """What the look says of each member, with the time for which it has not been ready."""
        now = self._store.lease_time()
        seen = lent.look_at_members(look.survey, look.plan, look.guests, self._members, self._clock())
        unready = {vm for vm, one in seen.items() if not one.usable}
        self._unready = {vm: self._unready.get(vm, now) for vm in unready}
        return {
            vm: replace(one, unready_for=now - self._unready[vm]) if vm in unready else one
            for vm, one in seen.items()
        }

    def _wish(self, look: Look, name: str, pool: VirtualMachinePool | None) -> lent.Wish:
        return lent.Wish(
            pool,
            self._engine.lent.made_from.get(name, ""),
            len(self._store.waiters(name, self._store.lease_time())),
            not look.situation.never_seen,
            lambda vm: lent.occupied(look.survey, vm),
            self._engine.lent.declared,
        )

    def _take(self, look: Look, pool: VirtualMachinePool | None, steps: lent.Steps) -> bool:
        """Write the steps down. Each by itself: one that fails leaves the others as they are."""
        store, now = self._store, self._store.lease_time()
        taken = [step for step in steps.steps if self._step(step, now)]
        # Since the look, some may have been found on a host.
        room = pool.spec.size.max - len(store.members(pool.name)) if pool is not None else 0
        added = store.add_members(steps.add[: max(0, room)]) if steps.add else ()
        if steps.free:
            store.delete_members(steps.free)
        revision = look.plan.revision
        store.add_events([self._event(step, revision) for step in taken if step.message])
        return bool(taken or added or steps.free)

    def _step(self, step: lent.Step, now: float) -> bool:
        changes: dict[str, object] = {"message": step.message}
        if step.life is not None:
            changes["life"] = step.life
        if step.template is not None:
            changes["template"] = step.template
        return self._store.step_member(step.vm, [step.before], step.after, now, **changes)

    def _event(self, step: lent.Step, revision: str) -> Event:
        failed = step.after is MemberState.ERROR
        reason = "MemberFailed" if failed else "MemberRetired"
        return Event(self._clock(), reason, step.message, step.vm, "", failed, revision)

    def _clear(self, look: Look, steps: lent.Steps, on_progress: Progress) -> bool:
        """Delete the disks of machines without a domain. True if any went."""
        made = {member.vm for member in self._members if member.template}
        plan = lent.leftovers(look.survey, sorted(made.intersection(steps.clear))) if steps.clear else None
        if plan is None or plan.empty:
            return False
        tick = self._engine.carry_out_part(look, plan, one_off=True, on_progress=on_progress)
        return any(result.outcome is Outcome.CHANGED for result in tick.results)

    def _revert(
        self,
        look: Look,
        pool: VirtualMachinePool | None,
        members: Iterable[Member],
        steps: lent.Steps,
        on_progress: Progress,
    ) -> bool:
        """Give machines that came back clean disks, all of a pool in one push."""
        now = self._store.lease_time()
        waiting = {vm for vm, one in self._trouble.items() if one.not_before > now}
        mine = {m.vm: m for m in members if m.vm in steps.revert and m.vm not in waiting}
        if pool is None or not mine:
            return False
        machines = [machine_of(pool, member.slot, member.life + 1) for member in mine.values()]
        plan, impossible = lent.revert(look.survey, machines)
        if plan.empty and not impossible:
            return False
        tick = self._engine.carry_out_part(look, plan, one_off=True, on_progress=on_progress)
        done = {change.vm for change in plan.changes}
        bad = {result.vm for result in tick.results if result.outcome not in (Outcome.CHANGED, Outcome.OK)}
        for vm, member in mine.items():
            if vm in impossible:
                self._step(lent.Step(vm, member.state, MemberState.RETIRING, "it cannot be reverted"), now)
            elif vm in bad:
                self._failed(vm, member, now)
            elif vm in done:
                self._trouble.pop(vm, None)
                self._step(lent.Step(vm, member.state, MemberState.CREATING, life=member.life + 1), now)
        return True

    def _failed(self, vm: str, member: Member, now: float) -> None:
        """Clean it again later; after some attempts make it anew."""
        attempts = self._trouble[vm].attempts + 1 if vm in self._trouble else 1
        if attempts < ATTEMPTS:
            self._trouble[vm] = _Trouble(attempts, now + AGAIN * 2 ** (attempts - 1))
            return
        del self._trouble[vm]
        message = f"it could not be reverted in {attempts} attempts: it is made anew"
        step = lent.Step(vm, member.state, MemberState.RETIRING, message)
        if self._step(step, now):
            self._store.add_events([self._event(step, "")])

    def _tell(self, look: Look) -> None:
        """What is said of each pool as a whole; written only where it changed."""
        said, status = {}, {}
        for name, pool in look.desired.machine_pools.items():
            mine = self._store.members(name)
            status[name] = json.dumps({str(state): n for state, n in lent.counts(mine).items()})
            said[key_of(name)] = lent.pool_conditions(
                pool,
                mine,
                self._clock(),
                may_add=not look.situation.never_seen,
                occupied=lambda vm: lent.occupied(look.survey, vm),
            )
        if said:
            self._store.set_conditions(Subject.VM, said)
        self._store.set_statuses(KIND, status, complete=True)

    def tend(self) -> bool:
        """End the leases whose time is over, and warn of those that end soon. Cheap while there is none.

        True if any member is not as it was before the last look, whoever did it.
        """
        store, now = self._store, self._store.lease_time()
        grace = {name: one.spec.lease.grace for name, one in self._engine.lent.desired.machine_pools.items()}
        expire(store, self._clock)
        if not any(not one.warned and one.expires <= now + grace.get(one.pool, 0) for one in store.leases()):
            return self.moved
        with store.transaction():  # a warning that is marked is told, even if we die here
            warned = store.warn(now, grace)
            store.add_events([self._ending(lease, now) for lease in warned])
        return self.moved

    def _ending(self, lease: Lease, now: float) -> Event:
        left = format_duration(max(1, round(lease.expires - now)))
        message = f"{lease.vm} is taken back from {lease.holder} in {left}: extend the lease to keep it"
        return Event(self._clock(), "LeaseEnding", message, lease.vm, "", warning=True)
