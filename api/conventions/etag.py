"""Versions of what is answered (RFC 9110, 8.8.3 and 13.1).

An object's ``ETag`` is ``"<version>.<rest>"``: the version is that of its desired part, and the rest says
whatever else the answer shows (its status, fields, media type).  ``If-Match`` speaks of the version only, so
that a machine that was just started stands in no change's way; ``If-None-Match`` speaks of the whole.
"""

from __future__ import annotations

import hashlib
import re

import falcon
from falcon.asgi import Request, Response

from api.operation import BadQueryError, Header
from reconciler.errors import Problem
from reconciler.model.write import ANY

IF_MATCH = Header("If-Match", "Only if the object still has this `ETag` (`*`: if it is there); else 412.")
IF_NONE_MATCH = Header("If-None-Match", "Only if the answer is another than this `ETag`; else 304.")
IF_ABSENT = Header("If-None-Match", "`*`: only if the object is not there; else 412.")

_TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]*)"\s*')


def make_etag(version: str, *rest: str) -> str:
    """The header's value."""
    more = ".".join(part for part in rest if part)
    return f'"{version}.{more}"' if more else f'"{version}"'


def digest(*parts: str | bytes) -> str:
    """Twelve hexadecimal digits that change with any part."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update((part.encode(errors="replace") if isinstance(part, str) else part) + b"\0")
    return whole.hexdigest()[:12]


def unchanged(req: Request, resp: Response, etag: str) -> bool:
    """Give the answer this version; True if the caller has it already: the answer is 304, without a body."""
    resp.set_header("ETag", etag)
    asked = req.get_header("If-None-Match")
    if asked is None:
        return False
    if asked.strip() != ANY and etag.strip('"') not in _tags(asked, "If-None-Match"):
        return False
    resp.status = falcon.HTTP_304
    return True


def match_of(req: Request) -> str | None:
    """The version that the object must have, `ANY` for whichever, or None.

    Raises:
        BadQueryError: ``If-Match`` is no list of tags.
    """
    asked = req.get_header("If-Match")
    if asked is None or asked.strip() == ANY:
        return ANY if asked else None
    versions = {tag.partition(".")[0] for tag in _tags(asked, "If-Match")}
    if len(versions) > 1:
        message = "several versions are not taken: name the one that you have seen"
        raise BadQueryError([Problem("headers", 0, 0, "If-Match", message)])
    return versions.pop()


def absent(req: Request) -> bool:
    """True if the object must not be there (``If-None-Match: *``).

    Raises:
        BadQueryError: A write has an ``If-None-Match`` with versions, which would mean nothing.
    """
    asked = req.get_header("If-None-Match")
    if asked is None:
        return False
    if asked.strip() != ANY:
        message = "for a write it is *, or left out; a version stands in If-Match"
        raise BadQueryError([Problem("headers", 0, 0, "If-None-Match", message)])
    return True


def _tags(text: str, header: str) -> list[str]:
    """The tags of a list, without their quotes."""
    found = [_TAG.fullmatch(part) for part in text.split(",")]
    if not all(found):
        raise BadQueryError(
            [Problem("headers", 0, 0, header, 'write an ETag in its quotes, or *: "1a2b.3c"')]
        )
    return [each[1] for each in found if each is not None]
