"""What both older interfaces do alike: their paths, their parameters, and how they refuse.

Their clients know nothing of status codes, media types or problems.  Whatever goes wrong has the form that
they know, with status 200; only who may not ask at all also gets the status that says so, which is what makes
a browser ask for a password.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import falcon
from falcon.asgi import Request, Response

from api.body import read_body
from api.older import jsonp
from api.operation import Answer, Query, operation
from api.services import Services
from reconciler.errors import ForbiddenError, ReconcilerError
from reconciler.model.access import Caller, Role, Thing

_log = logging.getLogger(__name__)

_JSON: Final = ("application/json",)
_FORM: Final = "application/x-www-form-urlencoded"

LOUD: Final = frozenset({400, 401, 403, 405, 408, 413, 429})
"""Statuses of refusals that are kept. All others become 200: no client of old knows them."""

PREFIX: Final = "/server"
"""What some clients send before each path."""

Failure = Callable[[str], object]
"""The body of a refusal, of what was wrong in words."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call.

    Attributes:
        services: What it works with.
        caller: Who asks.
        given: Its parameters; each has one value, the first.
        id: Of the request.
    """

    services: Services
    caller: Caller
    given: Mapping[str, str]
    id: str = ""

    def number(self, name: str) -> int:
        """A parameter that is a positive whole number; 0 for everything else."""
        text = self.given.get(name, "").strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0

    def may(self, role: Role, thing: Thing) -> bool:
        """True if the caller may do this to this thing."""
        return self.caller.may(role, thing)


Work = Callable[[Asked], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Call:
    """A path of an older interface.

    Attributes:
        path: As clients send it, but for ``/server`` and the slash at its end.
        id: ``operationId``.
        summary: One line.
        role: What the caller must be allowed somewhere; more than a viewer: it changes something.
        schema: Of its answer.
        work: Does it.
        failed: The body of a refusal.
        query: Its parameters: name to what it is.
        tag: Group in the OpenAPI document.
        scripts: It can be wrapped in a callback.
    """

    path: str
    id: str
    summary: str
    role: Role
    schema: Mapping[str, Any]
    work: Work
    failed: Failure
    query: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    scripts: bool = False


def resource(services: Services, call: Call) -> object:
    """The resource of a call; POST does what GET does, with its parameters in a form too."""

    class OlderCall:
        """See `Call`."""

        @operation(call.id, **_about(call))
        async def on_get(self, req: Request, resp: Response) -> None:
            """Answer it."""
            await _serve(services, call, req, resp)

        @operation(f"{call.id}ByPost", **_about(call))
        async def on_post(self, req: Request, resp: Response) -> None:
            """Answer it."""
            await _serve(services, call, req, resp)

    return OlderCall()


def _about(call: Call) -> dict[str, Any]:
    query = [Query(name, {"type": "string"}, about) for name, about in call.query.items()]
    answers = [Answer(200, "What came of it, or that nothing did.", call.schema, _JSON)]
    refused = "The answer of a failure, for one who may not ask."
    answers += [Answer(status, refused, call.schema, _JSON) for status in (401, 403, 429)]
    if call.scripts:
        query.append(Query(jsonp.PARAMETER, {"type": "string"}, "Name of a function that the answer calls."))
        answers.append(Answer(200, "", {"type": "string"}, (jsonp.MEDIA_TYPE,)))
        answers.append(Answer(400, "The callback is not an identifier.", call.schema, _JSON))
    return {
        "summary": call.summary,
        "tag": call.tag,
        "query": tuple(query),
        "answers": tuple(answers),
        "role": call.role,
        "writes": call.role is not Role.VIEWER,
        "lenient": True,
    }


async def _serve(services: Services, call: Call, req: Request, resp: Response) -> None:
    asked = Asked(services, req.context.caller, await _parameters(req), req.context.request_id)
    try:
        value = await call.work(asked)
    except ForbiddenError:
        raise
    except ReconcilerError as error:
        # The client of old has no field for the reason, or reads it to nobody: the log has it.
        given = {name: asked.given[name][:64] for name in call.query if name in asked.given}
        why = " ".join(str(error).split())
        _log.warning("request %s: %s %s failed: %s", asked.id, call.path, given, why)
        value = call.failed(error.message)
        resp.context.refusal = error.message  # for the audit record, where it is 200
    answer(resp, value)


def answer(resp: Response, value: object, status: int = 200) -> None:
    """Answer with plain data, as a script where the call asked for one."""
    callback: str | None = getattr(resp.context, "callback", None)
    resp.status = status
    resp.set_header("X-Content-Type-Options", "nosniff")
    resp.set_header("Cache-Control", "no-store")
    if callback is None:
        resp.content_type = "application/json"
        resp.text = jsonp.to_json(value)
    else:
        resp.content_type = jsonp.MEDIA_TYPE
        resp.text = jsonp.wrap(callback, value)


async def _parameters(req: Request) -> dict[str, str]:
    """Those of the query, and of a form in the body, which wins."""
    given = {name: _first(value) for name, value in req.params.items()}
    if req.method == "POST" and (req.content_type or "").partition(";")[0].strip().lower() == _FORM:
        text = (await read_body(req)).decode(errors="replace")
        with suppress(ValueError):  # far more fields than any call has
            given |= dict(reversed(parse_qsl(text, keep_blank_values=True, max_num_fields=100)))
    return given


def _first(value: str | list[str]) -> str:
    return value[0] if isinstance(value, list) else value


class OlderPaths:
    """Middleware: takes what clients of old send for the paths that are served, and refuses them their way.

    Args:
        calls: Every call that is served; none if the older interfaces are off.
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = {call.path.rstrip("/"): call for call in calls}

    async def process_request(self, req: Request, resp: Response) -> None:
        """Before the path is looked for.

        Raises:
            falcon.HTTPBadRequest: The callback is not an identifier.
        """
        call = self._calls.get(req.path.removeprefix(PREFIX).rstrip("/"))
        if call is None:
            return
        req.path = call.path
        resp.context.shaped = lambda status, detail: _refuse(resp, call, status, detail)
        if call.scripts and jsonp.PARAMETER in req.params:
            name = _first(req.params[jsonp.PARAMETER])
            if not jsonp.is_callback(name):
                raise falcon.HTTPBadRequest(description=f"{jsonp.PARAMETER} is not an identifier")
            resp.context.callback = name


def _refuse(resp: Response, call: Call, status: int, detail: str) -> None:
    answer(resp, call.failed(detail), status if status in LOUD else 200)
