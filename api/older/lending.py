"""Machines of the reservation system: members of one pool, shown in its three states."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from api.older.frame import Asked
from api.older.ids import MACHINE, MEMBER, Ids
from api.older.waiting import Verdict, settled
from api.services import Services
from reconciler.errors import ConflictError, ForbiddenError, NoneAvailableError, NotFoundError
from reconciler.leasing import Wish
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.desired import DesiredState
from reconciler.model.pool import Member, MemberState, VirtualMachinePool
from reconciler.planner.lent.life import DELETED, FOR_GOOD
from reconciler.planner.lent.slots import address_of, made_from, template_of

LIMIT: Final = "Error: Maximum VM Count reached"
UNKNOWN: Final = "Could not find a vm with given details"
NONE: Final = "No VMs currently available, please try after some time"

LOOK_EVERY: Final = 2.0
"""Seconds between looks at the hosts while somebody waits for an address."""

AVAILABLE, CHECKED_OUT, ERROR = "available", "checked-out", "error"

_SHOWN: Final = {
    MemberState.AVAILABLE: AVAILABLE,
    MemberState.LEASED: CHECKED_OUT,
    MemberState.ERROR: ERROR,
    # Nobody can have it now, and nobody may delete it: its clients know no other word for that.
    MemberState.CREATING: CHECKED_OUT,
    MemberState.CLEANING: CHECKED_OUT,
    MemberState.RETIRING: CHECKED_OUT,
}
_ON_ITS_WAY: Final = frozenset({MemberState.CREATING, MemberState.CLEANING, MemberState.RETIRING})
_KIND: Final = "VirtualMachinePool"

Shown = Mapping[str, object]
"""``vm_id``, ``ip`` and ``status``."""


class Lending:
    """The machines of the pool. Everything that does not wait blocks: it is for `Services.run`.

    Args:
        services: What it works with.
        pool: Name of the pool.
    """

    def __init__(self, services: Services, pool: str) -> None:
        self._services = services
        self._store = services.store
        self._pool = pool
        self._ids = Ids(services)
        self._looked = float("-inf")

    # -- what there is ----------------------------------------------------------------------------------

    def show(self, asked: Asked) -> Shown:
        """The machine whose id the call has.

        Raises:
            NotFoundError: There is none.
        """
        pool = self._permitted(asked.caller, Role.VIEWER)
        return self._shown(pool, self._named(asked))

    def _permitted(self, caller: Caller, role: Role) -> VirtualMachinePool:
        """The pool, if the caller may.

        Raises:
            ForbiddenError: They may not.
            NotFoundError: There is no such pool.
        """
        pool = self._services.leasing.pools.get(self._pool)
        if not caller.may(role, Thing(_KIND, pool.name, pool.metadata.labels)):
            raise ForbiddenError(f"{caller.name} is no {role} of the pool {pool.name}")
        return pool

    def _member(self, vm: str | None) -> Member | None:
        found = next((one for one in self._store.members(self._pool) if one.vm == vm), None)
        return None if found is None or _goes(found) else found

    def _named(self, asked: Asked) -> Member:
        number = asked.number("vm_id") or asked.number("unique_id")
        found = self._member(self._ids.name(MEMBER, number)) if number else None
        if found is None:
            raise NotFoundError(UNKNOWN)
        return found

    def _agreed(self, asked: Asked, pool: VirtualMachinePool) -> Member:
        """The machine whose id and address the call has."""
        member, address = self._named(asked), asked.given.get("ip", "").strip()
        if address != self._address(pool, member) and address not in self._addresses(member):
            raise NotFoundError(UNKNOWN)
        return member

    def _shown(self, pool: VirtualMachinePool, member: Member, status: str = "") -> Shown:
        return {
            "vm_id": self._ids.allot(MEMBER, member.vm),
            "ip": self._address(pool, member),
            "status": status or _SHOWN[member.state],
        }

    def _address(self, pool: VirtualMachinePool, member: Member) -> str:
        """Its fixed address, or the first that it was seen with; empty if none is known."""
        fixed = address_of(pool, member.slot)
        return fixed if fixed is not None else next(iter(self._addresses(member)), "")

    def _addresses(self, member: Member) -> list[str]:
        """What it was seen with that others can reach, IPv4 first."""
        row = self._store.statuses(MACHINE).get(member.vm)
        told: Mapping[str, Any] = json.loads(row) if row is not None else {}
        found = [ip_address(one["address"]) for one in told.get("addresses", ())]
        usable = [one for one in found if not one.is_loopback and not one.is_link_local]
        return [str(one) for one in sorted(usable, key=lambda one: one.version)]

    # -- made and deleted -------------------------------------------------------------------------------

    async def create(self, asked: Asked) -> Shown:
        """One more machine while there is room; the answer comes when it is available, or in error.

        Raises:
            ConflictError: There is no room, or it is neither when the time is over.
        """
        run = self._services.run
        vm = await run(self._add, asked.caller)
        self._services.wake(f"older api: create {vm}")
        await settled(self._services, lambda: self._made(vm))
        pool, member = await run(self._pool_and_member, vm)
        if member is None or member.state in _ON_ITS_WAY:
            raise ConflictError(f"Error: the VM {vm} is not ready yet, please look after some time")
        return await run(self._shown, pool, member)

    def _add(self, caller: Caller) -> str:
        pool = self._permitted(caller, Role.OPERATOR)
        desired = self._services.desired.read()
        template, most = template_of(desired, pool), pool.spec.size.max
        with self._store.transaction():
            members = self._store.members(pool.name)
            free = [slot for slot in range(1, most + 1) if self._is_free(desired, members, slot)]
            if len(members) >= most or not free:
                raise ConflictError(LIMIT)
            fresh = made_from(template, pool, free[0])
            now = self._store.lease_time()
            member = Member(pool.name, free[0], MemberState.CREATING, now, template=fresh)
            self._store.add_members([member])
        self._ids.allot(MEMBER, member.vm)
        return member.vm

    def _is_free(self, desired: DesiredState, members: tuple[Member, ...], slot: int) -> bool:
        """Nothing has the slot, nor anything else the name of its machine."""
        vm = f"{self._pool}-{slot}"
        taken = (one.slot for one in members)
        return slot not in taken and vm not in self._store.records() and vm not in desired.machines

    def _made(self, vm: str) -> Verdict:
        """Whether it can be had, and where; or cannot be made."""
        pool, member = self._pool_and_member(vm)
        if member is None or member.state is MemberState.ERROR:
            return Verdict.FAILED
        if member.state in _ON_ITS_WAY:
            return Verdict.GOES_ON
        needs_address = bool(pool.spec.template.spec.interfaces)
        if needs_address and member.state is MemberState.AVAILABLE and not self._address(pool, member):
            self._look_again()
            return Verdict.GOES_ON
        return Verdict.DONE

    def _look_again(self) -> None:
        """Have the hosts looked at: no event tells of an address that a guest got."""
        now = time.monotonic()
        if now >= self._looked + LOOK_EVERY:
            self._looked = now
            self._services.wake("older api: an address is waited for")

    def _pool_and_member(self, vm: str) -> tuple[VirtualMachinePool, Member | None]:
        return self._services.leasing.pools.get(self._pool), self._member(vm)

    async def delete(self, asked: Asked) -> Shown:
        """Delete a machine that nobody has; the answer comes when there is room for another one.

        Raises:
            NotFoundError: There is none of this id and address.
            ConflictError: Somebody has it, or it is on its way.
        """
        vm, shown = await self._services.run(self._retire, asked)
        self._services.wake(f"older api: delete {vm}")
        await settled(self._services, lambda: self._gone(vm))
        return shown

    def _retire(self, asked: Asked) -> tuple[str, Shown]:
        pool = self._permitted(asked.caller, Role.OPERATOR)
        member = self._agreed(asked, pool)
        shown = self._shown(pool, member, "deleted")
        free, now = {MemberState.AVAILABLE, MemberState.ERROR}, self._store.lease_time()
        if not self._store.step_member(member.vm, free, MemberState.RETIRING, now, message=DELETED):
            state = self._word(member.vm)
            raise ConflictError(f"You cannot delete a VM that is in ' {state} ' State")
        self._ids.end(MEMBER, member.vm)
        return member.vm, shown

    def _gone(self, vm: str) -> Verdict:
        there = any(one.vm == vm and _goes(one) for one in self._store.members(self._pool))
        return Verdict.GOES_ON if there else Verdict.DONE

    # -- taken and given back ---------------------------------------------------------------------------

    def checkout(self, asked: Asked) -> Shown:
        """A machine that is available becomes the caller's.

        Raises:
            ConflictError: There is none.
        """
        pool, caller = self._permitted(asked.caller, Role.OPERATOR), asked.caller
        try:
            lease = self._services.leasing.checkout(Wish(pool.name, by=caller.name, purpose="/checkoutVM/"))
        except NoneAvailableError as error:
            self._forget_wish(caller)
            raise ConflictError(NONE) from error
        member = self._member(lease.vm)
        assert member is not None  # noqa: S101 (a leased member is on record until its lease ends)
        return self._shown(pool, member, CHECKED_OUT)

    def _forget_wish(self, caller: Caller) -> None:
        """Nothing is made for one who asked in vain: here machines are made by `create`, up to the limit."""
        for one in self._store.waiters(self._pool, self._store.lease_time()):
            if one.holder == caller.name and not one.waits:
                self._store.leave_line(one.id)

    async def checkin(self, asked: Asked) -> Shown:
        """A machine that was checked out is given back; the answer comes when it is available again.

        Raises:
            NotFoundError: There is none of this id and address.
            ConflictError: Nobody has it.
            ForbiddenError: Somebody else has it.
        """
        run = self._services.run
        vm, shown = await run(self._give_back, asked)
        self._services.wake(f"older api: check in {vm}")
        await settled(self._services, lambda: self._clean(vm))
        member = await run(self._member, vm)
        if member is not None and member.state in {*_ON_ITS_WAY, MemberState.ERROR}:
            return {**shown, "status": _SHOWN[member.state]}
        return shown

    def _give_back(self, asked: Asked) -> tuple[str, Shown]:
        pool = self._permitted(asked.caller, Role.OPERATOR)
        member = self._agreed(asked, pool)
        shown = self._shown(pool, member, AVAILABLE)
        lease = self._store.lease_of(member.vm)
        if lease is None:
            raise ConflictError(f"You cannot check-in a VM that is in ' {self._word(member.vm)} ' State")
        admin = asked.may(Role.ADMIN, Thing(_KIND, pool.name, pool.metadata.labels))
        if asked.caller.name not in (lease.holder, lease.by) and not admin:
            raise ForbiddenError("You cannot check-in a VM that somebody else has checked out")
        self._services.leasing.checkin(lease.id, asked.caller.name)
        return member.vm, shown

    def _clean(self, vm: str) -> Verdict:
        member = self._member(vm)
        waits = member is not None and member.state in _ON_ITS_WAY
        return Verdict.GOES_ON if waits else Verdict.DONE

    def _word(self, vm: str) -> str:
        """Its state as it is, where one of the three would say something else."""
        member = self._member(vm)
        if member is None:
            return "deleted"
        return str(member.state) if member.state in _ON_ITS_WAY else _SHOWN[member.state]


def _goes(member: Member) -> bool:
    return member.state is MemberState.RETIRING and member.message in FOR_GOOD
