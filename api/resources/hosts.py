"""``/hosts``: the inventory, and how its hosts were seen last. A change is a commit to the inventory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import falcon
from falcon.asgi import Request, Response

from api.context import require
from api.conventions import media
from api.conventions.etag import (
    IF_ABSENT,
    IF_MATCH,
    IF_NONE_MATCH,
    absent,
    digest,
    make_etag,
    match_of,
    unchanged,
)
from api.conventions.fields import FIELDS, parse_fields, select
from api.conventions.idempotency import repeated
from api.conventions.pages import CONTINUE, LIMIT, cut, parse_page
from api.conventions.selectors import LABEL_SELECTOR, parse_selector
from api.operation import Answer, Body, Query, operation
from api.resources.objects import IDEMPOTENCY_KEY, MESSAGE, REASON, REVISION
from api.resources.objects_write import why_of
from api.schemas import FLAG, LABELS, SCHEMAS, TEXT, listing, thing
from api.services import Services
from reconciler.desired.repository.differences import merged
from reconciler.errors import ConflictError, DesiredStateError, NotFoundError, Problem
from reconciler.model.access import Role, Thing
from reconciler.model.placement import Phase
from reconciler.model.status import Event
from reconciler.model.write import Change, Write, version_of
from reconciler.store.base import Subject

KIND = "Host"
MAINTENANCE = "reconciler_maintenance"
_TOP = ("kind", "metadata", "maintenance", "variables", "status")

_CONNECTS = ("ansible_", "reconciler_uri", "reconciler_virt_type", "reconciler_pool")
"""Variables that decide whether a host can be used: what else changes needs no test of the connection."""

_VARIABLES = {
    "type": "object",
    "description": "The host's own variables in the inventory: `reconciler_…`, `ansible_host` and the like. "
    "Those of its groups are not among them. Only with one host, not in lists, and for its admins.",
}
SCHEMAS["Host"] = thing(
    "A host of the inventory.",
    "kind metadata maintenance status",
    kind={"const": KIND},
    metadata=thing("Its name, and the labels that it has altogether.", "name", name=TEXT, labels=LABELS),
    maintenance={**FLAG, "description": "Nothing new is placed there."},
    variables=_VARIABLES,
    status={
        "type": "object",
        "description": "As the last tick saw it: `status`, `message`, capacity, and `conditions`.",
    },
)
SCHEMAS["HostWish"] = thing(
    "A host as it shall be; in a PATCH what shall change.",
    kind={"const": KIND},
    metadata=thing("Its name.", name=TEXT),
    maintenance={**FLAG, "description": f"The same as `variables.{MAINTENANCE}`, and wins over it."},
    variables=_VARIABLES,
)
SCHEMAS["HostList"] = listing("Host")

_TEST = Query("test", {"type": "boolean"}, "Test the connection first, where it changes.", default=True)
_TAGGED = {"ETag": "Version of what is answered."}
_WRITTEN = Answer(200, "As it is now.", "Host", headers={**_TAGGED, **REVISION})
_MADE = Answer(201, "It is new.", "Host", headers={**_TAGGED, **REVISION, "Location": "It."})
_HEADERS = (REASON, IDEMPOTENCY_KEY)


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths of hosts."""
    hosts = Hosts(services)
    yield "/api/v1/hosts", Collection(hosts)
    yield "/api/v1/hosts/{host}", Item(hosts)


class Hosts:
    """The hosts as they stand in the inventory, and as they were seen."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def variables(self, name: str) -> Mapping[str, Any] | None:
        """A host's own variables; None if it stands in no inventory that can be changed here."""
        try:
            return self.services.desired.host(name)
        except (NotFoundError, ConflictError):
            return None

    def seen(self) -> Mapping[str, str]:
        """How the hosts were seen last, as JSON by name."""
        return self.services.store.statuses(KIND)

    def describe(
        self, name: str, variables: Mapping[str, Any] | None, *, alone: bool = True
    ) -> dict[str, Any]:
        """A host as it is answered."""
        row = json.loads(self.seen().get(name) or "{}")
        own = variables or {}
        maintenance, labels = row.get("maintenance", False), row.get("labels", {})
        conditions = self.services.store.conditions(Subject.HOST).get(name, ())
        told = [
            {"type": one.type, "status": str(one.status), "reason": one.reason, "message": one.message}
            for one in conditions
        ]
        return {
            "kind": KIND,
            "metadata": {"name": name, "labels": own.get("reconciler_labels", labels)},
            "maintenance": bool(own.get(MAINTENANCE, maintenance)),
            **({"variables": dict(own)} if alone else {}),
            "status": {key: value for key, value in row.items() if key not in ("maintenance", "labels")}
            | {"conditions": told},
        }

    def thing(self, name: str, variables: Mapping[str, Any] | None) -> Thing:
        """For the question whether somebody may."""
        labels = self.describe(name, variables)["metadata"]["labels"]
        return Thing(KIND, name, labels if isinstance(labels, dict) else {})

    def find(self, req: Request, name: str) -> tuple[dict[str, Any], str]:
        """One host, and the version of its variables.

        Raises:
            NotFoundError: There is none, or the caller may not see it.
        """
        variables = self.variables(name)
        if variables is None and name not in self.seen():
            raise NotFoundError(f"there is no Host {name!r}")
        thing = self.thing(name, variables)
        caller = require(req, Role.VIEWER, thing)
        # A password may stand among them.
        alone = caller.may(Role.ADMIN, thing)
        return self.describe(name, variables, alone=alone), version_of(variables or {})

    def listed(self, req: Request) -> tuple[dict[str, Any], str]:
        """A page of those that the caller may see, and its version."""
        query, caller = req.context.query, req.context.caller
        selector, paths = parse_selector(query["labelSelector"]), parse_fields(query["fields"], _TOP)
        page = parse_page(query["limit"], query["continue"], KIND, query["labelSelector"], query["fields"])
        found = [self.describe(name, None, alone=False) for name in sorted(self.seen())]
        found = [
            one
            for one in found
            if caller.may(Role.VIEWER, Thing(KIND, one["metadata"]["name"], one["metadata"]["labels"]))
            and (selector is None or selector.fits(one["metadata"]["labels"]))
        ]
        begin, end, token = cut([one["metadata"]["name"] for one in found], page)
        items = [one if paths is None else select(one, paths) for one in found[begin:end]]
        body = {"items": items, **({"continue": token} if token else {})}
        return body, digest(media.to_json(body))

    def write(self, req: Request, wish: Write) -> tuple[str, bool]:
        """Commit a change of the inventory; its revision, and whether the host is new."""
        services = self.services
        name = wish.key.partition("/")[2]
        before = self.variables(name)
        if before is not None or name in self.seen():
            require(req, Role.ADMIN, self.thing(name, before))
        known = repeated(req, services)
        if known is not None:
            return known, wish.change is Change.CREATE
        if wish.change is Change.DELETE:
            self._require_empty(name)
        else:
            after = self._after(before, wish)
            require(req, Role.ADMIN, Thing(KIND, name, _texts(after.get("reconciler_labels"))))
            if req.context.query["test"] and _connects(before) != _connects(after):
                # First what may not be said at all: a URI can name a program.
                services.desired.source_with(wish)
                self._test(name, after)
        written = services.desired.write_host(wish)
        by = f"by {req.context.caller.name} (request {req.context.request_id})"
        message = f"{wish.message.partition(chr(10))[0]}, {by}"
        services.store.add_events(
            [Event(services.clock(), "HostChanged", message, host=name, revision=written.revision)]
        )
        services.wake(f"api: {wish.key}")
        return written.revision, before is None

    def _after(self, before: Mapping[str, Any] | None, wish: Write) -> Mapping[str, Any]:
        body: Any = wish.body
        return merged(before or {}, body) if wish.change is Change.MERGE else body  # type: ignore[return-value]

    def _require_empty(self, name: str) -> None:
        """A host that is gone from the inventory is out of sight: what it carries is managed no more."""
        living = (Phase.PLACED, Phase.INTENDED)
        held = [
            one.vm
            for one in self.services.store.records().values()
            if one.host == name and one.phase in living
        ]
        if held:
            shown = ", ".join(sorted(held)[:5]) + (" …" if len(held) > 5 else "")
            raise ConflictError(
                f"host {name} carries {len(held)} of our machines: {shown}",
                hint="set maintenance, and delete or forget them first; or change the inventory in git",
            )

    def _test(self, name: str, variables: Mapping[str, Any]) -> None:
        wrong = self.services.test_host(name, variables)
        if wrong:
            raise DesiredStateError(
                [Problem("body", 0, 0, "variables", each, f"{KIND}/{name}") for each in wrong],
                hint="mend it, or take ?test=false",
            )


class Collection:
    """All hosts."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @operation(
        "listHosts",
        summary="List the hosts",
        tag="hosts",
        query=(LABEL_SELECTOR, FIELDS, LIMIT, CONTINUE),
        headers=(IF_NONE_MATCH,),
        answers=(
            Answer(200, "As the last tick saw them, by name.", "HostList", headers=_TAGGED),
            Answer(304, "Nothing changed."),
        ),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """Those that the caller may see."""
        form = media.wanted(req)
        body, version = await self._hosts.services.run(self._hosts.listed, req)
        if not unchanged(req, resp, make_etag(version, "yaml" if form == media.YAML else "")):
            media.say(req, resp, body, form)

    @operation(
        "createHost",
        summary="Add a host to the inventory",
        tag="hosts",
        query=(_TEST, MESSAGE),
        headers=_HEADERS,
        body=Body("HostWish"),
        answers=(_MADE,),
        problems=(404, 409),
        role=Role.ADMIN,
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """It must not be there yet."""
        await answer_write(req, resp, self._hosts, None, Change.CREATE)


class Item:
    """One host."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @operation(
        "getHost",
        summary="Get a host",
        tag="hosts",
        query=(FIELDS,),
        headers=(IF_NONE_MATCH,),
        answers=(Answer(200, "It.", "Host", headers=_TAGGED), Answer(304, "Nothing changed.")),
    )
    async def on_get(self, req: Request, resp: Response, host: str) -> None:
        """As it stands in the inventory, and as the last tick saw it."""
        form, paths = media.wanted(req), parse_fields(req.context.query["fields"], _TOP)
        found, version = await self._hosts.services.run(self._hosts.find, req, host)
        rest = digest(media.to_json(found), req.context.query["fields"] or "")
        if not unchanged(req, resp, make_etag(version, rest, "yaml" if form == media.YAML else "")):
            media.say(req, resp, found if paths is None else select(found, paths), form)  # type: ignore[arg-type]

    @operation(
        "putHost",
        summary="Add a host, or let it have just these variables",
        tag="hosts",
        query=(_TEST, MESSAGE),
        headers=(IF_MATCH, IF_ABSENT, *_HEADERS),
        body=Body("HostWish"),
        answers=(_WRITTEN, _MADE),
        problems=(409, 412),
        role=Role.ADMIN,
    )
    async def on_put(self, req: Request, resp: Response, host: str) -> None:
        """Its own variables; those of its groups stay."""
        await answer_write(req, resp, self._hosts, host, Change.PUT)

    @operation(
        "patchHost",
        summary="Change some variables of a host",
        description='Maintenance is `{"maintenance": true}`.',
        tag="hosts",
        query=(_TEST, MESSAGE),
        headers=(IF_MATCH, *_HEADERS),
        body=Body("HostWish", ("application/merge-patch+json", "application/json", "application/yaml")),
        answers=(_WRITTEN,),
        problems=(409, 412),
        role=Role.ADMIN,
    )
    async def on_patch(self, req: Request, resp: Response, host: str) -> None:
        """A merge patch (RFC 7396): null removes a variable."""
        await answer_write(req, resp, self._hosts, host, Change.MERGE)

    @operation(
        "deleteHost",
        summary="Take a host out of the inventory",
        description="Refused as long as machines of ours are on record there.",
        tag="hosts",
        query=(MESSAGE,),
        headers=(IF_MATCH, *_HEADERS),
        answers=(Answer(204, "It is not in the inventory any more.", headers=REVISION),),
        problems=(409, 412, 422),
        role=Role.ADMIN,
    )
    async def on_delete(self, req: Request, resp: Response, host: str) -> None:
        """Nothing is done on the host itself."""
        await answer_write(req, resp, self._hosts, host, Change.DELETE)


async def answer_write(req: Request, resp: Response, hosts: Hosts, name: str | None, change: Change) -> None:
    """Answer a change of the inventory."""
    media.wanted(req)
    wish = await _read(req, name, change)
    run = hosts.services.run
    revision, new = await run(hosts.write, req, wish)
    resp.set_header("Reconciler-Revision", revision)
    if change is Change.DELETE:
        resp.status = falcon.HTTP_204
        return
    name = wish.key.partition("/")[2]
    found, version = await run(hosts.find, req, name)
    if new:
        resp.status = falcon.HTTP_201
        resp.set_header("Location", f"/api/v1/hosts/{falcon.uri.encode_value(name)}")
    resp.set_header("ETag", make_etag(version, digest(media.to_json(found), "")))
    media.say(req, resp, found)


async def _read(req: Request, name: str | None, change: Change) -> Write:
    """What the request asks for, as variables of the inventory."""
    body: dict[str, Any] | None = None if change is Change.DELETE else await media.read_object(req)
    variables: dict[str, Any] | None = None
    if body is not None:
        mistakes = _mistakes(body, name)
        if mistakes:
            raise DesiredStateError(mistakes)
        metadata = body.get("metadata", {})
        name = name or metadata["name"]
        variables = dict(body.get("variables", {}))
        if "maintenance" in body:
            variables[MAINTENANCE] = body["maintenance"]
    caller = req.context.caller
    words = {Change.CREATE: "add", Change.PUT: "set", Change.MERGE: "change", Change.DELETE: "remove"}
    message = f"{words[change]} {KIND}/{name}\n\n{why_of(req)}\n"
    made = Write(f"{KIND}/{name}", change, variables, caller.author, message)
    match = None if change is Change.CREATE else match_of(req)
    return replace(made, match=match, absent=change is Change.PUT and absent(req))


def _mistakes(body: Mapping[str, Any], name: str | None) -> list[Problem]:
    """Every mistake in the envelope of a host; those of the variables are told by whoever writes them."""
    wrong: list[tuple[str, str]] = [
        (key, f"there is no such field; known: {', '.join(_TOP)}") for key in body if key not in _TOP
    ]
    metadata = body.get("metadata", {})
    said = metadata.get("name") if isinstance(metadata, Mapping) else None
    if body.get("kind", KIND) != KIND:
        wrong.append(("kind", f"the kind is {KIND} here"))
    if name is None and not isinstance(said, str):
        wrong.append(("metadata.name", "a host needs a name"))
    if name is not None and said not in (None, name):
        wrong.append(("metadata.name", f"the name is {name!r} here"))
    if not isinstance(metadata, Mapping):
        wrong.append(("metadata", "it is a mapping"))
    if not isinstance(body.get("variables", {}), Mapping):
        wrong.append(("variables", "they are a mapping"))
    if not isinstance(body.get("maintenance", False), bool):
        wrong.append(("maintenance", "write true or false"))
    return [Problem("body", 0, 0, path, message, f"{KIND}/{name or said or ''}") for path, message in wrong]


def _connects(variables: Mapping[str, Any] | None) -> object:
    """As much of a host as decides whether it can be reached."""
    if variables is None:
        return None
    return {key: value for key, value in variables.items() if key.startswith(_CONNECTS)}


def _texts(labels: object) -> dict[str, str]:
    found = labels.items() if isinstance(labels, Mapping) else ()
    return {str(key): value for key, value in found if isinstance(value, str)}
