"""Who gets which machine: wishes of one transaction, decided in memory and written in a few statements."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from reconciler.errors import StoreError
from reconciler.model.pool import Lease, MemberState, Waiter
from reconciler.store import schema
from reconciler.store.base_leases import DEMAND, PATIENCE, Checkout, Outcome, Spent
from reconciler.store.session import as_row

_AVAILABLE = str(MemberState.AVAILABLE)

# Made once: to put a statement together costs more than to run it.
_FREE = (
    select(schema.members.c.vm)
    .where(schema.members.c.pool == bindparam("pool"), schema.members.c.state == _AVAILABLE)
    .order_by(schema.members.c.since, schema.members.c.slot)
    .limit(bindparam("most"))
)
_TAKE = (
    update(schema.members)
    .where(schema.members.c.vm == bindparam("machine"), schema.members.c.state == _AVAILABLE)
    .values(state=str(MemberState.LEASED), since=bindparam("now"), message="")
)
_WAITING = (
    select(schema.waiters).where(schema.waiters.c.pool == bindparam("line")).order_by(schema.waiters.c.id)
)
_LEAVE = delete(schema.waiters).where(schema.waiters.c.id == bindparam("waiter"))
_SEEN = update(schema.waiters).where(schema.waiters.c.id == bindparam("waiter")).values(seen=bindparam("now"))
_KEY = (
    select(schema.lease_keys.c.wish, schema.lease_keys.c.lease, schema.lease_keys.c.vm.label("machine"))
    .add_columns(*(column for column in schema.leases.c if column.name != "vm"))
    .add_columns(schema.leases.c.vm)
    .select_from(schema.lease_keys.outerjoin(schema.leases, schema.leases.c.id == schema.lease_keys.c.lease))
    .where(schema.lease_keys.c.key == bindparam("spent"))
)


@dataclass
class _Line:
    """A pool as it is within the transaction.

    Attributes:
        free: Available machines, longest first.
        waiting: Who stands in line, first come first.
        asked: Who asked without waiting, by holder.
        keys: Waiter by the key of the wish that they came with.
    """

    free: list[str]
    waiting: list[Waiter] = field(default_factory=list)
    asked: dict[str, Waiter] = field(default_factory=dict)
    keys: dict[str, Waiter] = field(default_factory=dict)

    def place_of(self, wish: Checkout) -> Waiter | None:
        """Where they stand in line already."""
        keyed = self.keys.get(wish.key) if wish.key else None
        return keyed or next((one for one in self.waiting if one.id == wish.waiter), None)

    def has_one_for(self, place: Waiter | None) -> bool:
        """There are more machines than people who came before."""
        ahead = len(self.waiting) if place is None else self.waiting.index(place)
        return len(self.free) > ahead


class Lending:
    """One transaction: `decide` each wish in order, then `write`.

    Args:
        connection: In a write transaction.
        wishes: All that will be decided.
        now: Lease time.
    """

    def __init__(self, connection: Connection, wishes: Sequence[Checkout], now: float) -> None:
        self._connection = connection
        self._now = now
        self._most = len(wishes)
        self._lines: dict[str, _Line] = {}
        self._lent: list[Lease] = []
        self._keys: dict[str, tuple[str, Lease]] = {}
        self._gone: list[int] = []

    def decide(self, wish: Checkout) -> Outcome:
        """What the wish comes to."""
        known = self._known(wish) if wish.key else None
        if known is not None:
            return known
        line = self._line(wish.pool)
        place = line.place_of(wish)
        if line.has_one_for(place):
            self._drop(line, place, wish.holder)
            return self.lend(line.free.pop(0), wish)
        if place is not None:
            return self._stay(line, place)
        return self._queue(line, wish) if wish.wait else self._remember(line, wish)

    def write(self) -> None:
        """Write what was decided.

        Raises:
            StoreError: A machine is not available: a mistake of ours, and nothing is written.
        """
        run = self._connection.execute
        if self._gone:
            run(_LEAVE, [{"waiter": waiter} for waiter in self._gone])
        if not self._lent:
            return
        taken = run(_TAKE, [{"machine": one.vm, "now": self._now} for one in self._lent]).rowcount
        if taken != len(self._lent):
            raise StoreError(f"of {len(self._lent)} machines to lend {taken} were available")
        run(insert(schema.leases), [as_row(one) for one in self._lent])
        if self._keys:
            rows = [
                {"key": key, "wish": told, "lease": one.id, "vm": one.vm, "at": self._now}
                for key, (told, one) in self._keys.items()
            ]
            run(insert(schema.lease_keys), rows)

    def _known(self, wish: Checkout) -> Lease | Spent | None:
        """What the wish's key gave before."""
        told = _told(wish)
        if wish.key in self._keys:
            earlier, lease = self._keys[wish.key]
            return lease if earlier == told else Spent(lease.id, lease.vm, other=True)
        row = self._connection.execute(_KEY, {"spent": wish.key}).first()
        if row is None:
            return None
        if row.wish == told and row.id is not None:
            found = dict(row._mapping)
            return Lease(**{name: found[name] for name in Lease.__slots__})
        return Spent(row.lease, row.machine, other=row.wish != told)

    def _line(self, pool: str) -> _Line:
        if pool not in self._lines:
            self._lines[pool] = self._load(pool)
        return self._lines[pool]

    def _load(self, pool: str) -> _Line:
        line = _Line([])
        for row in self._connection.execute(_WAITING, {"line": pool}):
            found = dict(row._mapping)
            key = found.pop("key")
            one = Waiter(**found)
            if one.seen < self._now - (PATIENCE if one.waits else DEMAND):
                self._gone.append(one.id)
                continue
            if one.waits:
                line.waiting.append(one)
                line.keys |= {key: one} if key else {}
            else:
                line.asked[one.holder] = one
        most = len(line.waiting) + self._most
        line.free = list(self._connection.execute(_FREE, {"pool": pool, "most": most}).scalars())
        return line

    def lend(self, vm: str, wish: Checkout) -> Lease:
        """Lend this machine, which the caller found available."""
        latest = self._now + wish.longest
        lease = Lease(
            id=secrets.token_hex(12),
            pool=wish.pool,
            vm=vm,
            holder=wish.holder,
            purpose=wish.purpose,
            taken=self._now,
            expires=min(self._now + wish.ttl, latest),
            latest=latest,
            by=wish.by or wish.holder,
        )
        self._lent.append(lease)
        if wish.key:
            self._keys[wish.key] = (_told(wish), lease)
        return lease

    def _drop(self, line: _Line, place: Waiter | None, holder: str) -> None:
        """They do not wait any more, nor are they remembered."""
        if place is not None:
            line.waiting.remove(place)
            line.keys = {key: one for key, one in line.keys.items() if one.id != place.id}
            self._gone.append(place.id)
        if holder in line.asked:
            self._gone.append(line.asked.pop(holder).id)

    def _stay(self, line: _Line, place: Waiter) -> Waiter:
        """They wait on, and were heard of."""
        after = replace(place, seen=self._now)
        self._connection.execute(_SEEN, {"waiter": place.id, "now": self._now})
        line.waiting[line.waiting.index(place)] = after
        line.keys = {key: after if one.id == place.id else one for key, one in line.keys.items()}
        return after

    def _queue(self, line: _Line, wish: Checkout) -> Waiter:
        """They go to the end of the line."""
        self._drop(line, None, wish.holder)
        waiter = self._insert(wish, waits=True)
        line.waiting.append(waiter)
        if wish.key:
            line.keys[wish.key] = waiter
        return waiter

    def _remember(self, line: _Line, wish: Checkout) -> Waiter:
        """They asked and go away."""
        known = line.asked.get(wish.holder)
        if known is None:
            known = line.asked[wish.holder] = self._insert(wish, waits=False)
        else:
            self._connection.execute(_SEEN, {"waiter": known.id, "now": self._now})
        return replace(known, seen=self._now)

    def _insert(self, wish: Checkout, *, waits: bool) -> Waiter:
        row = {"pool": wish.pool, "holder": wish.holder, "asked": self._now, "seen": self._now}
        made = self._connection.execute(
            insert(schema.waiters), {**row, "waits": waits, "key": wish.key if waits else ""}
        ).inserted_primary_key
        assert made is not None  # noqa: S101 (one row was inserted)
        return Waiter(int(made[0]), wish.pool, wish.holder, self._now, self._now, waits)


def _told(wish: Checkout) -> str:
    """What must be the same in a wish that is repeated."""
    return json.dumps([wish.pool, wish.holder, wish.purpose, wish.ttl, wish.by])
