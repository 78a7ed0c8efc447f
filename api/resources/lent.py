"""What the resources of leases share: bodies, who may do what to a lease, and how one is shown."""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar

from falcon.asgi import Request
from pydantic import Field

from api.context import require
from api.conventions import media
from api.operation import BadQueryError
from api.services import Services
from reconciler.desired.decode import validate
from reconciler.desired.yaml_file import show_path
from reconciler.errors import DesiredStateError, ForbiddenError, NotFoundError, Problem, ReconcilerError
from reconciler.leasing.shown import show_lease
from reconciler.leasing.terms import LONGEST_TEXT
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.envelope import Manifest
from reconciler.model.pool import Lease
from reconciler.model.units import Duration

_POOL = "VirtualMachinePool"
_LINE = r"^[^\x00-\x1f\x7f]*$"

Model = TypeVar("Model", bound=Manifest)


class BodyError(DesiredStateError):
    """A body that says what cannot be, with every mistake in it."""

    subject = "the body"


class WishBody(Manifest):
    """Who wants a machine, and for how long.

    Attributes:
        ttl: Seconds; as long as the pool lends by itself.
        purpose: Why, for people.
        holder: For whom; the caller.
    """

    ttl: Duration | None = Field(default=None, gt=0)
    purpose: str = Field(default="", max_length=LONGEST_TEXT, pattern=_LINE)
    holder: str = Field(default="", max_length=LONGEST_TEXT, pattern=_LINE)


class LongerBody(Manifest):
    """How long a machine is kept.

    Attributes:
        ttl: Seconds from now on.
    """

    ttl: Duration = Field(gt=0)


async def read_as(req: Request, model: type[Model]) -> Model:
    """The body, or what an empty one means.

    Raises:
        BodyError: It does not fit, with every mistake in it.
    """
    data = await media.read_data(req)
    made, mistakes = validate(model, {} if data is None else data)
    if made is None:
        raise BodyError([Problem("body", 0, 0, show_path(one.path), one.message) for one in mistakes])
    return made


def key_of(req: Request) -> str:
    """The wish's key, or nothing; it is kept with the lease itself, in the same transaction.

    Raises:
        BadQueryError: It is none.
    """
    given = req.get_header("Idempotency-Key")
    if given is None:
        return ""
    if not 1 <= len(given) <= 255 or not given.isprintable():
        message = "a key has 1 to 255 printable characters"
        raise BadQueryError([Problem("headers", 0, 0, "Idempotency-Key", message)])
    return given


class Lent:
    """Leases as callers may see and use them. Its methods block."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def require_pool(self, req: Request, pool: str) -> Caller:
        """Who asks, if they may take machines of the pool.

        Raises:
            NotFoundError: There is none, or none that they may see.
            ForbiddenError: They may see it only.
        """
        labels = self._services.leasing.pools.get(pool).metadata.labels
        return require(req, Role.OPERATOR, Thing(_POOL, pool, labels))

    def visible(self, req: Request, pool: str | None, holder: str | None, vm: str | None) -> list[Lease]:
        """The leases that the caller may see and asks for, by machine."""
        caller: Caller = req.context.caller
        seen: dict[str, bool] = {}
        found = []
        for lease in self._services.leasing.leases(pool):
            if lease.pool not in seen:
                seen[lease.pool] = caller.may(Role.VIEWER, self._thing(lease.pool))
            if seen[lease.pool] and holder in (None, lease.holder) and vm in (None, lease.vm):
                found.append(lease)
        return sorted(found, key=lambda lease: lease.vm)

    def find(self, req: Request, lease: str, role: Role) -> Lease:
        """The lease, if the caller has this role for its pool.

        Raises:
            NotFoundError: There is none, or none that they may see.
            ForbiddenError: They may see it only.
        """
        return self._allowed(req, self._services.leasing.lease(lease), role)

    def own(self, req: Request, lease: str) -> Lease:
        """The lease, if it is the caller's to end or extend. Raises as `find` does."""
        return self._owned(req, self.find(req, lease, Role.OPERATOR))

    def own_vm(self, req: Request, vm: str) -> Lease:
        """Likewise the lease of a machine."""
        found = self._services.leasing.lease_of(vm)
        return self._owned(req, self._allowed(req, found, Role.OPERATOR))

    def require_holder(self, req: Request, vm: str) -> None:
        """Refuse who would act on a machine that somebody else has.

        Raises:
            ForbiddenError: They would.
        """
        with contextlib.suppress(NotFoundError):  # nobody has it
            self._owned(req, self._services.leasing.lease_of(vm))

    def show(self, lease: Lease, *, machine: bool = False) -> dict[str, Any]:
        """A lease as it is answered, perhaps with how its machine was seen last."""
        return show_lease(self._services.store, lease, self._services.clock(), machine=machine)

    def _allowed(self, req: Request, lease: Lease, role: Role) -> Lease:
        caller: Caller = req.context.caller
        thing = self._thing(lease.pool)
        if not caller.may(Role.VIEWER, thing) and not caller.may(role, thing):
            # Not its id: who asks by a machine's name must not learn that.
            raise NotFoundError("there is no such lease (any more)", hint="see: GET /api/v1/leases")
        require(req, role, thing)
        return lease

    def _owned(self, req: Request, lease: Lease) -> Lease:
        caller: Caller = req.context.caller
        if caller.name in (lease.holder, lease.by) or caller.may(Role.ADMIN, self._thing(lease.pool)):
            return lease
        raise ForbiddenError(
            f"{lease.vm} is leased to {lease.holder}, not to {caller.name}",
            hint="ask them to give it back, or an admin",
        )

    def _thing(self, pool: str) -> Thing:
        try:
            known = self._services.leasing.pools.all().get(pool)
        except ReconcilerError:
            # A desired state that is refused keeps nobody from giving a machine back.
            known = None
        return Thing(_POOL, pool, known.metadata.labels if known is not None else {})
