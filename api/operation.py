"""How a responder says what it takes and gives: checks and OpenAPI document come from the same words.

    class Machines:
        @operation(
            "listThings",
            summary="List things",
            query=(Query("limit", {"type": "integer", "minimum": 1}, "At most so many.", default=100),),
            answers=(Answer(200, "The things.", "ThingList"),),
            role=Role.VIEWER,
        )
        async def on_get(self, req, resp): ...

A query parameter that is not declared is refused, so that a misspelt ``dryrun=true`` changes nothing; so is
the body of an operation that takes none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from falcon.asgi import Request, Response

from api.body import read_body
from reconciler.errors import DesiredStateError, ForbiddenError, Problem, ReconcilerError
from reconciler.model.access import Caller, Role
from reconciler.model.units import parse_duration

Schema = Mapping[str, Any] | str
"""A JSON schema, or the name of one in the document's components."""

Responder = Callable[..., Awaitable[None]]


_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Of these the body means nothing (RFC 9110, 9.3.1), and a stream of events must not wait for it."""


class BadQueryError(DesiredStateError):
    """Query parameters or headers that do not fit, all of them at once."""

    exit_code = 64
    subject = "the request"


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query.

    Attributes:
        name: As it stands in the URL.
        schema: ``{"type": "integer" | "boolean" | "string", ...}``; ``format: duration`` takes ``30s``.
        description: For the document.
        default: Its value when it is missing.
        required: It must be there.
    """

    name: str
    schema: Mapping[str, Any]
    description: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a request may have; the responder reads it itself."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Body:
    """The body that an operation takes.

    Attributes:
        schema: Its schema.
        media: Media types; JSON and YAML by default.
        required: There must be one.
        description: For the document.
    """

    schema: Schema
    media: tuple[str, ...] = ("application/json", "application/yaml")
    required: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that an operation may give. Problems need not be listed: see `Operation.problems`.

    Attributes:
        status: HTTP status.
        description: For the document.
        schema: Of its body, or None for none.
        media: Media types.
        headers: Name to description.
    """

    status: int
    description: str
    schema: Schema | None = None
    media: tuple[str, ...] = ("application/json", "application/yaml")
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one responder takes and gives.

    Attributes:
        id: ``operationId``.
        summary: One line.
        description: More, in Markdown.
        tag: Group in the document.
        query: Parameters of the query.
        headers: Headers of the request.
        body: Of the request.
        answers: What comes of it.
        problems: Statuses of problems beyond those that any operation may have (see `api.openapi`).
        role: What the caller must be allowed somewhere; None lets everybody in. The responder itself asks
            for the object at hand: see `api.context.require`.
        writes: It changes something, though its method is GET, or nothing, though it is POST; None: as the
            method and the role say. Writes are recorded, and refused to other sites' pages.
        lenient: Of an interface of old: it reads its parameters itself, one that is not declared is ignored,
            and `answers` are all that it ever answers.
        minds_key: It sees to ``Idempotency-Key`` itself, in the transaction of its own work.
    """

    id: str
    summary: str
    description: str = ""
    tag: str = ""
    query: tuple[Query, ...] = ()
    headers: tuple[Header, ...] = ()
    body: Body | None = None
    answers: tuple[Answer, ...] = ()
    problems: tuple[int, ...] = ()
    role: Role | None = Role.VIEWER
    writes: bool | None = None
    lenient: bool = False
    minds_key: bool = False


def operation(id_: str, **about: Any) -> Callable[[Responder], Responder]:
    """Declare a responder. The parsed query is ``req.context.query``; see `Operation` for `about`."""
    declared = Operation(id_, **about)

    def declare(responder: Responder) -> Responder:
        @functools.wraps(responder)
        async def checked(self: Any, req: Request, resp: Response, **params: Any) -> None:
            caller: Caller | None = getattr(req.context, "caller", None)
            if declared.role is not None and caller is not None and not caller.may_somewhere(declared.role):
                raise ForbiddenError(f"{caller.name} is no {declared.role}", hint="ask an admin for a grant")
            req.context.query = {} if declared.lenient else parse_query(req, declared)
            if not declared.lenient and declared.body is None and req.method not in _WITHOUT_BODY:
                await _require_no_body(req)
            await responder(self, req, resp, **params)

        checked.operation = declared  # type: ignore[attr-defined]
        return checked

    return declare


async def _require_no_body(req: Request) -> None:
    """Refuse what nobody would read: whoever wrote it believes that it counts.

    Raises:
        BadQueryError: There is a body.
    """
    if (await read_body(req)).strip():
        raise BadQueryError([Problem("body", 0, 0, "", "this operation takes no body: leave it out")])


def parse_query(req: Request, declared: Operation) -> dict[str, Any]:
    """Check the query against what is declared.

    Raises:
        BadQueryError: It does not fit, with every mistake in it.
    """
    known = {one.name: one for one in declared.query}
    found: dict[str, Any] = {name: one.default for name, one in known.items()}
    mistakes: list[Problem] = []
    for name, raw in req.params.items():
        one = known.get(name)
        if one is None:
            mistakes.append(
                _mistake(name, f"there is no such parameter; known: {', '.join(known) or 'none'}")
            )
            continue
        if isinstance(raw, list):
            mistakes.append(_mistake(name, "it is given several times"))
            continue
        try:
            found[name] = _value(raw, one.schema)
        except (ValueError, ReconcilerError) as error:
            mistakes.append(_mistake(name, str(error)))
    mistakes += [
        _mistake(one.name, "it is required")
        for one in declared.query
        if one.required and one.name not in req.params
    ]
    if mistakes:
        raise BadQueryError(mistakes)
    return found


def _mistake(name: str, message: str) -> Problem:
    return Problem("query", 0, 0, name, message)


def _value(raw: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type", "string")
    if kind == "integer":
        return _integer(raw, schema)
    if kind == "boolean":
        if raw not in ("true", "false"):
            raise ValueError("write true or false")
        return raw == "true"
    if schema.get("format") == "duration":
        return parse_duration(raw)
    if "enum" in schema and raw not in schema["enum"]:
        raise ValueError(f"write one of: {', '.join(schema['enum'])}")
    if len(raw) > schema.get("maxLength", 4096):
        raise ValueError(f"it has more than {schema.get('maxLength', 4096)} characters")
    if len(raw) < schema.get("minLength", 0):
        raise ValueError("it must not be empty")
    if "pattern" in schema and not re.search(schema["pattern"], raw):
        raise ValueError(f"it does not match {schema['pattern']}")
    return raw


def _integer(raw: str, schema: Mapping[str, Any]) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", raw):
        raise ValueError("write a whole number")
    number = int(raw)
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"it must be between {low} and {high}")
    return number
