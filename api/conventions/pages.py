"""Pages of a list: ``limit``, and a token that says where the next page begins.

The order is by name, and the token holds the last name that was given: what is added or deleted between two
pages neither repeats an item nor leaves one out.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from api.operation import BadQueryError, Query
from reconciler.errors import Problem

LIMIT = Query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": 100_000},
    "At most so many items; the answer's `continue` then begins the next page. All of them by default.",
)
CONTINUE = Query(
    "continue",
    {"type": "string", "minLength": 1, "maxLength": 1024},
    "The token of the page before, with the same query as it had.",
)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Attributes:
        limit: At most so many; None for all.
        after: Only names behind this one.
        query: Digest of everything else in the query, to which a token belongs.
    """

    limit: int | None
    after: str
    query: str


def parse_page(limit: int | None, token: str | None, *query: object) -> Page:
    """Which page is asked for.

    Args:
        limit: As it stands in the query.
        token: Likewise.
        *query: What is listed, and how: a token of something else is refused.

    Raises:
        BadQueryError: The token is none of ours, or of another query.
    """
    digest = hashlib.sha256(json.dumps(query, default=str).encode()).hexdigest()[:12]
    if token is None:
        return Page(limit, "", digest)
    try:
        raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        of, after = json.loads(raw)
        if not isinstance(after, str) or not isinstance(of, str):
            raise TypeError
    except (ValueError, TypeError, binascii.Error) as error:
        raise _refused("it is no token that a page had") from error
    if of != digest:
        raise _refused("it belongs to another query: repeat that one, or begin anew without it")
    return Page(limit, after, digest)


def cut(names: Sequence[str], page: Page) -> tuple[int, int, str | None]:
    """Where the page begins and ends in sorted names, and the token of the next one, if there is one."""
    begin = bisect.bisect_right(names, page.after) if page.after else 0
    end = len(names) if page.limit is None else min(len(names), begin + page.limit)
    return begin, end, make_token(names[end - 1], page) if begin < end < len(names) else None


def make_token(after: str, page: Page) -> str:
    """The token of the page behind this name."""
    raw = json.dumps([page.query, after], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _refused(message: str) -> BadQueryError:
    return BadQueryError([Problem("query", 0, 0, "continue", message)])
