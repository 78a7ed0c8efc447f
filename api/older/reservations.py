"""``/createVM/`` and its like: the reservation system's calls. Each answer is an envelope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from api.older.frame import Asked, Call, Work
from api.older.lending import Lending
from api.services import Services
from reconciler.model.access import Role

_TEXT: dict[str, Any] = {"type": "string"}
_DATA: dict[str, Any] = {
    "type": "object",
    "description": "What the call is about; empty for an error.",
    "properties": {
        "vm_id": {"type": "integer", "minimum": 1, "description": "Number of the machine."},
        "ip": {"type": "string", "description": "Its address; empty while none is known."},
        "status": {"enum": ["available", "checked-out", "error", "deleted"]},
    },
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["status", "data", "message"],
    "properties": {"status": {"enum": ["success", "error"]}, "data": _DATA, "message": _TEXT},
}
_VM_ID = {"vm_id": "Number of the machine."}
_IP = {"ip": "Its address: both must agree."}


def calls(services: Services, pool: str) -> list[Call]:
    """Every call of the reservation system.

    Args:
        services: What they work with.
        pool: Name of the pool whose machines are lent.
    """
    lending, run = Lending(services, pool), services.run

    def blocking(look: Callable[[Asked], object]) -> Callable[[Asked], Awaitable[object]]:
        async def work(asked: Asked) -> object:
            return await run(look, asked)

        return work

    def status(asked: Asked) -> object:
        return {"status": lending.show(asked)["status"]}

    operator = Role.OPERATOR
    return [
        _call("createVM", "Make one more machine, while there are fewer than the limit", lending.create),
        _call("deleteVM", "Delete a machine that is available or in error", lending.delete, _VM_ID | _IP),
        _call("getVM", "What is known of a machine", blocking(lending.show), _VM_ID, Role.VIEWER),
        _call("getVMStatus", "The status of a machine", blocking(status), _VM_ID, Role.VIEWER),
        _call("checkoutVM", "Take an available machine", blocking(lending.checkout), {}, operator),
        _call("checkinVM", "Give a machine back", lending.checkin, _VM_ID | _IP),
    ]


def _call(
    name: str,
    summary: str,
    work: Callable[[Asked], Awaitable[object]],
    query: Mapping[str, str] | None = None,
    role: Role = Role.OPERATOR,
) -> Call:
    return Call(
        path=f"/{name}/",
        id=f"older{name[0].upper()}{name[1:]}",
        summary=summary,
        role=role,
        schema=_SCHEMA,
        work=_in_envelope(work),
        failed=lambda why: {"status": "error", "data": {}, "message": why},
        query=query or {},
        tag="older: reservations",
    )


def _in_envelope(work: Callable[[Asked], Awaitable[object]]) -> Work:
    async def wrapped(asked: Asked) -> object:
        return {"status": "success", "data": await work(asked), "message": ""}

    return wrapped
