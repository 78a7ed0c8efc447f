"""The machines of pools: which slots are in use, and where each one stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.model.pool import Member, MemberState
from reconciler.store import schema
from reconciler.store.session import Session, as_row

T = TypeVar("T")

TOPIC = "pools"
"""What is read of members, leases and the line is kept and forgotten together."""


class Members(Session):
    """The part of the store that keeps the machines of pools."""

    def members(self, pool: str | None = None) -> tuple[Member, ...]:
        """See `LeaseStore.members`."""
        found = self._part("members", _load)
        return found.get(pool, ())

    def add_members(self, members: Collection[Member]) -> tuple[Member, ...]:
        """See `LeaseStore.add_members`."""
        if any(member.state is MemberState.LEASED for member in members):
            raise ValueError("a member becomes LEASED by a lease")
        wanted = {member.vm: member for member in members}
        if not wanted:
            return ()
        with self._writing() as connection:
            known = set(connection.execute(select(schema.members.c.vm)).scalars())
            added = tuple(member for vm, member in wanted.items() if vm not in known)
            if added:
                rows = [{**as_row(one), "vm": one.vm, "state": str(one.state)} for one in added]
                connection.execute(insert(schema.members), rows)
                self._forget(TOPIC)
            return added

    def step_member(
        self, vm: str, before: Collection[MemberState], after: MemberState, now: float, **changes: object
    ) -> bool:
        """See `LeaseStore.step_member`."""
        if after is MemberState.LEASED or MemberState.LEASED in before:
            raise ValueError("only a lease leads to and from LEASED")
        if unknown := changes.keys() - {"life", "message", "template"}:
            raise ValueError(f"a step changes no {', '.join(sorted(unknown))}")
        columns = schema.members.c
        with self._writing() as connection:
            found = connection.execute(
                update(schema.members)
                .where(columns.vm == vm, columns.state.in_([str(state) for state in before]))
                .values({"message": "", **changes, "state": str(after), "since": now})
            )
            if found.rowcount:
                self._forget(TOPIC)
            return found.rowcount == 1

    def delete_members(self, vms: Collection[str]) -> None:
        """See `LeaseStore.delete_members`."""
        columns = schema.members.c
        with self._writing() as connection:
            for vm in vms:
                retiring = columns.state == str(MemberState.RETIRING)
                connection.execute(delete(schema.members).where(columns.vm == vm, retiring))
            self._forget(TOPIC)

    def _part(self, name: str, load: Callable[[Connection], T]) -> T:
        """What `load` reads, kept until something of a pool changes."""
        with self._lock, self._reading() as connection:
            parts = self._snapshot(TOPIC, _nothing)
            if name not in parts:
                parts[name] = load(connection)
            return cast("T", parts[name])


def _nothing(_connection: Connection) -> dict[str, Any]:
    return {}


def _load(connection: Connection) -> Mapping[str | None, tuple[Member, ...]]:
    """By pool; under None all of them."""
    columns = schema.members.c
    query = select(schema.members).order_by(columns.pool, columns.slot)
    everything = [_to_member(row._mapping) for row in connection.execute(query)]
    by_pool: dict[str | None, list[Member]] = {None: everything}
    for member in everything:
        by_pool.setdefault(member.pool, []).append(member)
    return {pool: tuple(members) for pool, members in by_pool.items()}


def _to_member(row: Mapping[Any, Any]) -> Member:
    return Member(
        pool=row["pool"],
        slot=row["slot"],
        state=MemberState(row["state"]),
        since=row["since"],
        life=row["life"],
        message=row["message"],
        template=row["template"],
    )
