"""``/vm/create`` and its like: the orchestration layer's calls. Ids are numbers, and 0 is a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.older.frame import Asked, Call, Work
from api.older.hosts import Hosts
from api.older.machines import NOWHERE, Machines
from api.older.volumes import Volumes
from api.services import Services
from reconciler.errors import NotFoundError
from reconciler.model.access import Role

_ID: dict[str, Any] = {"type": "integer", "minimum": 0, "description": "0 for none."}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}
_VMID = {"vmid": "Number of the machine."}
_PMID = {"pmid": "Number of the host."}
_VOLUMEID = {"volumeid": "Number of the volume."}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(**fields: Any) -> dict[str, Any]:
    return {"type": "array", "items": _object(**fields)}


def _or_zero(*schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*schemas, {"const": 0}]}


_IDS: dict[str, Any] = {"type": "array", "items": _ID}
_ROOM = _object(cpu=_COUNT, ram=_COUNT, disk=_COUNT)
_STATUS = _object(status={"enum": [0, 1]})
_VOLUME = _object(volumeid=_ID, name=_TEXT, size=_COUNT, status={"enum": ["attached", "available"]})
_VOLUME["properties"]["vmid"] = _ID


@dataclass(frozen=True, slots=True)
class _About:
    """What a call is.

    Attributes:
        summary: One line.
        schema: Of its answer.
        failed: Its answer if it failed.
        query: Its parameters.
        role: Who may.
    """

    summary: str
    schema: Mapping[str, Any]
    failed: object = 0
    query: Mapping[str, str] = field(default_factory=dict)
    role: Role = Role.VIEWER


def _act(summary: str, schema: Mapping[str, Any], failed: object, **query: str) -> _About:
    return _About(summary, schema, failed, query, Role.OPERATOR)


_CALLS: Mapping[str, _About] = {
    "/vm/create": _act(
        "Make a machine; the answer comes when it runs",
        _object(vmid=_ID),
        {"vmid": 0},
        name="Name of the machine.",
        instance_type="`tid` of its type.",
        image_id="`id` of its image.",
    ),
    "/vm/query": _About(
        "What is known of a machine",
        _object(vmid=_ID, name={"type": ["string", "null"]}, instance_type=_ID, pmid=_ID),
        NOWHERE,
        _VMID,
    ),
    "/vm/destroy": _act("Destroy a machine; its volumes are detached", _STATUS, {"status": 0}, **_VMID),
    "/vm/types": _About(
        "The sizes of machines: `ram` in MiB, `disk` in GiB",
        _or_zero(_object(types=_list(tid=_ID, cpu=_COUNT, ram=_COUNT, disk=_COUNT))),
    ),
    "/image/list": _About("The images", _or_zero(_object(images=_list(id=_ID, name=_TEXT)))),
    "/pm/list": _About("The hosts", _or_zero(_object(pmids=_IDS))),
    "/pm/listvms": _About("The machines of a host", _or_zero(_object(vmids=_IDS)), 0, _PMID),
    "/pm/query": _About(
        "The room of a host: `ram` in MiB, `disk` in GiB",
        _or_zero(_object(pmid=_ID, capacity=_ROOM, free=_ROOM, vms=_COUNT)),
        0,
        _PMID,
    ),
    "/volume/create": _act(
        "Make a volume", _object(volumeid=_ID), {"volumeid": 0}, name="Name of the volume.", size="GiB."
    ),
    "/volume/query": _About(
        "What is known of a volume", _or_zero(_VOLUME, _object(error=_TEXT)), 0, _VOLUMEID
    ),
    "/volume/destroy": _act(
        "Destroy a volume that no machine has, with its data", _STATUS, {"status": 0}, **_VOLUMEID
    ),
    "/volume/attach": _act("Plug a volume into a machine", _STATUS, {"status": 0}, **_VMID, **_VOLUMEID),
    "/volume/detach": _act("Take a volume out of its machine", _STATUS, {"status": 0}, **_VOLUMEID),
}


def calls(services: Services) -> list[Call]:
    """Every call of the orchestration layer."""
    works = _works(services)
    return [
        Call(
            path=path,
            id="older" + "".join(word.capitalize() for word in path.strip("/").split("/")),
            summary=about.summary,
            role=about.role,
            schema=about.schema,
            work=works[path],
            failed=lambda _why, failed=about.failed: failed,  # type: ignore[misc]
            query=about.query,
            tag="older: orchestration",
            scripts=True,
        )
        for path, about in _CALLS.items()
    ]


def _works(services: Services) -> Mapping[str, Work]:
    machines = Machines(services)
    volumes, hosts = Volumes(services, machines), Hosts(services, machines)

    def reads(look: Callable[[Asked], object]) -> Work:
        async def work(asked: Asked) -> object:
            return await services.run(look, asked)

        return work

    def query_volume(asked: Asked) -> object:
        try:
            return volumes.describe(asked)
        except NotFoundError as error:
            return {"error": error.message}

    return {
        "/vm/create": _numbers("vmid", machines.create),
        "/vm/query": reads(lambda asked: machines.describe(asked, hosts.numbers(asked))),
        "/vm/destroy": _does(machines.destroy),
        "/vm/types": reads(hosts.types),
        "/image/list": reads(hosts.images),
        "/pm/list": reads(hosts.listing),
        "/pm/listvms": reads(hosts.machines),
        "/pm/query": reads(hosts.describe),
        "/volume/create": _numbers("volumeid", volumes.create),
        "/volume/query": reads(query_volume),
        "/volume/destroy": _does(volumes.destroy),
        "/volume/attach": _does(volumes.attach),
        "/volume/detach": _does(volumes.detach),
    }


def _numbers(name: str, make: Callable[[Asked], Awaitable[int]]) -> Work:
    async def work(asked: Asked) -> object:
        return {name: await make(asked)}

    return work


def _does(act: Callable[[Asked], Awaitable[None]]) -> Work:
    async def work(asked: Asked) -> object:
        await act(asked)
        return {"status": 1}

    return work
