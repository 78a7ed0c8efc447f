"""Pools of machines that are lent: manifest, members and leases. Times are epoch seconds, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from reconciler.model.envelope import API_VERSION, ApiVersion, Manifest, Metadata, refuse
from reconciler.model.machine import VirtualMachineSpec
from reconciler.model.units import Duration


class OnCheckin(StrEnum):
    """What becomes of a machine that comes back, before the next holder gets it.

    ``KEEP`` as it is; ``REVERT`` its own disks to how they were made (the image, or empty), same machine;
    ``RECREATE`` deleted with its disks and made anew.
    """

    KEEP = "Keep"
    REVERT = "Revert"
    RECREATE = "Recreate"


class PoolSize(Manifest):
    """How many machines a pool has.

    Attributes:
        max: At most so many at a time, lent ones included.
        warm: So many are kept ready for the next holder, as far as `max` allows.
    """

    max: int = Field(ge=0, le=10_000)
    warm: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warm > self.max:
            raise ValueError(f"warm ({self.warm}) is more than max ({self.max})")
        return self


class LeaseTerms(Manifest):
    """For how long a machine is lent.

    Attributes:
        timeout: Seconds of a lease that asks for no time of its own.
        max: Seconds that a lease may last in all, extensions included.
        grace: Seconds before the end at which a warning event is told.
    """

    timeout: Duration = 2 * 3600
    max: Duration = 24 * 3600
    grace: Duration = 300

    @model_validator(mode="after")
    def _fits(self) -> Self:
        refuse(
            message
            for wrong, message in (
                (self.timeout <= 0, "timeout must be more than nothing"),
                (self.timeout > self.max, "timeout is longer than max"),
            )
            if wrong
        )
        return self


class PoolTemplate(Manifest):
    """What every machine of a pool is like.

    Attributes:
        labels: Labels of each machine.
        annotations: Annotations of each machine.
        spec: As of a VirtualMachine.
    """

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: VirtualMachineSpec


def _check_address(text: str) -> str:
    return str(ip_address(text))


class VirtualMachinePoolSpec(Manifest):
    """A pool of machines that are lent.

    Attributes:
        size: Limits.
        template: What every machine is like.
        lease: For how long a machine is lent.
        on_checkin: What becomes of a machine that comes back.
        reclaim_after: A machine that nobody took for so long is deleted while more than `size.warm` are
            ready; without it nothing is.
        addresses: Fixed addresses, one a slot in order: of the first interface of machine ``<pool>-1``,
            ``<pool>-2`` and so on.
    """

    size: PoolSize
    template: PoolTemplate
    lease: LeaseTerms = LeaseTerms()
    on_checkin: OnCheckin = OnCheckin.RECREATE
    reclaim_after: Duration | None = None
    addresses: tuple[Annotated[str, AfterValidator(_check_address)], ...] = ()


class VirtualMachinePool(Manifest):
    """A pool of machines that are lent for a time: checked out and checked in.

    Attributes:
        api_version: ``reconciler/v1``.
        kind: ``VirtualMachinePool``.
        metadata: Name and labels. Machines are called ``<name>-1`` to ``<name>-<max>``.
        spec: The pool.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["VirtualMachinePool"] = "VirtualMachinePool"
    metadata: Metadata
    spec: VirtualMachinePoolSpec

    @property
    def name(self) -> str:
        """Shorthand for ``metadata.name``."""
        return self.metadata.name


POOL_LABEL = "reconciler/pool"
"""Label of a pool's machines: the pool's name."""

LIFE_ANNOTATION = "reconciler/life"
"""Annotation of a pool's machine: how often it was made anew or reverted, as `Member.life`."""


def pool_slot(vm: str) -> tuple[str, int] | None:
    """Pool and slot of a machine that is called ``<pool>-<slot>``; None for any other name."""
    pool, dash, slot = vm.rpartition("-")
    if not (dash and pool and slot.isascii() and slot.isdigit()) or slot[0] == "0" or len(slot) > _DIGITS:
        return None
    return pool, int(slot)


_DIGITS = 9
"""Of a slot: a name with more is nobody's count of machines."""


class MemberState(StrEnum):
    """Where a pool's machine stands.

    ``CREATING``: is being made, or not ready yet.  ``AVAILABLE``: waits for a holder.  ``LEASED``: has one.
    ``CLEANING``: came back, and is being kept, reverted or recreated.  ``ERROR``: could not be made or
    cleaned, or stopped being ready; it is handed to nobody until it is well or deleted.  ``RETIRING``: goes,
    its slot is free once the domain and its disks are gone.
    """

    CREATING = "creating"
    AVAILABLE = "available"
    LEASED = "leased"
    CLEANING = "cleaning"
    ERROR = "error"
    RETIRING = "retiring"


@dataclass(frozen=True, slots=True)
class Member:
    """A machine of a pool, on record.

    Attributes:
        pool: The pool.
        slot: 1-based; the machine is ``<pool>-<slot>``.
        state: Where it stands.
        since: When it came into this state.
        life: Raised each time the machine is made anew or reverted; goes into its manifest as an annotation,
            so that an old life is never mistaken for a new one.
        message: Why, for `MemberState.ERROR`.
        template: Digest of what its machine was made from; another one than the pool's of now: it is of an
            older template.
    """

    pool: str
    slot: int
    state: MemberState
    since: float
    life: int = 1
    message: str = ""
    template: str = ""

    @property
    def vm(self) -> str:
        """The machine's name."""
        return f"{self.pool}-{self.slot}"


@dataclass(frozen=True, slots=True)
class Lease:
    """Exclusive use of a machine for a time.

    Attributes:
        id: Unguessable; whoever knows it may give the machine back or extend (within their role).
        pool: The pool.
        vm: The machine.
        holder: Who has it: the caller's name, or whom the caller took it for.
        purpose: Why, for people.
        taken: When it began.
        expires: When it ends by itself.
        latest: Until when it can be extended: ``taken + lease.max``.
        warned: The grace warning was told.
        by: Who took it: the holder, or an operator who took it for them.
    """

    id: str
    pool: str
    vm: str
    holder: str
    purpose: str
    taken: float
    expires: float
    latest: float
    warned: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody in line for a machine of a pool: first come, first served.

    Attributes:
        id: Rises with each waiter, never used again.
        pool: The pool.
        holder: Who waits.
        asked: When they came.
        seen: When they last said that they still wait; who is silent for too long loses the place.
        waits: They stand in line.  Otherwise they asked and went away: a machine may be made for them, but
            none is kept back.
    """

    id: int
    pool: str
    holder: str
    asked: float
    seen: float
    waits: bool = True
