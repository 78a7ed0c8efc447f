"""Field selection: ``fields=metadata.name,status.host`` leaves everything else out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from api.operation import BadQueryError, Query
from reconciler.errors import Problem

FIELDS = Query(
    "fields",
    {"type": "string", "maxLength": 4096},
    "Only these fields: `metadata.name,status.host`. A field of a list is given for each of its items; a dot "
    r"inside of a key is written `\.`.",
)

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")

Paths = Sequence[Sequence[str]]


def parse_fields(text: str | None, top: Sequence[str] = _TOP) -> Paths | None:
    """The paths of a selection; None for all fields.

    Args:
        text: As it stands in the query.
        top: The fields that there are at the top; none: whichever.

    Raises:
        BadQueryError: A path is empty, or begins with a field that no object has.
    """
    if text is None or not text.strip():
        return None
    paths = [
        [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path.strip())]
        for path in text.split(",")
    ]
    wrong = [path for path in paths if not all(path) or (top and path[0] not in top)]
    if wrong:
        known = f": it begins with one of {', '.join(top)}" if top else ""
        raise BadQueryError(
            [Problem("query", 0, 0, "fields", f"{'.'.join(path)!r} is no field{known}") for path in wrong]
        )
    return paths


def select(data: object, paths: Paths) -> object:
    """The data with only these fields, at their place."""
    if isinstance(data, list):
        return [select(item, paths) for item in data]
    if not isinstance(data, Mapping):
        return data
    wanted: dict[str, list[Sequence[str]]] = {}
    for path in paths:
        wanted.setdefault(path[0], []).append(path[1:])
    found: dict[str, object] = {}
    for key, rest in wanted.items():
        if key in data:
            found[key] = data[key] if not all(rest) else select(data[key], rest)
    return found
