"""``/apply``: asks the daemon for a tick now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from falcon.asgi import Request, Response

from api.context import require
from api.conventions import media
from api.conventions.idempotency import atomically
from api.conventions.wait import WAIT, seconds
from api.operation import Answer, Header, Query, operation
from api.resources.objects_write import tell
from api.resources.operations import STATE, Operations, accepted, say_operation
from api.services import Services
from api.views import Views
from reconciler.calls import leave_to_delete
from reconciler.model.access import Role

KIND = "apply"

_ALLOW = Query(
    "allowDeletions",
    {"type": "boolean"},
    "Let this one tick delete more than the limits allow. Only for admins without a scope.",
    default=False,
)
_REVISION = Query(
    "revision",
    {"type": "string", "minLength": 1, "maxLength": 200},
    "With `allowDeletions`: of the plan that was looked at. Where something else is desired by then, the "
    "limits hold. Without it: what is desired now.",
)


def routes(services: Services, views: Views) -> Iterable[tuple[str, object]]:
    """Its path."""
    yield "/api/v1/apply", Apply(services, Operations(services, views))


class Apply:
    """A call for a tick."""

    def __init__(self, services: Services, operations: Operations) -> None:
        self._services = services
        self._operations = operations

    @operation(
        "apply",
        summary="Let the daemon look and act now",
        description="As `reconciler apply`, within the deletion limits unless an admin allows more. It would "
        "do so by itself at its next tick. The operation is done when a tick that began after this call is "
        "over.",
        tag="plans",
        query=(WAIT, _ALLOW, _REVISION),
        headers=(Header("Idempotency-Key", "The same request under the same key is done once."),),
        answers=(
            Answer(200, "It was over within `wait`; its state says how.", "Operation", headers=STATE),
            Answer(202, "It goes on.", "Operation", headers={"Location": "The operation.", **STATE}),
        ),
        role=Role.OPERATOR,
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Only for those whose grants reach everything: a tick does."""
        media.wanted(req)
        longest = seconds(req.context.query["wait"])
        told = await self._services.run(self._call, req)
        said = told["media"]
        if longest:
            said = await self._operations.wait_for(said["id"], longest)
        if said["state"] in ("pending", "running"):
            accepted(req, resp, said)
        else:
            say_operation(req, resp, said)

    def _call(self, req: Request) -> Mapping[str, Any]:
        query, services, operations = req.context.query, self._services, self._operations
        caller = require(req, Role.ADMIN if query["allowDeletions"] else Role.OPERATOR)
        revision = ""
        if query["allowDeletions"]:
            revision = query["revision"] or services.desired.read().revision
        data = leave_to_delete(revision) if revision else "{}"

        def work() -> Mapping[str, Any]:
            number = services.store.add_operation(KIND, "", caller.name, data, services.clock())
            if revision:
                tell(req, services, "DeletionsAllowed", "deletions beyond the limits, once", "", revision)
            described = operations.describe(operations.find(f"{KIND}-{number}"))
            place = f"/api/v1/operations/{described['id']}"
            return {"status": 202, "headers": {"Location": place}, "media": described}

        told = atomically(req, services, work)
        services.wake("apply")
        return told
