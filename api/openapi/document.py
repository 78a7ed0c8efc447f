"""The document: one pass over the paths and what their responders declare.

OpenAPI 3.1.1: https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from api.openapi.examples import manifest
from api.openapi.parameters import TAGS, of_path, plain
from api.openapi.schemas import components
from api.openapi.text import INTRODUCTION
from api.operation import Answer, Operation, Query
from api.problems import MEDIA_TYPE
from reconciler import __version__

METHODS = ("get", "put", "post", "patch", "delete")

_SAID = {
    400: "The query or a header does not fit; every mistake is listed.",
    401: "Nobody knows who asks.",
    403: "Who asks may not do this.",
    404: "There is no such thing, or it is not yours to see.",
    405: "Not with this method.",
    406: "Not in a form that you accept.",
    408: "The body did not arrive in time.",
    409: "What is there does not allow it.",
    412: "It is not any more what you had seen.",
    413: "The body is too large.",
    415: "The body has a form that is not understood.",
    422: "The body is refused whole; every mistake is listed.",
    429: "Too often; ask again after the time in `Retry-After`.",
    503: "Not now; ask again after the time in `Retry-After`.",
}
_DURATION = {"type": "string", "pattern": r"^(?=.)(\d+d)?(\d+h)?(\d+m)?(\d+s)?$", "examples": ["30s"]}


def document(routes: Iterable[tuple[str, object]]) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        routes: Path templates with their resources, as `api.app.routes` gives them.
    """
    paths: dict[str, dict[str, Any]] = {}
    tags: set[str] = set()
    statuses: set[int] = set()
    for template, resource in routes:
        for method, declared in operations(resource):
            tags.add(declared.tag or "documents")
            statuses |= _problems(declared, template)
            paths.setdefault(plain(template), {})[method] = _operation(declared, template)
    for one in paths.values():
        _unique(one)
    ordered = [*(tag for tag in TAGS if tag in tags), *sorted(tags - TAGS.keys())]
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "reconciler",
            "version": __version__,
            "summary": "GitOps for virtual machines on plain libvirt hosts",
            "description": INTRODUCTION,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "/", "description": "Where this document came from."}],
        "security": [{"bearer": []}, {"basic": []}, {"session": []}],
        "tags": [{"name": tag, "description": TAGS.get(tag, "")} for tag in ordered],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components(),
            "responses": {_name(status): _response(status) for status in sorted(statuses)},
            "securitySchemes": _SECURITY,
        },
    }


_SECURITY: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `reconciler token create`, or of the OIDC issuer that is configured.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, and a token as the password.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "reconciler_session",
        "description": "For browsers: made by `POST /api/v1/session`; writes need the CSRF token too.",
    },
}


def operations(resource: object) -> Iterator[tuple[str, Operation]]:
    """Method and declaration of each responder that declares itself."""
    for method in METHODS:
        declared = getattr(getattr(resource, f"on_{method}", None), "operation", None)
        if declared is not None:
            yield method, declared


def undeclared(resource: object) -> list[str]:
    """Responders that say nothing of what they take and give."""
    return [
        name
        for name in dir(resource)
        if re.fullmatch(r"on_[a-z]+", name) and getattr(getattr(resource, name), "operation", None) is None
    ]


def _operation(declared: Operation, template: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": declared.id,
        "summary": declared.summary,
        "tags": [declared.tag or "documents"],
    }
    said = [declared.description] if declared.description else []
    if declared.role is None:
        made["security"] = []
    else:
        said.append(f"Needs the role `{declared.role}`.")
        made["x-role"] = str(declared.role)
    if said:
        made["description"] = "\n\n".join(said)
    parameters = [*of_path(template), *map(_query, declared.query)]
    parameters += [{**asdict(one), "in": "header", "schema": {"type": "string"}} for one in declared.headers]
    if parameters:
        made["parameters"] = parameters
    if declared.body is not None:
        body = declared.body
        made["requestBody"] = {
            "required": body.required,
            "content": _content(body.schema, body.media, _example(body.schema)),
            **({"description": body.description} if body.description else {}),
        }
    made["responses"] = _responses(declared, template)
    return made


def _query(one: Query) -> dict[str, Any]:
    schema = dict(_DURATION if one.schema.get("format") == "duration" else one.schema)
    if one.default is not None and not isinstance(one.default, (tuple, frozenset)):
        schema["default"] = one.default
    made = {"name": one.name, "in": "query", "description": one.description, "schema": schema}
    return {**made, "required": True} if one.required else made


def _responses(declared: Operation, template: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for answer in declared.answers:
        _add(found.setdefault(str(answer.status), {"description": answer.description}), answer)
    for status in sorted(_problems(declared, template)):
        found.setdefault(str(status), {"$ref": f"#/components/responses/{_name(status)}"})
    return dict(sorted(found.items()))


def _add(made: dict[str, Any], answer: Answer) -> None:
    if answer.schema is not None:
        made.setdefault("content", {}).update(_content(answer.schema, answer.media))
    if answer.headers:
        made.setdefault("headers", {}).update(
            {
                name: {"description": about, "schema": {"type": "string"}}
                for name, about in answer.headers.items()
            }
        )


def _content(
    schema: Mapping[str, Any] | str, media: Iterable[str], shown: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    found = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else dict(schema)
    return {one: {"schema": found, **({"example": shown} if shown else {})} for one in media}


def _example(schema: Mapping[str, Any] | str) -> dict[str, Any] | None:
    return manifest(schema) if isinstance(schema, str) else None


def _problems(declared: Operation, template: str) -> set[int]:
    """The statuses of problems that an operation may answer with."""
    if declared.lenient:
        return set()
    found = {400, *declared.problems}
    if any(one.schema is not None for one in declared.answers):
        found.add(406)
    if declared.role is not None:
        found |= {401, 403, 429, 503}
    if "{" in template:
        found.add(404)
    if declared.body is not None:
        found |= {408, 413, 415, 422}
    if any(header.name == "Idempotency-Key" for header in declared.headers):
        found |= {409, 422}
    return found


def _name(status: int) -> str:
    return "".join(c for c in HTTPStatus(status).phrase if c.isalnum())


def _response(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": _SAID.get(status, HTTPStatus(status).phrase),
        "content": _content("Problem", (MEDIA_TYPE,)),
    }
    if status == 401:
        made["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in (429, 503):
        made["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    return made


def _unique(path: dict[str, Any]) -> None:
    """Parameters that every method of a path has stand with the path, once."""
    methods = list(path)
    shared = [
        one
        for one in path[methods[0]].get("parameters", ())
        if one["in"] == "path" and all(one in path[method].get("parameters", ()) for method in methods)
    ]
    if not shared:
        return
    for method in methods:
        path[method]["parameters"] = [one for one in path[method]["parameters"] if one not in shared]
        if not path[method]["parameters"]:
            del path[method]["parameters"]
    path["parameters"] = shared
