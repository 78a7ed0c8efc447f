"""``/openapi.json``, ``/openapi.yaml`` and ``/docs``: what the API says of itself; nothing secret."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Iterable
from typing import Any

import yaml
from falcon.asgi import Request, Response

from api.openapi.document import document
from api.openapi.page import POLICY, page
from api.operation import Answer, operation

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The document is large: without libyaml it takes seconds."""

_ANY: dict[str, Any] = {"type": "object"}


class Documents:
    """The document in each of its forms, made when it is first asked for."""

    def __init__(self, routes: Iterable[tuple[str, object]]) -> None:
        self._routes = list(routes)

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document of the given paths and of these here."""
        return document([*self._routes, *self.routes()])

    @functools.cached_property
    def as_json(self) -> str:
        """For programs."""
        return json.dumps(self.document, indent=1)

    @functools.cached_property
    def as_yaml(self) -> str:
        """For programs, and people who like it better."""
        return yaml.dump(self.document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110)

    @functools.cached_property
    def as_page(self) -> str:
        """For people."""
        return page(self.document)

    def routes(self) -> list[tuple[str, object]]:
        """The paths of the forms."""
        return [
            ("/openapi.json", JsonDocument(self)),
            ("/openapi.yaml", YamlDocument(self)),
            ("/docs", Page(self)),
        ]


class JsonDocument:
    """The document as JSON."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @operation(
        "getOpenApiJson",
        summary="This description as JSON",
        tag="documents",
        answers=(Answer(200, "An OpenAPI 3.1 document.", _ANY, ("application/json",)),),
        role=None,
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """It."""
        resp.content_type = "application/json"
        resp.text = await asyncio.to_thread(lambda: self._documents.as_json)


class YamlDocument:
    """The document as YAML."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @operation(
        "getOpenApiYaml",
        summary="This description as YAML",
        tag="documents",
        answers=(Answer(200, "An OpenAPI 3.1 document.", _ANY, ("application/yaml",)),),
        role=None,
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """It."""
        resp.content_type = "application/yaml"
        resp.text = await asyncio.to_thread(lambda: self._documents.as_yaml)


class Page:
    """The document as a page."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @operation(
        "getDocs",
        summary="This description as a page",
        tag="documents",
        answers=(Answer(200, "For a browser; it needs no script.", {"type": "string"}, ("text/html",)),),
        role=None,
    )
    async def on_get(self, _req: Request, resp: Response) -> None:
        """It."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", POLICY)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "no-referrer")
        resp.text = await asyncio.to_thread(lambda: self._documents.as_page)
