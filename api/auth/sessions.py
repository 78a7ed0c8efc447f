"""A browser's session: a secret in a cookie that scripts cannot read, and a word that only our pages know.

The cookie alone changes nothing: each unsafe request must repeat, in a header, a word that is derived from
the session's secret (a double submit that is bound to the session), and no foreign page can read that.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from api.auth.tokens import digest

SECURE_NAME = "__Host-reconciler"
"""Under TLS: browsers take a cookie of this name only from the host itself, over TLS, for all of it."""

PLAIN_NAME = "reconciler_session"

CSRF_HEADER = "X-CSRF-Token"

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def csrf_of(secret: str) -> str:
    """The word that goes with a session."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def csrf_fits(secret: str, given: str) -> bool:
    """True if that is the word; compared in constant time."""
    return hmac.compare_digest(csrf_of(secret).encode(), given.encode("utf-8", "replace"))


def secret_in(headers: Mapping[str, str], scheme: str) -> str:
    """The session's secret in a request's cookies; empty if there is none, or more than one says so.

    Over TLS only the name is believed that no neighbour (another port, a sub-domain) can set.
    """
    found: dict[str, list[str]] = {SECURE_NAME: [], PLAIN_NAME: []}
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name in found:
            found[name].append(value)
    values = found[SECURE_NAME] or (found[PLAIN_NAME] if scheme != "https" else [])
    return values[0] if len(values) == 1 and _SECRET.fullmatch(values[0]) else ""


def cookie(secret: str, *, secure: bool, seconds: int) -> str:
    """``Set-Cookie``; with no seconds the browser forgets it."""
    name = SECURE_NAME if secure else PLAIN_NAME
    flags = "; Secure" if secure else ""
    return f"{name}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flags}"


def key_of(secret: str) -> str:
    """By what the store knows a session."""
    return digest(secret)
