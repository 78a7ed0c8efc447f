"""Tokens: how they look, how they are made, and how one is checked.

A token is ``rcl_<id>_<secret>``: the id finds its record, the secret (256 random bits) proves it. Only the
secret's SHA-256 is kept; `reconciler.store.base_access` says why that is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.errors import ConflictError, ForbiddenError, UsageError
from reconciler.model.access import Caller, Grant, Role
from reconciler.store.base_access import AccessStore, TokenRecord

PREFIX = "rcl_"

_TOKEN = re.compile(r"rcl_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[a-z2-7]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_NOBODYS = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""Digest of a secret that nobody knows: what a token is compared with whose id is unknown."""


@dataclass(frozen=True, slots=True)
class TokenWish:
    """A token that somebody wants to be made.

    Attributes:
        name: Whose it will be.
        grants: What it shall allow.
        mail: For the author of commits, or empty.
        ttl: Seconds that it is valid; None for ever.
    """

    name: str
    grants: tuple[Grant, ...]
    mail: str = ""
    ttl: float | None = None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def id_of(text: str) -> str:
    """The id in a token's text; empty if it is none."""
    found = _TOKEN.fullmatch(text)
    return found[1] if found else ""


def verify(store: AccessStore, text: str, now: float, user: str | None = None) -> TokenRecord | None:
    """The token's record, if the text is a valid token's.

    A wrong secret, an unknown id and a text that is no token take the same steps: one look, one digest, one
    comparison in constant time.

    Args:
        store: Where tokens are.
        text: What was presented.
        now: Epoch seconds.
        user: Of HTTP Basic: must be the token's name or id.
    """
    found = _TOKEN.fullmatch(text)
    known, secret = (found[1], found[2]) if found else ("", text)
    record = store.tokens().get(known)
    right = hmac.compare_digest(digest(secret), record.digest if record is not None else _NOBODYS)
    if record is None or not right or not record.valid(now):
        return None
    if user is not None and not (_same(user, record.name) | _same(user, record.id)):
        return None
    return record


def make(store: AccessStore, wish: TokenWish, by: Caller, now: float) -> tuple[TokenRecord, str]:
    """Make a token within what its maker has.

    Returns:
        Its record, and its text, which can be had only now.

    Raises:
        UsageError: A part of it does not fit, with every mistake named.
        ForbiddenError: It would allow more than its maker may, last longer, or have somebody else's name.
        ConflictError: There is a valid token of this name.
    """
    _require_fit(wish)
    if not by.covers(wish.grants):
        raise ForbiddenError(
            f"{by.name} may not pass on what they have not", hint="ask for no more than your own grants"
        )
    if not any(grant.role is Role.ADMIN and not grant.scoped for grant in by.grants) and not (
        wish.name.startswith(f"{by.name}.")
    ):
        # Names are whom leases, operations and commits belong to.
        raise ForbiddenError(f"{by.name} may not name others", hint=f"call the token {by.name}.{wish.name}")
    expires = now + wish.ttl if wish.ttl is not None else None
    if by.expires is not None and (expires is None or expires > by.expires):
        raise ForbiddenError(
            "a token cannot outlive the one that makes it",
            hint=f"give a ttl of at most {max(0, int(by.expires - now))} seconds",
        )
    secret = secrets.token_urlsafe(32)
    record = TokenRecord(
        id="".join(secrets.choice(_LETTERS) for _ in range(12)),
        name=wish.name,
        digest=digest(secret),
        grants=wish.grants,
        mail=wish.mail,
        made=now,
        made_by=by.name,
        parent=by.token,
        expires=expires,
    )
    if not store.add_token(record, now):
        raise ConflictError(
            f"there is a valid token of the name {wish.name!r}",
            hint="choose another name, or revoke that one first",
        )
    return record, f"{PREFIX}{record.id}_{secret}"


def made_with(tokens: Mapping[str, TokenRecord], token: str) -> tuple[TokenRecord, ...]:
    """The tokens that were made with this one, and with those, and so on."""
    found: dict[str, TokenRecord] = {}
    parents = {token}
    while parents:
        children = {t.id: t for t in tokens.values() if t.parent in parents and t.id not in found}
        found |= children
        parents = set(children)
    return tuple(found.values())


def find(tokens: Mapping[str, TokenRecord], word: str, now: float) -> TokenRecord | None:
    """The token of this id, or the valid one of this name."""
    if _ID.fullmatch(word) and word in tokens:
        return tokens[word]
    return next((t for t in tokens.values() if t.name == word and t.valid(now)), None)


def caller_of(record: TokenRecord, via: str) -> Caller:
    """Who asks with this token."""
    return Caller(record.name, record.mail, record.grants, via, record.id, record.expires)


def scopes(kinds: tuple[str, ...], names: tuple[str, ...], labels: tuple[str, ...], role: Role) -> Grant:
    """A grant from words of a command line.

    Raises:
        UsageError: A label is not ``key=value``.
    """
    pairs = [label.partition("=") for label in labels]
    wrong = [label for label, (key, equals, _) in zip(labels, pairs, strict=True) if not (key and equals)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: a label is key=value")
    return Grant(role, kinds, names, {key: value for key, _, value in pairs})


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _require_fit(wish: TokenWish) -> None:
    mistakes = [
        message
        for wrong, message in (
            (
                not _NAME.fullmatch(wish.name),
                f"the name {wish.name!r} does not fit: letters, digits and . _ @ + -, at most 63",
            ),
            (bool(wish.mail) and not _MAIL.fullmatch(wish.mail), f"{wish.mail!r} is no mail address"),
            (wish.ttl is not None and wish.ttl <= 0, "the ttl must be more than nothing"),
            (not wish.grants, "it needs a grant"),
            (_ID.fullmatch(wish.name) is not None, f"the name {wish.name!r} looks like a token's id"),
        )
        if wrong
    ]
    if mistakes:
        raise UsageError("; ".join(mistakes))
