"""Exclusive use of machines for a time: taken, given back, extended and expired by any number of processes.

Every writing transaction takes SQLite's write lock before it reads, so what it decides still holds when it
commits.  A process that is killed has either committed or not: no machine is half lent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, func, select, update

from reconciler.model.pool import Lease, MemberState, Waiter
from reconciler.store import schema
from reconciler.store.base_leases import DEMAND, PATIENCE, Checkout, Outcome
from reconciler.store.clock import Clock
from reconciler.store.lending import Lending
from reconciler.store.members import TOPIC, Members

KEYS_KEPT = 86400.0
"""Seconds for which the key of a wish is remembered at least; longer while its lease lasts."""

_FIND = select(schema.leases).where(schema.leases.c.id.in_(bindparam("ids", expanding=True)))
_END = delete(schema.leases).where(schema.leases.c.id == bindparam("lease"))
_CLEAN = (
    update(schema.members)
    .where(schema.members.c.vm == bindparam("machine"), schema.members.c.state == str(MemberState.LEASED))
    .values(state=str(MemberState.CLEANING), since=bindparam("now"), message="")
)


class Leases(Members, Clock):
    """The part of the store that keeps leases and the line before them."""

    def checkout(self, wish: Checkout, now: float) -> Outcome:
        """See `LeaseStore.checkout`."""
        (outcome,) = self.checkout_many([wish], now)
        return outcome

    def checkout_many(self, wishes: Sequence[Checkout], now: float) -> tuple[Outcome, ...]:
        """See `LeaseStore.checkout_many`."""
        with self._writing() as connection:
            lending = Lending(connection, wishes, now)
            outcomes = tuple([lending.decide(wish) for wish in wishes])
            lending.write()
            self._changed(connection, now)
            return outcomes

    def checkout_vm(self, vm: str, wish: Checkout, now: float) -> Lease | None:
        """See `LeaseStore.checkout_vm`."""
        columns = schema.members.c
        available = columns.state == str(MemberState.AVAILABLE)
        with self._writing() as connection:
            pool = connection.execute(select(columns.pool).where(columns.vm == vm, available)).scalar()
            if pool is None:
                return None
            lending = Lending(connection, [wish], now)
            lease = lending.lend(vm, replace(wish, pool=pool))
            lending.write()
            self._changed(connection, now)
            return lease

    def still_wait(self, waiters: Collection[int], now: float) -> None:
        """See `LeaseStore.still_wait`."""
        columns = schema.waiters.c
        if waiters:
            # A power failure ends those who wait, too.
            with self._writing(durable=False) as connection:
                mine = columns.id.in_(list(waiters))
                connection.execute(update(schema.waiters).where(mine).values(seen=now))
                self._forget(TOPIC)

    def leave_line(self, waiter: int) -> None:
        """See `LeaseStore.leave_line`."""
        with self._writing(durable=False) as connection:
            connection.execute(delete(schema.waiters).where(schema.waiters.c.id == waiter))
            self._forget(TOPIC)

    def waiters(self, pool: str, now: float) -> tuple[Waiter, ...]:
        """See `LeaseStore.waiters`."""
        return tuple(one for one in self._part("waiters", _load_waiters).get(pool, ()) if _heard_of(one, now))

    def served(self, now: float) -> frozenset[int]:
        """See `LeaseStore.served`."""
        waiting = self._part("waiters", _load_waiters)
        if not waiting:
            return frozenset()
        tally = self._part("tally", _load_tally)
        living = {
            pool: [one.id for one in line if one.waits and _heard_of(one, now)]
            for pool, line in waiting.items()
        }
        free = {pool: tally.get(pool, {}).get(MemberState.AVAILABLE, 0) for pool in living}
        return frozenset(one for pool, line in living.items() for one in line[: free[pool]])

    def checkin(self, lease: str, now: float) -> Lease | None:
        """See `LeaseStore.checkin`."""
        (ended,) = self.checkin_many([lease], now)
        return ended

    def checkin_many(self, leases: Sequence[str], now: float) -> tuple[Lease | None, ...]:
        """See `LeaseStore.checkin_many`."""
        with self._writing() as connection:
            found = _find(connection, leases)
            _end(connection, tuple(found.values()), now)
            self._changed(connection, now)
            return tuple([found.pop(lease, None) for lease in leases])

    def extend(self, lease: str, expires: float, now: float) -> Lease | None:
        """See `LeaseStore.extend`."""
        columns = schema.leases.c
        with self._writing() as connection:
            found = connection.execute(
                update(schema.leases)
                .where(columns.id == lease, columns.expires > now)
                .values(expires=func.min(expires, columns.latest), warned=False)
            )
            if not found.rowcount:
                return None
            self._changed(connection, now)
            return _find(connection, [lease]).get(lease)

    def leases(self, pool: str | None = None) -> tuple[Lease, ...]:
        """See `LeaseStore.leases`."""
        return self._part("leases", _load_leases).get(pool, ())

    def lease(self, lease: str) -> Lease | None:
        """See `LeaseStore.lease`."""
        with self._reading() as connection:
            return _find(connection, [lease]).get(lease)

    def lease_of(self, vm: str) -> Lease | None:
        """See `LeaseStore.lease_of`."""
        with self._reading() as connection:
            row = connection.execute(select(schema.leases).where(schema.leases.c.vm == vm)).first()
        return Lease(**row._mapping) if row is not None else None

    def first_end(self, pool: str | None = None) -> float | None:
        """See `LeaseStore.first_end`."""
        ends = self._part("ends", _load_ends)
        return min(ends.values(), default=None) if pool is None else ends.get(pool)

    def tally(self, pool: str) -> Mapping[MemberState, int]:
        """See `LeaseStore.tally`."""
        return self._part("tally", _load_tally).get(pool, {})

    def expire(self, now: float) -> tuple[Lease, ...]:
        """See `LeaseStore.expire`."""
        end = self.first_end()
        if (end is None or end > now) and self._time_is_noted(now):
            return ()
        columns = schema.leases.c
        with self._writing() as connection:
            query = select(schema.leases).where(columns.expires <= now).order_by(columns.expires, columns.id)
            over = tuple(Lease(**row._mapping) for row in connection.execute(query))
            _end(connection, over, now)
            _prune(connection, now)
            self._note_time(connection, now)
            if over:
                self._forget(TOPIC)
            return over

    def warn(self, now: float, grace: Mapping[str, float]) -> tuple[Lease, ...]:
        """See `LeaseStore.warn`."""
        first = self._part("unwarned", _load_unwarned)
        if not any(first.get(pool, float("inf")) <= now + seconds for pool, seconds in grace.items()):
            return ()
        columns = schema.leases.c
        soon = columns.expires <= now + max(grace.values())
        query = select(schema.leases).where(columns.warned.is_(False), soon).order_by(columns.expires)
        with self._writing() as connection:
            found = [Lease(**row._mapping) for row in connection.execute(query)]
            due = tuple(one for one in found if one.expires <= now + grace.get(one.pool, 0.0))
            for one in due:
                connection.execute(update(schema.leases).where(columns.id == one.id).values(warned=True))
            self._forget(TOPIC)
            return tuple(replace(one, warned=True) for one in due)

    def _changed(self, connection: Connection, now: float) -> None:
        self._note_time(connection, now)
        self._forget(TOPIC)


def _heard_of(waiter: Waiter, now: float) -> bool:
    return waiter.seen >= now - (PATIENCE if waiter.waits else DEMAND)


def _find(connection: Connection, leases: Sequence[str]) -> dict[str, Lease]:
    """Those that there are, by id."""
    found = connection.execute(_FIND, {"ids": list(leases)})
    return {row.id: Lease(**row._mapping) for row in found}


def _end(connection: Connection, leases: Sequence[Lease], now: float) -> None:
    if leases:
        connection.execute(_END, [{"lease": one.id} for one in leases])
        connection.execute(_CLEAN, [{"machine": one.vm, "now": now} for one in leases])


def _prune(connection: Connection, now: float) -> None:
    """Drop what nobody will ask for again."""
    keys, waiters = schema.lease_keys.c, schema.waiters.c
    lives = select(schema.leases.c.id)
    connection.execute(delete(schema.lease_keys).where(keys.at < now - KEYS_KEPT, keys.lease.not_in(lives)))
    connection.execute(delete(schema.waiters).where(waiters.seen < now - max(PATIENCE, DEMAND)))


def _load_leases(connection: Connection) -> Mapping[str | None, tuple[Lease, ...]]:
    """By pool; under None all of them."""
    columns = schema.leases.c
    query = select(schema.leases).order_by(columns.expires, columns.id)
    everything = [Lease(**row._mapping) for row in connection.execute(query)]
    by_pool: dict[str | None, list[Lease]] = {None: everything}
    for lease in everything:
        by_pool.setdefault(lease.pool, []).append(lease)
    return {pool: tuple(leases) for pool, leases in by_pool.items()}


def _load_waiters(connection: Connection) -> Mapping[str, tuple[Waiter, ...]]:
    columns = schema.waiters.c
    by_pool: dict[str, list[Waiter]] = {}
    query = select(*(column for column in columns if column.name != "key")).order_by(columns.id)
    for row in connection.execute(query):
        by_pool.setdefault(row.pool, []).append(Waiter(**row._mapping))
    return {pool: tuple(line) for pool, line in by_pool.items()}


def _load_tally(connection: Connection) -> Mapping[str, Mapping[MemberState, int]]:
    """How many machines are in each state, by pool."""
    columns = schema.members.c
    query = select(columns.pool, columns.state, func.count()).group_by(columns.pool, columns.state)
    found: dict[str, dict[MemberState, int]] = {}
    for pool, state, count in connection.execute(query):
        found.setdefault(pool, {})[MemberState(state)] = count
    return found


def _load_ends(connection: Connection) -> Mapping[str, float]:
    """When the first lease is over, by pool."""
    columns = schema.leases.c
    query = select(columns.pool, func.min(columns.expires)).group_by(columns.pool)
    return {row[0]: row[1] for row in connection.execute(query)}


def _load_unwarned(connection: Connection) -> Mapping[str, float]:
    """When the first lease that nobody warned of is over, by pool."""
    columns = schema.leases.c
    query = select(columns.pool, func.min(columns.expires)).where(columns.warned.is_(False))
    return {row[0]: row[1] for row in connection.execute(query.group_by(columns.pool))}
