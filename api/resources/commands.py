"""What the command line needs beside the objects: views of the hosts, and what operators vouch for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from falcon.asgi import Request, Response

from api.context import require
from api.conventions import media
from api.conventions.idempotency import atomically
from api.operation import Answer, BadQueryError, Body, Query, operation
from api.resources.lent import read_as
from api.resources.objects import IDEMPOTENCY_KEY
from api.resources.operations import Operations, accepted
from api.schemas import FLAG, SCHEMAS, TEXT, array, thing
from api.services import Services
from api.views import Views
from reconciler import operators
from reconciler.desired.validation import validation
from reconciler.errors import ConflictError, HostError, NotFoundError, Problem, ReconcilerError
from reconciler.model.access import Role, Thing
from reconciler.model.envelope import Manifest
from reconciler.model.request import REQUEST_JSON, Act
from reconciler.model.request import Request as Asked

FLEET = ("hosts", "pools", "volumes", "networks", "disks", "machinepools", "inventory", "adoption")
"""Views of `reconciler.views` for those whose grants reach everything."""

MACHINE = ("describe", "explain", "snapshots")
"""Likewise of one object (a machine, or ``Volume/NAME``), for those who may see it."""

VALIDATION = "validation"

BLOCKED = 7
"""Exit code of what is refused because its machine must be left alone now."""

OWNERSHIP = {"adopt": Act.ADOPT, "forget": Act.FORGET, "discard": Act.DISCARD}

VOUCHING: Mapping[str, Callable[..., str]] = {
    "assume-empty": operators.assume_empty,
    "declare-dead": operators.declare_dead,
    "withdraw": operators.withdraw,
}

SCHEMAS["View"] = {
    "type": ["object", "array"],
    "description": "As the command prints it with `-o json`; some have `lines` for people too.",
}
SCHEMAS["RetryWish"] = thing(
    "Whose failures are to be forgotten.",
    machines={**array(TEXT), "description": "These."},
    all={**FLAG, "description": "All that wait."},
)
SCHEMAS["Retried"] = thing("Who is tried again.", "machines", machines=array(TEXT))
SCHEMAS["OwnershipWish"] = thing(
    "What becomes ours, ceases to be, or goes for good.",
    "about",
    about={
        "type": "string",
        "minLength": 1,
        "maxLength": 512,
        "description": "`HOST/DOMAIN` for `adopt`, that or a machine for `forget`, "
        "`HOST/POOL/NAME` for `discard`.",
    },
)
SCHEMAS["ActWish"] = {
    **thing(
        "An act on a machine or volume.",
        "act vm",
        act={"enum": [str(act) for act in Act if act not in OWNERSHIP.values()]},
        vm={
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "description": "The machine, or `Volume/NAME`.",
        },
        snapshot={"type": "string", "maxLength": 63},
        force=FLAG,
    ),
    "additionalProperties": False,
}
SCHEMAS["Vouched"] = thing("What an operator vouched for.", "message", message=TEXT)

_ASKED = Answer(202, "The daemon is asked.", "Operation", headers={"Location": "The operation."})


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths."""
    operations = Operations(services, Views(services.desired, services.store))
    yield "/api/v1/views/{view}", View(services)
    yield "/api/v1/commands/retry", Retry(services)
    yield "/api/v1/commands/plan", PlanAct(services)
    for word, act in OWNERSHIP.items():
        yield f"/api/v1/commands/{word}", make_ownership(word, act, services, operations)
    for word in VOUCHING:
        yield f"/api/v1/hosts/{{host}}/{word}", make_vouching(word, services)


class View:
    """What a command shows, made from a look at the hosts."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "getView",
        summary="What a command of the command line shows",
        description="Looks at the hosts, unless it is `validation`. For `reconciler --server`: its form "
        "follows the command's, and may change with it.",
        tag="commands",
        query=(
            Query(
                "about",
                {"type": "string", "maxLength": 512},
                "Of what: a machine or `Kind/name` for `describe`, a machine for `explain`, `HOST/DOMAIN` "
                "for `adoption`, `auto`, `always` or `never` for `inventory`.",
                default="",
            ),
        ),
        answers=(Answer(200, "It.", "View", ("application/json",)),),
        problems=(409, 422),
    )
    async def on_get(self, req: Request, resp: Response, view: str) -> None:
        """It."""
        about: str = req.context.query["about"]
        if view == VALIDATION:
            require(req, Role.VIEWER)
            found: object = await self._services.run(validation, self._services.desired.read_newest)
        elif view in FLEET:
            require(req, Role.VIEWER)
            found = await self._services.run(shown, self._services, view, about)
        elif view in MACHINE:
            await self._services.run(require_seen, self._services, req, about)
            found = await self._services.run(shown, self._services, view, about)
        else:
            known = ", ".join((*FLEET, *MACHINE, VALIDATION))
            raise NotFoundError(f"there is no view {view!r}", hint=f"there is: {known}")
        resp.content_type = media.JSON
        # Sets, times and the like: as `print_json` of the command has them.
        resp.text = json.dumps(found, default=str)


def shown(services: Services, view: str, about: str) -> object:
    """A view, made now.

    Raises:
        ConflictError: What is there does not allow it: a host that is silent, a machine to be left alone. To
            ask again at once is of no use.
        ReconcilerError: There is nothing of that name, or the desired state is refused.
    """
    try:
        return services.planner.show(view, about)
    except ReconcilerError as error:
        if type(error) not in (ReconcilerError, HostError):
            raise
        refused = ConflictError(error.message, hint=error.hint)
        refused.reason = "Blocked" if error.exit_code == BLOCKED else "Conflict"  # type: ignore[misc]
        raise refused from error


def require_seen(services: Services, req: Request, about: str, role: Role = Role.VIEWER) -> None:
    """Refuse for who may not see (or, with `role`, do something to) a machine, or ``Kind/name``."""
    kind, slash, name = about.partition("/")
    if slash:
        require(req, role, Thing(kind.capitalize(), name))
        return
    machine = services.desired.read().machines.get(about)
    labels = machine.metadata.labels if machine is not None else {}
    require(req, role, Thing("VirtualMachine", about, labels))


class Retry:
    """`reconciler retry`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "retryMachines",
        summary="Try again now what failed",
        tag="commands",
        headers=(IDEMPOTENCY_KEY,),
        body=Body("RetryWish"),
        answers=(Answer(200, "They are tried at the next tick.", "Retried"),),
        role=Role.OPERATOR,
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Forget failures."""
        said = await media.read_object(req)
        machines: Any = said.get("machines", [])
        everything = said.get("all", False)
        if said.keys() - {"machines", "all"} or not isinstance(everything, bool) or not _texts(machines):
            raise _bad("machines", "write a list of machines, or all: true")
        if everything:
            require(req, Role.OPERATOR)
        elif not machines:
            raise _bad("machines", "name a machine, or write all: true")
        for name in machines:
            await self._services.run(require_seen, self._services, req, name, Role.OPERATOR)
        wanted = None if everything else machines
        chosen = await self._services.run(operators.retry, self._services.store, wanted)
        self._services.wake("retry")
        media.say(req, resp, {"machines": list(chosen)})


class ActBody(Manifest):
    """An act, as a body says it; see `reconciler.model.request.Request`."""

    act: Act
    vm: str
    snapshot: str = ""
    force: bool = False
    uid: str = ""
    taken: float = 0.0


class PlanAct:
    """What an act would do."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "planAct",
        summary="Plan an act on a machine or volume",
        description="Looks at its host, and changes nothing. The act itself is a POST to the machine.",
        tag="plans",
        body=Body("ActWish"),
        answers=(Answer(200, "The plan.", "Plan", ("application/json",)),),
        problems=(404, 409, 422),
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Plan it."""
        said = await read_as(req, ActBody)
        asked = Asked(said.act, said.vm, said.snapshot, said.force, said.uid, said.taken)
        if asked.act in OWNERSHIP.values():
            raise _bad("act", "this is no act on a machine or volume")
        await self._services.run(require_seen, self._services, req, asked.vm)
        text = REQUEST_JSON.dump_json(asked).decode()
        resp.content_type = media.JSON
        resp.text = json.dumps(await self._services.run(shown, self._services, "act", text))


def make_ownership(word: str, act: Act, services: Services, operations: Operations) -> object:
    """The resource of one of `OWNERSHIP`."""

    class Ownership:
        """An act of the daemon on what is no machine of the desired state."""

        @operation(
            f"{word}Thing",
            summary={
                "adopt": "Mark a domain as the machine that a manifest was written for",
                "forget": "Take our mark from a domain",
                "discard": "Delete a kept disk or volume, with its data",
            }[word],
            tag="commands",
            headers=(IDEMPOTENCY_KEY,),
            body=Body("OwnershipWish"),
            answers=(_ASKED,),
            role=Role.OPERATOR,
        )
        async def on_post(self, req: Request, resp: Response) -> None:
            """Ask the daemon; who asks may do so with everything."""
            media.wanted(req)
            caller = require(req, Role.OPERATOR)
            said = await media.read_object(req)
            if unknown := said.keys() - {"about"}:
                raise _bad(min(unknown), "there is no such field; known: about")
            about = said.get("about")
            if not isinstance(about, str) or not 1 <= len(about) <= 512:
                raise _bad("about", "write what it is about")

            def work() -> Mapping[str, Any]:
                number = services.store.add_request(Asked(act, about), caller.name, services.clock())
                described = operations.describe(operations.find(f"act-{number}"))
                place = f"/api/v1/operations/{described['id']}"
                return {"status": 202, "headers": {"Location": place}, "media": described}

            told = await services.run(atomically, req, services, work)
            services.wake("request")
            accepted(req, resp, told["media"])

    return Ownership()


def make_vouching(word: str, services: Services) -> object:
    """The resource of one of `VOUCHING`."""
    first, _, second = word.partition("-")

    class Vouching:
        """What an operator vouches for about a host that does not answer."""

        @operation(
            f"{first}{second.title()}Host",
            summary=f"As `reconciler hosts {word}`",
            tag="hosts",
            query=(Query("dryRun", {"type": "boolean"}, "Only say what follows from it.", default=False),),
            answers=(Answer(200, "It is so until the host answers.", "Vouched"),),
            problems=(409, 422),
            role=Role.ADMIN,
        )
        async def on_post(self, req: Request, resp: Response, host: str) -> None:
            """Write it down."""
            media.wanted(req)
            require(req, Role.ADMIN, Thing("Host", host))
            media.say(req, resp, {"message": await services.run(self._vouch, req, host)})

        def _vouch(self, req: Request, host: str) -> str:
            if word != "withdraw":
                _require_silent(services, host, known=word == "assume-empty")
            if req.context.query["dryRun"]:
                return operators.consequence(services.store, host)
            told = VOUCHING[word](services.store, host)
            services.wake("vouched")
            return told

    return Vouching()


def _require_silent(services: Services, host: str, *, known: bool) -> None:
    """Refuse for a host that lives, or that nobody knows; with `known` for one that is only on record too."""
    seen = services.planner.host(host)
    if seen is not None:
        operators.refuse_living(host, *seen)
    elif known or not operators.machines_on(services.store, host):
        raise NotFoundError(f"there is no host {host!r}", hint="see: reconciler get hosts")


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _bad(path: str, message: str) -> BadQueryError:
    return BadQueryError([Problem("body", 0, 0, path, message)])
