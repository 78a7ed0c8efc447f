"""The document as a page: plain HTML made here, so that it needs no script, no network and no second look.

Everything that comes from the document is escaped; the policy of `POLICY` lets the browser load nothing but
the style that is inside.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from api.openapi.examples import Document, curl, example
from api.openapi.style import STYLE

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the page."""

_SHOWN = ("get", "post", "put", "patch", "delete")


def page(document: Document) -> str:
    """The whole page.

    Args:
        document: As `api.openapi.document.document` gives it.
    """
    info = document["info"]
    groups = _groups(document)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>",
            f"<nav>{''.join(_navigation(document, groups))}</nav><main>",
            f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>",
            '<p>Also for programs: <a href="openapi.json">openapi.json</a>, '
            '<a href="openapi.yaml">openapi.yaml</a> (OpenAPI 3.1).</p>',
            prose(info.get("description", "")),
            *(_group(document, tag, operations) for tag, operations in groups.items()),
            '<h2 id="schemas">Schemas</h2>',
            *(_schema(name, each) for name, each in sorted(document["components"]["schemas"].items())),
            "</main></body></html>",
        ]
    )


def prose(text: str) -> str:
    """Paragraphs, **bold** and `code` as HTML; everything else is text."""
    made = []
    for paragraph in filter(None, (part.strip() for part in text.split("\n\n"))):
        safe = escape(paragraph)
        safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
        safe = re.sub(r"[*][*]([^*]+)[*][*]", r"<b>\1</b>", safe)
        made.append(f"<p>{safe}</p>")
    return "\n".join(made)


Found = tuple[str, str, Mapping[str, Any]]
"""Method, path and operation."""


def _groups(document: Document) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _SHOWN:
            if method in methods:
                found[methods[method]["tags"][0]].append((method, path, methods[method]))
    return found


def _navigation(document: Document, groups: Mapping[str, list[Found]]) -> Iterator[str]:
    yield f'<a class="home" href="#">{escape(document["info"]["title"])}</a>'
    for tag, operations in groups.items():
        yield f"<details><summary>{escape(tag)}</summary><ul>"
        for method, _path, one in operations:
            yield (
                f'<li><a href="#{escape(one["operationId"])}">'
                f'<b class="{method}">{method.upper()}</b> {escape(one["summary"])}</a></li>'
            )
        yield "</ul></details>"
    yield '<a href="#schemas">Schemas</a>'


def _group(document: Document, tag: str, operations: Iterable[Found]) -> str:
    about = next((one.get("description", "") for one in document["tags"] if one["name"] == tag), "")
    body = "\n".join(_operation(document, *one) for one in operations)
    return f'<h2 id="tag-{escape(tag)}">{escape(tag)}</h2>{prose(about)}{body}'


def _operation(document: Document, method: str, path: str, one: Mapping[str, Any]) -> str:
    parameters = [*document["paths"][path].get("parameters", []), *one.get("parameters", [])]
    parts = [
        f'<section id="{escape(one["operationId"])}"><h3>{escape(one["summary"])}</h3>',
        f'<p class="path"><b class="{method}">{method.upper()}</b> <code>{escape(path)}</code></p>',
        prose(one.get("description", "")),
        _parameters(parameters),
        _body(document, one.get("requestBody")),
        _answers(document, one["responses"]),
        f"<pre>{escape(curl(method, path, one, document))}</pre></section>",
    ]
    return "\n".join(filter(None, parts))


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"<code>{escape(one['name'])}</code>",
            escape(one["in"]) + (", required" if one.get("required") and one["in"] != "path" else ""),
            _kind(one.get("schema", {})),
            _inline(one.get("description", "")),
        )
        for one in parameters
    ]
    return _table(("Parameter", "In", "Form", ""), rows)


def _body(document: Document, body: Mapping[str, Any] | None) -> str:
    if not body:
        return ""
    media, about = next(iter(body["content"].items()))
    told = json.dumps(example(about.get("schema", {}), document), indent=2)
    needed = "" if body.get("required") else ", may be left out"
    forms = ", ".join(map(escape, body["content"]))
    return (
        f"<p>Body: {_kind(about.get('schema', {}))} as {forms}{needed}. "
        f"{_inline(body.get('description', ''))}</p>"
        f"<details><summary>Example ({escape(media)})</summary><pre>{escape(told)}</pre></details>"
    )


def _answers(document: Document, answers: Mapping[str, Mapping[str, Any]]) -> str:
    rows, problems = [], []
    for status, given in answers.items():
        if "$ref" in given:
            shared = document["components"]["responses"][given["$ref"].rpartition("/")[2]]
            problems.append(f'<abbr title="{escape(shared["description"])}">{escape(status)}</abbr>')
            continue
        content = given.get("content", {})
        first: Mapping[str, Any] = next(iter(content.values()), {})
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in given.get("headers", {}))
        rows.append(
            (
                f"<b>{escape(status)}</b>",
                _kind(first.get("schema", {})) if content else "nothing",
                ", ".join(map(escape, content)),
                _inline(given["description"]) + (f" Headers: {headers}" if headers else ""),
            )
        )
    told = _table(("Answer", "With", "As", ""), rows)
    if problems:
        told += f'<p>Problems: {", ".join(problems)} (<a href="#schema-Problem">Problem</a>)</p>'
    return told


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(field)}</code>{' *' if field in required else ''}",
            _kind(about),
            _inline(about.get("description", "")),
        )
        for field, about in schema.get("properties", {}).items()
    ]
    inside = prose(schema.get("description", "")) + _table(("Field", "Form", ""), rows)
    if not rows:
        inside += f"<p>{_kind({key: each for key, each in schema.items() if key != 'description'})}</p>"
    return f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>{inside}</section>'


def _kind(schema: Mapping[str, Any]) -> str:
    """What form a value has, in a few words."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    for options in ("anyOf", "oneOf", "allOf"):
        if options in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[options]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(" or ".join(_types(schema)) + _limits(schema))


def _types(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", "anything")
    return [kind] if isinstance(kind, str) else list(kind)


def _limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    told = f" ({schema['format']})" if "format" in schema else ""
    if low is not None or high is not None:
        told += f", {low if low is not None else ''}…{high if high is not None else ''}"
    if schema.get("default") is not None:
        told += f" [{json.dumps(schema['default'])}]"
    return told


def _inline(text: str) -> str:
    return prose(text).removeprefix("<p>").removesuffix("</p>")


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of cells that are HTML already; nothing where there are no rows."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>' if body else ""
