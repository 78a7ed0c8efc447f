"""Machines that are lent: taken, kept longer, given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from falcon.asgi import Request, Response

from api.conventions import media
from api.conventions.fields import FIELDS, parse_fields, select
from api.conventions.pages import CONTINUE, LIMIT, cut, parse_page
from api.conventions.wait import seconds
from api.operation import Answer, Body, Header, Query, operation
from api.resources.lent import Lent, LongerBody, WishBody, key_of, read_as
from api.resources.objects import IDEMPOTENCY_KEY
from api.services import Services
from reconciler.errors import UnavailableError
from reconciler.leasing import Wish
from reconciler.model.access import Role
from reconciler.model.pool import Lease

WAIT = Query(
    "wait",
    {"type": "string", "format": "duration", "maxLength": 40},
    "Wait in line for so long (`30s`, at most 1h) if there is none; who came first is served first.",
)
KEY = Header(
    "Idempotency-Key",
    "The same wish under the same key gives the same lease, also after the connection broke; and who asks "
    "again within some seconds keeps their place in line.",
)
_MERGE = ("application/merge-patch+json", "application/json", "application/yaml")


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths of leases."""
    lent = Lent(services)
    yield "/api/v1/virtualmachinepools/{name}/checkout", Checkout(services, lent)
    yield "/api/v1/virtualmachines/{name}/checkin", Checkin(services, lent)
    yield "/api/v1/leases", Leases(services, lent)
    yield "/api/v1/leases/{id}", OneLease(services, lent)


class Checkout:
    """The machines of a pool, for whoever comes."""

    def __init__(self, services: Services, lent: Lent) -> None:
        self._services = services
        self._lent = lent

    @operation(
        "checkoutMachine",
        summary="Take a machine of a pool",
        description="It is the holder's alone until it is given back or its time is over. Where there is "
        "none now, the answer is 503 with the reason `NoneAvailable`, and `Retry-After`.",
        tag="leases",
        query=(WAIT,),
        headers=(KEY,),
        body=Body("CheckoutWish", required=False),
        answers=(Answer(201, "The lease, with the machine.", "Lease", headers={"Location": "The lease."}),),
        problems=(404, 409, 422),
        role=Role.OPERATOR,
        minds_key=True,
    )
    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        """Take one."""
        media.wanted(req)
        longest = seconds(req.context.query["wait"])
        said = await read_as(req, WishBody)
        caller = await self._services.run(self._lent.require_pool, req, name)
        wish = Wish(name, caller.name, said.holder, said.purpose, said.ttl, key_of(req))
        if longest:
            lease = await self._wait(req, wish, longest)
        else:
            lease = await self._services.run(self._services.leasing.checkout, wish)
        resp.status = 201
        resp.set_header("Location", f"/api/v1/leases/{lease.id}")
        media.say(req, resp, await self._services.run(self._lent.show, lease, machine=True))

    async def _wait(self, req: Request, wish: Wish, longest: float) -> Lease:
        """Wait in line, as long as there is somebody to answer to."""
        run, leasing = self._services.run, self._services.leasing
        ticket = await run(leasing.wait, wish, longest)
        answer = asyncio.wrap_future(ticket.future)
        gone = asyncio.ensure_future(hung_up(req))
        try:
            both: set[asyncio.Future[Any]] = {answer, gone}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise UnavailableError("who asked went away")
        finally:
            gone.cancel()
            if not answer.done():
                await asyncio.shield(run(leasing.leave, ticket))


async def hung_up(req: Request) -> None:
    """Until the caller's connection is gone; their body must have been read."""
    # Falcon has this only for event streams.
    while (await req._receive())["type"] != "http.disconnect":
        pass


class Leases:
    """All leases that the caller may see."""

    def __init__(self, services: Services, lent: Lent) -> None:
        self._services = services
        self._lent = lent

    @operation(
        "listLeases",
        summary="List leases",
        tag="leases",
        query=(
            Query("pool", {"type": "string", "maxLength": 63}, "Only of this pool."),
            Query("holder", {"type": "string", "maxLength": 256}, "Only of this holder."),
            Query("vm", {"type": "string", "maxLength": 74}, "Only of this machine."),
            FIELDS,
            LIMIT,
            CONTINUE,
        ),
        answers=(Answer(200, "The leases, by machine.", "LeaseList"),),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """List them."""
        query = req.context.query
        paths = parse_fields(query["fields"], ())
        said = (query["pool"], query["holder"], query["vm"])
        page = parse_page(query["limit"], query["continue"], "leases", *said)
        found = await self._services.run(self._lent.visible, req, *said)
        begin, end, token = cut([lease.vm for lease in found], page)
        items: list[Any] = [self._lent.show(lease) for lease in found[begin:end]]
        if paths is not None:
            items = [select(item, paths) for item in items]
        media.say(req, resp, {"items": items, **({"continue": token} if token else {})})


class OneLease:
    """One of them."""

    def __init__(self, services: Services, lent: Lent) -> None:
        self._services = services
        self._lent = lent

    @operation(
        "getLease",
        summary="Get a lease, with its machine",
        tag="leases",
        query=(FIELDS,),
        answers=(Answer(200, "It.", "Lease"),),
        problems=(404,),
    )
    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """It."""
        paths = parse_fields(req.context.query["fields"], ())
        lease = await self._services.run(self._lent.find, req, id, Role.VIEWER)
        shown: Any = await self._services.run(self._lent.show, lease, machine=True)
        shown = shown if paths is None else select(shown, paths)
        media.say(req, resp, shown)

    @operation(
        "extendLease",
        summary="Keep a machine longer",
        description="For so long from now on, within what the pool lends in all. For the holder, whoever "
        "took it for them, and admins.",
        tag="leases",
        body=Body("LeaseChange", media=_MERGE),
        answers=(Answer(200, "The lease as it is now.", "Lease"),),
        problems=(404, 409, 422),
        role=Role.OPERATOR,
    )
    async def on_patch(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Keep it."""
        media.wanted(req)
        said = await read_as(req, LongerBody)
        run, leasing = self._services.run, self._services.leasing
        lease = await run(self._lent.own, req, id)
        lease = await run(leasing.extend, lease.id, said.ttl, req.context.caller.name)
        media.say(req, resp, await run(self._lent.show, lease, machine=True))

    @operation(
        "endLease",
        summary="Give a machine back",
        description="For the holder, whoever took it for them, and admins.",
        tag="leases",
        answers=(Answer(204, "It is given back, and is made ready for the next one."),),
        problems=(404,),
        role=Role.OPERATOR,
    )
    async def on_delete(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Give it back."""
        run, leasing = self._services.run, self._services.leasing
        lease = await run(self._lent.own, req, id)
        await run(leasing.checkin, lease.id, req.context.caller.name)
        resp.status = 204


class Checkin:
    """The lease of a machine, by the machine's name."""

    def __init__(self, services: Services, lent: Lent) -> None:
        self._services = services
        self._lent = lent

    @operation(
        "checkinMachine",
        summary="Give a machine back, by its name",
        description="As `DELETE` of its lease.",
        tag="leases",
        headers=(IDEMPOTENCY_KEY,),
        answers=(Answer(200, "The lease that ended.", "Lease"),),
        problems=(404,),
        role=Role.OPERATOR,
    )
    async def on_post(self, req: Request, resp: Response, name: str) -> None:
        """Give it back."""
        media.wanted(req)
        run, leasing = self._services.run, self._services.leasing
        lease = await run(self._lent.own_vm, req, name)
        ended = await run(leasing.checkin, lease.id, req.context.caller.name)
        media.say(req, resp, self._lent.show(ended))
