"""A write on its way: from the request to a commit, and to the answer that tells of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import falcon
from falcon.asgi import Request, Response

from api.auth.reach import require_reach
from api.context import require
from api.conventions import media
from api.conventions.deletions import named_deletion
from api.conventions.etag import absent, make_etag, match_of
from api.conventions.idempotency import mark_of, repeated
from api.conventions.wait import GONE, Aim, default_of, seconds
from api.kinds import ALL, Kind
from api.resources.operations import Operations
from api.resources.plans import show_plan
from api.services import Services
from api.views import View, Views, made_view, view_of
from reconciler.desired.decode import decode_data
from reconciler.desired.repository.differences import merged
from reconciler.desired.yaml_file import show_path
from reconciler.errors import (
    ConflictError,
    DesiredStateError,
    ForbiddenError,
    NotFoundError,
    PreconditionError,
    Problem,
    StoreError,
)
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.plan import Plan
from reconciler.model.pool import POOL_LABEL
from reconciler.model.status import Event
from reconciler.model.write import ANY, Change, Write, Written, version_of

_WORDS = {Change.CREATE: "create", Change.PUT: "replace", Change.MERGE: "change", Change.DELETE: "delete"}
_log = logging.getLogger(__name__)

_ATTEMPTS = 5
"""How often somebody who may change only what has a label is tried again when somebody else was faster."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request asks for, read and checked in itself.

    Attributes:
        kind: Kind of the object.
        name: Its name.
        change: What shall become of it.
        body: The manifest, the merge patch, or None.
        match: As of `Write`.
        absent: As of `Write`.
        why: For the commit, in the caller's words; and which request it was.
    """

    kind: Kind
    name: str
    change: Change
    body: Mapping[str, Any] | None
    match: str | None
    absent: bool
    why: str

    @property
    def key(self) -> str:
        """``Kind/name``."""
        return f"{self.kind.name}/{self.name}"


class Writer:
    """Carries writes out, for all kinds alike."""

    def __init__(self, services: Services, views: Views) -> None:
        self._services = services
        self._views = views
        self._operations = Operations(services, views)

    async def write(self, req: Request, resp: Response, kind: Kind, name: str | None, change: Change) -> None:
        """Answer a write.

        Args:
            req: The request.
            resp: Its answer.
            kind: Of what.
            name: As it stands in the path; None where the body says it.
            change: What shall become of it.
        """
        media.wanted(req)
        longest = seconds(req.context.query["wait"])
        wish = await read_wish(req, kind, name, change)
        req.context.thing = Thing(kind.name, wish.name)
        if req.context.query["dryRun"]:
            plan = await self._services.run(self._plan, req, wish)
            await self._services.run(show_plan, req, resp, plan, self._views)
            return
        written = await self._services.run(self._commit, req, wish)
        resp.set_header("Reconciler-Revision", written.revision)
        if longest and not await self._wait(req, resp, wish, written, longest):
            return
        await self._services.run(self._answer, req, resp, wish, written)

    def _plan(self, req: Request, wish: Wish) -> Plan:
        source = self._services.desired.source_with(self._permitted(req, wish))
        return self._services.planner.plan(source)

    def _commit(self, req: Request, wish: Wish) -> Written:
        known = repeated(req, self._services)
        if known is not None:
            return Written(wish.key, known, None, None, "")
        for attempt in range(1, _ATTEMPTS + 1):
            write = self._permitted(req, wish)
            try:
                written = self._write(req, wish, write)
                break
            except PreconditionError:
                if (write.match == wish.match and write.absent == wish.absent) or attempt == _ATTEMPTS:
                    raise
        if written.changed:
            self._tell(req, wish, written)
            self._services.wake(f"api: {wish.key}")
        return written

    def _write(self, req: Request, wish: Wish, write: Write) -> Written:
        if wish.change is not Change.DELETE:
            return self._services.desired.write(write)
        with named_deletion(self._services, wish.kind.name, wish.name, req.context.caller.name):
            return self._services.desired.write(write)

    def _permitted(self, req: Request, wish: Wish) -> Write:
        """The write, if the caller may do this to the object as it is and as it would be.

        Whoever may change only what has some label may do so only as long as it has it: then the write holds
        for just the version that was looked at.
        """
        caller: Caller = req.context.caller
        if wish.change in (Change.CREATE, Change.PUT):
            # Before anybody learns whether it is there.
            _require_after(caller, wish, wish.body)
        view, in_file = self._standing(req, wish)
        if view is not None:
            require(req, Role.OPERATOR, view.thing)
            if not in_file:
                self._require_file(view)
        elif wish.change in (Change.MERGE, Change.DELETE):
            raise NotFoundError(f"there is no {wish.kind.name} {wish.name!r}")
        before = view.data(status=False) if view is not None else None
        after: object = wish.body
        if wish.change is Change.MERGE and view is not None:
            after = merged(before or {}, wish.body)
            _require_after(caller, wish, after)
        require_reach(caller, before, after, self._labels)
        match, missing = wish.match, wish.absent
        if not caller.may(Role.OPERATOR):
            match, missing = _as_seen(wish, view)
        word = "create" if view is None else _WORDS[wish.change]
        message = f"{word} {wish.key}\n\n{wish.why}\n"
        return Write(wish.key, wish.change, wish.body, caller.author, message, match, missing)

    def _standing(self, req: Request, wish: Wish) -> tuple[View | None, bool]:
        """The object that a write finds, and whether it is known to stand in a file.

        While the newest desired state is refused, what is answered is not what a write finds: the last good
        object may have been changed since, or be none, and the one that is there may be wrong.

        Raises:
            ConflictError: A file that may have to do with it cannot be read.
            ForbiddenError: Its labels are wrong, so that only who may do everything may change it.
        """
        view = self._views.one(self._views.moment(wish.kind), wish.name)
        desired = self._services.desired
        if desired.trouble is None or (view is not None and POOL_LABEL in view.labels):
            return view, False
        try:
            data = desired.standing(wish.key)
        except ConflictError:
            # Who may not know of it learns nothing.
            require(req, Role.OPERATOR, view.thing if view is not None else Thing(wish.kind.name, wish.name))
            raise
        if data is None:
            return None, False
        metadata = data.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
        found = labels if isinstance(labels, Mapping) else {}
        if (labels is not None and found is not labels) or any(
            not isinstance(part, str) for pair in found.items() for part in pair
        ):
            require(req, Role.OPERATOR)
            found = {}
        return made_view(wish.kind.name, wish.name, data, found), True

    def _labels(self, kind: str, name: str) -> Mapping[str, str]:
        view = self._views.one(self._views.moment(ALL[kind]), name)
        return view.labels if view is not None else {}

    def _tell(self, req: Request, wish: Wish, written: Written) -> None:
        # A machine's events are found by its name, those of other objects by their key.
        about = wish.name if wish.kind.name == "VirtualMachine" else wish.key
        what = "delete" if written.after is None else "create" if written.before is None else "change"
        try:
            tell(req, self._services, "ObjectChanged", f"{what} {wish.key}", about, written.revision)
        except StoreError as error:
            # The change is made: an answer that it is not would be worse than an event that is missing.
            _log.warning("the change of %s is not among the events: %s", wish.key, error.message)

    def _require_file(self, view: View) -> None:
        """Refuse a machine that stands in no file: its pool makes it.

        Raises:
            ConflictError: It is one.
        """
        if f"{view.kind}/{view.name}" not in self._services.desired.read().origins:
            pool = view.labels.get(POOL_LABEL, "")
            raise ConflictError(
                f"{view.name} is a machine of the pool {pool}, and stands in no file",
                hint=f"change the template of VirtualMachinePool {pool}",
            )

    async def _wait(self, req: Request, resp: Response, wish: Wish, written: Written, longest: float) -> bool:
        """Wait until it is true. False: it is not, and the answer is an operation."""
        wanted = req.context.query["waitFor"] or default_of(wish.kind.name)
        if wish.change is Change.DELETE:
            wanted = GONE
        aim = Aim(wish.kind.name, wish.name, written.revision, wanted)
        return await self._operations.wait_for_aim(req, resp, aim, longest)

    def _answer(self, req: Request, resp: Response, wish: Wish, written: Written) -> None:
        if wish.change is Change.DELETE:
            resp.status = falcon.HTTP_204
            return
        view = self._views.one(self._views.moment(wish.kind), wish.name)
        if written.after is not None and (view is None or view.version != version_of(written.after)):
            # Somebody else was here since: with their version, the caller would undo what they never saw.
            view = view_of(wish.kind.name, wish.name, written.after)
        if view is None:
            raise NotFoundError(f"{wish.kind.name} {wish.name!r} was written, and is gone again")
        put_anew = written.before is None and written.after is not None and wish.change is Change.PUT
        if wish.change is Change.CREATE or put_anew:
            resp.status = falcon.HTTP_201
            resp.set_header("Location", f"/api/v1/{wish.kind.path}/{falcon.uri.encode_value(wish.name)}")
        form = media.wanted(req)
        resp.set_header("ETag", make_etag(view.version, view.seen, "yaml" if form == media.YAML else ""))
        resp.content_type = form
        resp.data = (
            view.json().encode(errors="replace") if form == media.JSON else media.dump(view.data(), form)
        )


def _as_seen(wish: Wish, view: View | None) -> tuple[str | None, bool]:
    """What a write must find, so that it changes just what was looked at.

    Raises:
        PreconditionError: The caller means another version than this one.
    """
    if view is None:
        return wish.match, True if wish.match is None else wish.absent
    if wish.match not in (None, ANY, view.version):
        raise PreconditionError(f"{wish.key} has another version now", hint="get it again, and look at it")
    return view.version, wish.absent


def tell(req: Request, services: Services, reason: str, what: str, about: str, revision: str = "") -> None:
    """Let an event say what was asked for here, by whom, and by which request."""
    message = f"{what}, by {req.context.caller.name} (request {req.context.request_id})"
    services.store.add_events([Event(services.clock(), reason, message, about, revision=revision)])


async def read_wish(req: Request, kind: Kind, name: str | None, change: Change) -> Wish:
    """What a request asks for.

    Raises:
        BadBodyError: The body cannot be read.
        DesiredStateError: It does not say of which object it is.
    """
    body = None if change is Change.DELETE else await media.read_object(req)
    if body is not None:
        body.pop("status", None)
    if body is not None and change is not Change.MERGE:
        body.setdefault("kind", kind.name)
        metadata = body.setdefault("metadata", {})
        if name is not None and isinstance(metadata, dict):
            metadata.setdefault("name", name)
    if name is None:
        name = _name_in(body or {}, kind)
    match = None if change is Change.CREATE else match_of(req)
    missing = change is Change.PUT and absent(req)
    return Wish(kind, name, change, body, match, missing, why_of(req))


def why_of(req: Request) -> str:
    """What a commit's message says of the request: why, as the caller put it, and which one it was."""
    why = req.context.query.get("message") or req.get_header("X-Reason") or ""
    # One line: whoever says why must not be able to say who or what as well.
    why = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in why)).strip()[:500]
    trailers = [f"Request-Id: {req.context.request_id}", *mark_of(req)]
    return "\n\n".join(part for part in (why, "\n".join(trailers)) if part)


def _name_in(body: Mapping[str, Any], kind: Kind) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if isinstance(name, str):
        return name
    _, mistakes = decode_data({"apiVersion": "reconciler/v1", **body})
    raise DesiredStateError(
        [Problem("body", 0, 0, show_path(each.path), each.message, kind.name) for each in mistakes]
    )


def _require_after(caller: Caller, wish: Wish, body: object) -> None:
    """Refuse an object that would be out of the caller's reach: labels lead nothing out of it.

    Raises:
        ForbiddenError: It would.
    """
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    found = labels.items() if isinstance(labels, Mapping) else ()
    told = {key: value for key, value in found if isinstance(value, str)}
    if not caller.may(Role.OPERATOR, Thing(wish.kind.name, wish.name, told)):
        raise ForbiddenError(
            f"{caller.name} is no operator of {wish.kind.name} {wish.name!r} with these labels",
            hint="your grants reach only some names or labels: see GET /api/v1/whoami",
        )
