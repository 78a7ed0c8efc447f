"""Acts on one machine or volume, done once by the daemon: start, stop, restart, and snapshots.

Each is answered with an operation at once.  It waits for a daemon if none runs now, for an hour at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from falcon.asgi import Request, Response

from api.body import read_body
from api.context import require
from api.conventions import media
from api.conventions.idempotency import atomically
from api.conventions.wait import WAIT, seconds
from api.kinds import ALL, Kind
from api.operation import Answer, Body, Header, operation
from api.resources.lent import Lent
from api.resources.objects_write import tell
from api.resources.operations import ACT, STATE, Operations, accepted, say_operation
from api.schemas import FLAG, SCHEMAS, TEXT, TIME, array, thing
from api.services import Services
from api.views import View, Views, stamp
from reconciler.errors import DesiredStateError, NotFoundError, Problem
from reconciler.model.access import Role
from reconciler.model.envelope import check_identifier
from reconciler.model.request import Act
from reconciler.model.request import Request as Asked
from reconciler.model.snapshot import Snapshot

SCHEMAS["Snapshot"] = thing(
    "The state of the disks of a machine or volume at one time.",
    "name taken state memory current",
    name=TEXT,
    taken=TIME,
    state={"type": "string", "description": "Of the machine then: `running`, `shutoff` …"},
    memory={**FLAG, "description": "It holds the memory too."},
    current={**FLAG, "description": "The state of now began with this one."},
)
SCHEMAS["SnapshotList"] = thing("All of them, oldest first.", "items", items=array("Snapshot"))
SCHEMAS["SnapshotWish"] = thing(
    "What the snapshot shall be like.",
    name={"type": "string", "description": "A short lower-case word; the time of day without it."},
)
_FORCE = {**FLAG, "description": "Pull the plug, and do not ask the guest."}
SCHEMAS["RestartWish"] = thing("How to restart.", force=_FORCE)
SCHEMAS["StopWish"] = thing("How to stop.", force=_FORCE)

_ACCEPTED = Answer(202, "It goes on.", "Operation", headers={"Location": "The operation.", **STATE})
_OVER = Answer(200, "It was over within `wait`; its state says what came of it.", "Operation", headers=STATE)
_KEY = Header("Idempotency-Key", "The same request under the same key is done once.")
_SUMMARY = {Act.START: "Start a machine", Act.STOP: "Stop a machine", Act.RESTART: "Restart a machine"}

_POWER_BODIES = {Act.STOP: "StopWish", Act.RESTART: "RestartWish"}

_MACHINES = ALL["VirtualMachine"]
_WITH_SNAPSHOTS = (_MACHINES, ALL["Volume"])


def routes(services: Services, views: Views) -> Iterable[tuple[str, object]]:
    """The paths of acts."""
    acts = Acts(services, views)
    for act in _SUMMARY:
        yield f"/api/v1/{_MACHINES.path}/{{name}}/{act}", make_power(act, acts)
    for kind in _WITH_SNAPSHOTS:
        place = f"/api/v1/{kind.path}/{{name}}/snapshots"
        yield place, make_snapshots(kind, acts)
        yield f"{place}/{{snapshot}}", make_snapshot(kind, acts)
        yield f"{place}/{{snapshot}}/restore", make_restore(kind, acts)


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be done, and to what.

    Attributes:
        kind: Kind of the thing.
        name: Its name.
        act: The act.
        snapshot: As of `reconciler.model.request.Request`.
        force: Likewise.
    """

    kind: Kind
    name: str
    act: Act
    snapshot: str = ""
    force: bool = False

    @property
    def key(self) -> str:
        """A machine's name, or ``Volume/name``."""
        return self.name if self.kind is _MACHINES else f"{self.kind.name}/{self.name}"


class Acts:
    """Asks the daemon."""

    def __init__(self, services: Services, views: Views) -> None:
        self._services = services
        self._views = views
        self._operations = Operations(services, views)
        self._lent = Lent(services)

    async def ask(self, req: Request, resp: Response, wish: Wish) -> None:
        """Ask for an act, and answer with the operation."""
        media.wanted(req)
        longest = seconds(req.context.query["wait"])
        told = await self._services.run(self._ask, req, wish)
        if not longest:
            accepted(req, resp, told["media"])
            return
        said = await self._operations.wait_for(told["media"]["id"], longest)
        resp.set_header("Location", f"/api/v1/operations/{said['id']}")
        if said["state"] in ("pending", "running"):
            accepted(req, resp, said)
        else:
            say_operation(req, resp, said)

    def _ask(self, req: Request, wish: Wish) -> Mapping[str, Any]:
        view = self.seen(req, wish.kind, wish.name)
        caller = require(req, Role.OPERATOR, view.thing)
        if wish.kind is _MACHINES:
            self._lent.require_holder(req, wish.name)
        uid = view.data()["status"].get("uid") or "" if wish.kind is _MACHINES else ""
        asked = Asked(wish.act, wish.key, wish.snapshot, wish.force, uid)
        services, operations = self._services, self._operations

        def work() -> Mapping[str, Any]:
            number = services.store.add_request(asked, caller.name, services.clock())
            tell(req, services, "RequestAsked", asked.words, wish.key)
            described = operations.describe(operations.find(f"{ACT}-{number}"))
            place = f"/api/v1/operations/{described['id']}"
            return {"status": 202, "headers": {"Location": place}, "media": described}

        told = atomically(req, services, work)
        services.wake("request")
        return told

    def seen(self, req: Request, kind: Kind, name: str) -> View:
        """The thing, if it is desired and the caller may see it.

        Raises:
            NotFoundError: There is none, or they may not.
        """
        found = self._views.one(self._views.moment(kind), name)
        if found is None:
            raise NotFoundError(f"there is no {kind.name} {name!r}")
        require(req, Role.VIEWER, found.thing)
        return found

    async def snapshots(self, req: Request, kind: Kind, name: str) -> list[Snapshot]:
        """The snapshots that there are now.

        Raises:
            ConflictError: It is not on a host yet, or its host does not answer.
        """
        await self._services.run(self.seen, req, kind, name)
        key = Wish(kind, name, Act.SNAPSHOT).key
        return list(await self._services.run(self._services.planner.snapshots, key))


def make_power(act: Act, acts: Acts) -> object:
    """The resource that starts, stops or restarts."""
    schema = _POWER_BODIES.get(act)
    body = Body(schema, required=False) if schema else None

    class Power:
        """One act on a machine."""

        @operation(
            f"{act}VirtualMachine",
            summary=_SUMMARY[act],
            description="What the manifest says stays as it is: a machine whose `runStrategy` is `Always` is "
            "started again by the next tick. To keep it off, PATCH `spec.runStrategy` to `Halted`.",
            tag=_MACHINES.path,
            query=(WAIT,),
            headers=(_KEY,),
            body=body,
            answers=(_OVER, _ACCEPTED),
            problems=(409, 422),
            role=Role.OPERATOR,
        )
        async def on_post(self, req: Request, resp: Response, name: str) -> None:
            """The daemon does it."""
            wish = await _fields(req, {"force": bool}) if schema else {}
            await acts.ask(req, resp, Wish(_MACHINES, name, act, force=bool(wish.get("force"))))

    return Power()


def make_snapshots(kind: Kind, acts: Acts) -> object:
    """The resource of all snapshots of a thing."""

    class Snapshots:
        """All snapshots of one machine or volume."""

        @operation(
            f"list{kind.name}Snapshots",
            summary=f"List the snapshots of a {kind.words}",
            description="Asks its host, now.",
            tag=kind.path,
            answers=(Answer(200, "All of them, oldest first.", "SnapshotList"),),
            problems=(409, 422),
        )
        async def on_get(self, req: Request, resp: Response, name: str) -> None:
            """As its host has them now."""
            found = await acts.snapshots(req, kind, name)
            media.say(req, resp, {"items": [_snapshot(one) for one in found]})

        @operation(
            f"create{kind.name}Snapshot",
            summary=f"Take a snapshot of a {kind.words}",
            tag=kind.path,
            query=(WAIT,),
            headers=(_KEY,),
            body=Body("SnapshotWish", required=False),
            answers=(_OVER, _ACCEPTED),
            problems=(409, 422),
            role=Role.OPERATOR,
        )
        async def on_post(self, req: Request, resp: Response, name: str) -> None:
            """The daemon does it."""
            wish = await _fields(req, {"name": str})
            chosen = _checked(wish["name"]) if "name" in wish else f"at-{datetime.now(UTC):%Y%m%d-%H%M%S}"
            await acts.ask(req, resp, Wish(kind, name, Act.SNAPSHOT, chosen))

    return Snapshots()


def make_snapshot(kind: Kind, acts: Acts) -> object:
    """The resource of one snapshot."""

    class OneSnapshot:
        """One snapshot of one machine or volume."""

        @operation(
            f"delete{kind.name}Snapshot",
            summary="Delete a snapshot",
            tag=kind.path,
            query=(WAIT,),
            headers=(_KEY,),
            answers=(_OVER, _ACCEPTED),
            problems=(409, 422),
            role=Role.OPERATOR,
        )
        async def on_delete(self, req: Request, resp: Response, name: str, snapshot: str) -> None:
            """The thing itself stays as it is."""
            await acts.ask(req, resp, Wish(kind, name, Act.DELETE_SNAPSHOT, snapshot))

    return OneSnapshot()


def make_restore(kind: Kind, acts: Acts) -> object:
    """The resource that goes back to a snapshot."""

    class Restore:
        """The way back to one snapshot."""

        @operation(
            f"restore{kind.name}Snapshot",
            summary="Go back to a snapshot",
            description="What was written since then is lost.",
            tag=kind.path,
            query=(WAIT,),
            headers=(_KEY,),
            answers=(_OVER, _ACCEPTED),
            problems=(409, 422),
            role=Role.OPERATOR,
        )
        async def on_post(self, req: Request, resp: Response, name: str, snapshot: str) -> None:
            """The daemon does it."""
            await acts.ask(req, resp, Wish(kind, name, Act.RESTORE, snapshot))

    return Restore()


async def _fields(req: Request, known: Mapping[str, type]) -> dict[str, Any]:
    """The fields of a small body, which may be missing.

    Raises:
        DesiredStateError: There is another field, or a value of another type.
    """
    if not await read_body(req):
        return {}
    data = await media.read_object(req)
    wrong = [
        Problem("body", 0, 0, key, f"there is no such field; known: {', '.join(known)}")
        if key not in known
        else Problem("body", 0, 0, key, "it has a value of another type")
        for key, value in data.items()
        if not isinstance(value, known.get(key, ()))
    ]
    if wrong:
        raise DesiredStateError(wrong)
    return data


def _checked(name: str) -> str:
    try:
        return check_identifier(name)
    except ValueError as error:
        raise DesiredStateError([Problem("body", 0, 0, "name", str(error))]) from error


def _snapshot(one: Snapshot) -> dict[str, object]:
    return {
        "name": one.name,
        "taken": stamp(one.created),
        "state": one.state,
        "memory": one.memory,
        "current": one.current,
    }
