"""The collections of objects: the same manifests as in YAML, with their status beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from falcon.asgi import Request, Response

from api.context import require
from api.conventions import media
from api.conventions.etag import IF_ABSENT, IF_MATCH, IF_NONE_MATCH, digest, make_etag, unchanged
from api.conventions.fields import FIELDS, parse_fields, select
from api.conventions.pages import CONTINUE, LIMIT
from api.conventions.selectors import LABEL_SELECTOR
from api.conventions.wait import WAIT, wait_for
from api.kinds import ALL, Kind
from api.operation import Answer, Body, Header, Query, operation
from api.resources import acts, apply, operations, plans
from api.resources.objects_list import Listing, list_objects
from api.resources.objects_write import Writer
from api.services import Services
from api.streams import STREAMED, asked_for
from api.views import View, Views
from api.watching import LAST_EVENT_ID, WATCH, watch
from reconciler.errors import NotFoundError
from reconciler.model.access import Role
from reconciler.model.write import Change

STATUS = Query("status", {"type": "boolean"}, "Give the status too.", default=True)
DRY_RUN = Query("dryRun", {"type": "boolean"}, "Change nothing, and answer with the plan.", default=False)
MESSAGE = Query("message", {"type": "string", "maxLength": 500}, "Why, for the commit; also as `X-Reason`.")
REASON = Header("X-Reason", "Why, for the commit.")
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key", "The same request under the same key is done once, and answered alike for 24 hours."
)
REVISION = {"Reconciler-Revision": "The desired state's revision that has the change."}
_TAGGED = {"ETag": "Version of what is answered."}
_MERGE = ("application/merge-patch+json", "application/json", "application/yaml")
_LATER = Answer(
    202,
    "It is committed, and was not true within `wait`, or no time will make it: the operation says why.",
    "Operation",
    headers={"Location": "The operation.", **operations.STATE, **REVISION},
)
_PLAN = "With `dryRun`: the plan of everything as it would be."


def _writes(kind: Kind) -> tuple[Query, ...]:
    return DRY_RUN, WAIT, wait_for(kind.name), MESSAGE


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths of all kinds, and of what is done to their objects."""
    views = services.views
    writer = Writer(services, views)
    yield from operations.routes(services, views)
    yield from plans.routes(services, views)
    yield from acts.routes(services, views)
    yield from apply.routes(services, views)
    for kind in ALL.values():
        yield f"/api/v1/{kind.path}", make_collection(kind, services, views, writer)
        yield f"/api/v1/{kind.path}/{{name}}", make_item(kind, services, views, writer)


def make_collection(kind: Kind, services: Services, views: Views, writer: Writer) -> object:
    """The resource of a whole collection."""

    class Collection:
        """All objects of a kind."""

        @operation(
            f"list{kind.name}s",
            summary=f"List the {kind.words}s",
            tag=kind.path,
            query=(LABEL_SELECTOR, FIELDS, LIMIT, CONTINUE, STATUS, *WATCH),
            headers=(IF_NONE_MATCH, LAST_EVENT_ID),
            answers=(
                Answer(
                    200, "In the order of their names.", f"{kind.name}List", headers=_TAGGED, media=STREAMED
                ),
                Answer(304, "Nothing changed."),
            ),
            problems=(410, 422, 503),
        )
        async def on_get(self, req: Request, resp: Response) -> None:
            """Those that the caller may see."""
            if asked_for(req):
                await watch(req, resp, services, kind)
                return
            await list_objects(req, resp, Listing(kind, services, views))

        @operation(
            f"create{kind.name}",
            summary=f"Create a {kind.words}",
            tag=kind.path,
            query=_writes(kind),
            headers=(REASON, IDEMPOTENCY_KEY),
            body=Body(kind.name),
            answers=(
                Answer(200, _PLAN, "Plan"),
                Answer(201, "As it is now.", kind.name, headers={**_TAGGED, **REVISION, "Location": "It."}),
                _LATER,
            ),
            problems=(404, 409),
            role=Role.OPERATOR,
        )
        async def on_post(self, req: Request, resp: Response) -> None:
            """It must not be there yet."""
            await writer.write(req, resp, kind, None, Change.CREATE)

    return Collection()


def make_item(kind: Kind, services: Services, views: Views, writer: Writer) -> object:
    """The resource of one object."""

    class Item:
        """One object of a kind."""

        @operation(
            f"get{kind.name}",
            summary=f"Get a {kind.words}",
            tag=kind.path,
            query=(FIELDS, STATUS, *WATCH),
            headers=(IF_NONE_MATCH, LAST_EVENT_ID),
            answers=(
                Answer(200, "The manifest, and its status.", kind.name, headers=_TAGGED, media=STREAMED),
                Answer(304, "Nothing changed."),
            ),
            problems=(410, 422, 503),
        )
        async def on_get(self, req: Request, resp: Response, name: str) -> None:
            """It, if the caller may see it."""
            found = await services.run(find, views, kind, name)
            require(req, Role.VIEWER, found.thing)
            if asked_for(req):
                await watch(req, resp, services, kind, name)
                return
            show(req, resp, found)

        @operation(
            f"put{kind.name}",
            summary=f"Create a {kind.words}, or let it say just this",
            tag=kind.path,
            query=_writes(kind),
            headers=(IF_MATCH, IF_ABSENT, REASON, IDEMPOTENCY_KEY),
            body=Body(kind.name),
            answers=(
                Answer(200, f"As it is now. {_PLAN}", _or_plan(kind), headers={**_TAGGED, **REVISION}),
                Answer(201, "It is new.", kind.name, headers={**_TAGGED, **REVISION, "Location": "It."}),
                _LATER,
            ),
            problems=(409, 412),
            role=Role.OPERATOR,
        )
        async def on_put(self, req: Request, resp: Response, name: str) -> None:
            """Whatever the body leaves out is the default."""
            await writer.write(req, resp, kind, name, Change.PUT)

        @operation(
            f"patch{kind.name}",
            summary=f"Change some fields of a {kind.words}",
            tag=kind.path,
            query=_writes(kind),
            headers=(IF_MATCH, REASON, IDEMPOTENCY_KEY),
            body=Body("MergePatch", _MERGE),
            answers=(
                Answer(200, f"As it is now. {_PLAN}", _or_plan(kind), headers={**_TAGGED, **REVISION}),
                _LATER,
            ),
            problems=(409, 412),
            role=Role.OPERATOR,
        )
        async def on_patch(self, req: Request, resp: Response, name: str) -> None:
            """A merge patch (RFC 7396): null removes a field."""
            await writer.write(req, resp, kind, name, Change.MERGE)

        @operation(
            f"delete{kind.name}",
            summary=f"Delete a {kind.words}",
            tag=kind.path,
            query=_writes(kind),
            headers=(IF_MATCH, REASON, IDEMPOTENCY_KEY),
            answers=(
                Answer(200, _PLAN, "Plan"),
                _LATER,
                Answer(204, "It is not desired any more.", headers=REVISION),
            ),
            problems=(409, 412, 422),
            role=Role.OPERATOR,
        )
        async def on_delete(self, req: Request, resp: Response, name: str) -> None:
            """It is not desired any more; what becomes of its disks its deletion policy says."""
            await writer.write(req, resp, kind, name, Change.DELETE)

    return Item()


def _or_plan(kind: Kind) -> dict[str, Any]:
    names = (kind.name, "Plan")
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}


def find(views: Views, kind: Kind, name: str) -> View:
    """The object of this name.

    Raises:
        NotFoundError: There is none.
    """
    found = views.one(views.moment(kind), name)
    if found is None:
        raise NotFoundError(f"there is no {kind.name} {name!r}")
    return found


def show(req: Request, resp: Response, found: View) -> None:
    """Answer with an object, as the query wants it."""
    form = media.wanted(req)
    status = req.context.query.get("status", True)
    text = req.context.query.get("fields")
    paths = parse_fields(text)
    rest = [found.seen] if status else []
    rest += [digest(text)] if paths else []
    rest += ["yaml"] if form == media.YAML else []
    if unchanged(req, resp, make_etag(found.version, *rest)):
        return
    if paths is None and form == media.JSON:
        resp.data = found.json(status=status).encode(errors="replace")
        resp.content_type = form
        return
    data = found.data(status=status)
    media.say(req, resp, data if paths is None else select(data, paths), form)  # type: ignore[arg-type]


def path_of(kind: Kind, name: str) -> str:
    """Where an object is."""
    return f"/api/v1/{kind.path}/{quote(name, safe='')}"
