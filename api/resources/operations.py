"""``/operations``: what takes a while. It can be looked at and waited for; what is not begun, cancelled."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import falcon
from falcon.asgi import Request, Response

from api.context import require
from api.conventions import media
from api.conventions.pages import CONTINUE, LIMIT, cut, parse_page
from api.conventions.wait import SHOWN_WITHIN, WAIT, Aim, Verdict, judge, seconds, shown, until
from api.hints import over_http
from api.kinds import ALL
from api.operation import Answer, operation
from api.schemas import SCHEMAS, TIME, array, listing, thing
from api.services import Services
from api.streams import STREAMED, asked_for, begin
from api.views import Views, stamp
from api.watching import WATCH, OperationStream
from reconciler.errors import ConflictError, NotFoundError
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.placement import is_machine
from reconciler.model.request import RequestRecord, RequestState
from reconciler.store.base_api import OperationRecord

ACT = "act"
"""What the id of an act on a machine begins with; those of others with their kind."""

DAEMON = "reconciler run"
"""For what a daemon holds the store."""

_GONE = "the daemon that began it is gone; the next one tells what became of it"

SCHEMAS["Operation"] = thing(
    "Something that takes a while.",
    "id kind subject state message asked changed by code results",
    id={"type": "string", "description": "Ask for it at `/api/v1/operations/{id}`."},
    kind={"type": "string", "description": "`start`, `snapshot` …; `wait` for a change; `apply`."},
    subject={"type": "string", "description": "`Kind/name`, or empty."},
    state={"type": "string", "enum": [str(state) for state in RequestState]},
    message={"type": "string", "description": "How far it is, or what became of it."},
    asked=TIME,
    changed=TIME,
    by={"type": "string", "description": "Who asked."},
    code={"type": "integer", "description": "What a command would have exited with; 0 until it is over."},
    results=array({"type": "object", "description": "What became of one action."}),
)
SCHEMAS["OperationList"] = listing("Operation")

_ONE = Answer(200, "How far it is.", "Operation")


def routes(services: Services, views: Views) -> Iterable[tuple[str, object]]:
    """The paths of operations."""
    operations = Operations(services, views)
    yield "/api/v1/operations", Collection(operations)
    yield "/api/v1/operations/{id}", Item(operations)
    yield "/api/v1/operations/{id}/cancel", Cancel(operations)


class Operations:
    """Acts, waits and calls for a tick, in one form."""

    def __init__(self, services: Services, views: Views) -> None:
        self.services = services
        self._views = views

    def find(self, id_: str) -> RequestRecord | OperationRecord:
        """The operation of this id.

        Raises:
            NotFoundError: There is none (any more).
        """
        kind, _, number = id_.rpartition("-")
        found: RequestRecord | OperationRecord | None = None
        if number.isascii() and number.isdigit() and len(number) < 18:
            store = self.services.store
            found = store.request(int(number)) if kind == ACT else store.operation(int(number))
        if found is None or (isinstance(found, OperationRecord) and found.kind != kind):
            raise NotFoundError(f"there is no operation {id_!r} (any more)")
        return found

    def describe(self, found: RequestRecord | OperationRecord) -> dict[str, Any]:
        """An operation as it is answered."""
        if isinstance(found, OperationRecord):
            state, message, _ = self._settle(found)
            return {
                "id": f"{found.kind}-{found.id}",
                "kind": found.kind,
                "subject": found.subject,
                "state": str(state),
                "message": message,
                **self._about(found),
                "code": 1 if state in (RequestState.FAILED, RequestState.CANCELLED) else 0,
                "results": [],
            }
        results = [
            {
                "id": one.id,
                "host": one.host,
                "vm": one.vm,
                "outcome": str(one.outcome),
                "reason": one.reason,
                "message": one.message,
                "seconds": one.seconds,
            }
            for one in found.results
        ]
        return {
            "id": f"{ACT}-{found.id}",
            "kind": str(found.request.act),
            "subject": _subject(found),
            "state": str(found.state),
            "message": over_http(found.message) or self._how_far(found.state),
            **self._about(found),
            "code": found.code,
            "results": results,
        }

    def _about(self, found: RequestRecord | OperationRecord) -> dict[str, str]:
        return {"asked": stamp(found.asked), "changed": stamp(found.changed), "by": found.by}

    def _how_far(self, state: RequestState) -> str:
        by = self.services.store.holder()
        lives = by is not None and by.purpose == DAEMON
        if state is RequestState.RUNNING:
            return "the daemon does it" if lives else _GONE
        if lives:
            return "the daemon is asked"
        return "it waits for a daemon, which does not run now; after an hour it is not done any more"

    def _settle(self, found: OperationRecord) -> Verdict:
        """How far it is; what became of a wait is found out here, and then kept."""
        if found.kind != "wait" or found.state.final:
            return Verdict(found.state, found.message or self._how_far(found.state))
        verdict = judge(self.services, self._views, Aim.from_json(found.data))
        if verdict.state.final:
            now = self.services.clock()
            self.services.store.step_operation(found.id, found.state, verdict.state, verdict.message, now)
        return verdict

    def visible(self, caller: Caller, found: RequestRecord | OperationRecord) -> bool:
        """Whoever asked for it may see it; so may who may see what it is about."""
        return found.by == caller.name or caller.may(Role.VIEWER, self.thing(found))

    def thing(self, found: RequestRecord | OperationRecord) -> Thing:
        """What an operation is about."""
        kind, _, name = _subject(found).partition("/")
        if kind not in ALL:
            return Thing()
        view = self._views.one(self._views.moment(ALL[kind]), name)
        return view.thing if view is not None else Thing(kind, name)

    def seen(self, req: Request, id_: str) -> RequestRecord | OperationRecord:
        """The operation of this id, if the caller may see it.

        Raises:
            NotFoundError: There is none, or they may not.
        """
        found = self.find(id_)
        if not self.visible(req.context.caller, found):
            raise NotFoundError(f"there is no operation {id_!r} (any more)")
        return found

    def cancel(self, req: Request, id_: str) -> dict[str, Any]:
        """Take it back.

        Raises:
            ConflictError: It is begun, or over.
        """
        found = self.seen(req, id_)
        require(req, Role.OPERATOR, self.thing(found))
        store, now = self.services.store, self.services.clock()
        message = f"taken back by {req.context.caller.name}"
        if isinstance(found, RequestRecord):
            done = store.cancel_request(found.id, message, now)
        else:
            done = store.step_operation(found.id, RequestState.PENDING, RequestState.CANCELLED, message, now)
        if not done:
            state = self.find(id_).state
            raise ConflictError(f"operation {id_} is {state}: it cannot be taken back any more")
        return self.describe(self.find(id_))

    def listed(self, caller: Caller, limit: int | None, token: str | None) -> dict[str, Any]:
        """A page of those that the caller may see, newest first."""
        store = self.services.store
        both: list[RequestRecord | OperationRecord] = [
            *store.requests(limit=1000),
            *store.operations(limit=1000),
        ]
        found = sorted(
            both,
            key=_order,
        )
        seen = [one for one in found if self.visible(caller, one)]
        page = parse_page(limit, token, "operations")
        begin, end, more = cut([_order(one) for one in seen], page)
        items = [self.describe(one) for one in seen[begin:end]]
        return {"items": items, **({"continue": more} if more else {})}

    async def wait_for(self, id_: str, longest: float) -> dict[str, Any]:
        """How it is when it is over, or the time is."""
        said: dict[str, Any] = {}

        async def over() -> bool:
            said.update(await self.services.run(lambda: self.describe(self.find(id_))))
            return RequestState(said["state"]).final

        await until(over, longest)
        return said

    async def wait_for_aim(self, req: Request, resp: Response, aim: Aim, longest: float) -> bool:
        """Wait until a change is true, if time helps. False: it is not, and the answer is an operation."""
        told: list[Verdict] = []

        async def over() -> bool:
            told.append(await self.services.run(judge, self.services, self._views, aim))
            return told[-1].over

        async def complete() -> bool:
            return await self.services.run(shown, self._views, aim)

        await until(over, longest)
        if told[-1].state is RequestState.DONE:
            await until(complete, SHOWN_WITHIN)
            return True
        await self.services.run(self._answer_later, req, resp, aim)
        return False

    def _answer_later(self, req: Request, resp: Response, aim: Aim) -> None:
        store, by = self.services.store, req.context.caller.name
        number = store.add_operation("wait", aim.key, by, aim.to_json(), self.services.clock())
        accepted(req, resp, self.describe(self.find(f"wait-{number}")))


def _subject(found: RequestRecord | OperationRecord) -> str:
    """``Kind/name``; of acts on what is no object (``HOST/DOMAIN``) just that."""
    if isinstance(found, OperationRecord):
        return found.subject
    return f"VirtualMachine/{found.request.vm}" if is_machine(found.request.vm) else found.request.vm


def _order(one: RequestRecord | OperationRecord) -> str:
    """Newest first, as text that sorts."""
    kind = ACT if isinstance(one, RequestRecord) else one.kind
    return f"{10**11 - one.asked:019.6f} {10**17 - one.id:018d} {kind}"


STATE = {"Reconciler-Operation": "The operation's state: a status of 2xx does not say that it succeeded."}
"""Header of every answer that is an operation, for `Answer.headers`."""


def accepted(req: Request, resp: Response, described: Mapping[str, Any]) -> None:
    """Answer with an operation that goes on."""
    resp.status = falcon.HTTP_202
    resp.set_header("Location", f"/api/v1/operations/{described['id']}")
    say_operation(req, resp, described)


def say_operation(req: Request, resp: Response, described: Mapping[str, Any]) -> None:
    """Answer with an operation, whose state is in the header too."""
    resp.set_header("Reconciler-Operation", described["state"])
    media.say(req, resp, described)


class Collection:
    """All of them."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @operation(
        "listOperations",
        summary="List operations",
        tag="operations",
        query=(LIMIT, CONTINUE),
        answers=(Answer(200, "The newest first; the last 1000 are kept.", "OperationList"),),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """Those about things that the caller may see."""
        query, operations = req.context.query, self._operations
        found = await operations.services.run(
            operations.listed, req.context.caller, query["limit"], query["continue"]
        )
        media.say(req, resp, found)


class Item:
    """One of them."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @operation(
        "getOperation",
        summary="Look at an operation, or wait for it",
        tag="operations",
        query=(WAIT, WATCH[0]),
        answers=(Answer(200, "How far it is.", "Operation", media=STREAMED),),
    )
    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002 (the path says so)
        """How far it is now, or when it is over; or each time it goes on."""
        longest = seconds(req.context.query["wait"])
        operations = self._operations
        await operations.services.run(operations.seen, req, id)
        if asked_for(req):
            operations.services.hub.make_room()
            look = functools.partial(_look, operations, id)
            begin(resp, OperationStream(operations.services, req, look))
            return
        media.say(req, resp, await self._operations.wait_for(id, longest))

    @operation(
        "deleteOperation",
        summary="Cancel an operation",
        tag="operations",
        answers=(Answer(200, "It is cancelled.", "Operation"),),
        problems=(409,),
        role=Role.OPERATOR,
    )
    async def on_delete(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """As `POST …/cancel`."""
        media.say(req, resp, await self._operations.services.run(self._operations.cancel, req, id))


def _look(operations: Operations, id_: str) -> Mapping[str, Any]:
    return operations.describe(operations.find(id_))


class Cancel:
    """The end of one of them."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @operation(
        "cancelOperation",
        summary="Cancel an operation",
        description="Only what is not begun can be cancelled. A wait is always begun: its change is made.",
        tag="operations",
        answers=(Answer(200, "It is cancelled.", "Operation"),),
        problems=(409,),
        role=Role.OPERATOR,
    )
    async def on_post(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Nothing of it is done."""
        media.say(req, resp, await self._operations.services.run(self._operations.cancel, req, id))
