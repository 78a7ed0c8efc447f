"""Who asks: tries the ways in turn, and counts what fails.

1. ``Authorization: Bearer``: one of our tokens, or one of the OIDC issuer.  2. ``Authorization: Basic``: name
or id of a token, and the token as password.  3. The session cookie.  4. The verified client certificate.
5. The loopback address, where the configuration lets everybody there in.

A credential that is given and wrong ends it: there is no other way in after that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from api.auth import certificates, sessions, tokens
from api.auth.limiter import Limiter, source_key
from api.auth.loopback import is_local, peer
from api.auth.oidc import Issuer, NotOursError
from reconciler.errors import ReconcilerError, UnauthenticatedError
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.store.base import Store
from reconciler.store.base_access import USE_NOTED_EVERY, SessionRecord, TokenRecord

T = TypeVar("T")

_log = logging.getLogger(__name__)

PROVEN_KEPT = 10_000
PROVEN_FOR = 3600.0
"""Seconds for which a credential that was right is known here: guessing by others does not shut it out."""

ANYBODY_LOCAL = Caller("anonymous", grants=(Grant(Role.ADMIN),), via="loopback")


class Gate:
    """Finds out who asks. Safe from any thread.

    Args:
        store: Where tokens and sessions are.
        config: The ``api`` part of the configuration.
        clock: Epoch seconds.
    """

    def __init__(self, store: Store, config: ApiConfig, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._issuer = Issuer(config.oidc) if config.oidc is not None else None
        self._limiter = Limiter()
        self._proven = _Proven()
        self._noted: dict[str, float] = {}

    def authenticate(self, headers: Mapping[str, str], scope: Any) -> Caller:
        """Who asks.

        Raises:
            UnauthenticatedError: Nobody knows, or the credential is wrong.
            ThrottledError: Too many wrong ones came from there.
            UnavailableError: The OIDC issuer does not say.
        """
        said = headers.get("authorization")
        if said is not None:
            scheme, _, text = said.strip().partition(" ")
            if scheme.lower() == "bearer":
                return self._bearer(text.strip(), scope)
            if scheme.lower() == "basic":
                user, password = _basic(text.strip())
                return tokens.caller_of(self._token(password, scope, user), "basic")
            raise _nobody()
        return (
            self._session(headers, scope)
            or certificates.caller_of(scope, self._config.certificates, self._clock())
            or self._local(headers, scope)
        )

    def begin_session(self, text: str, scope: Any) -> tuple[str, SessionRecord, Caller]:
        """Begin a browser's session with a token; the cookie's secret, its record, and whose it is.

        Raises:
            UnauthenticatedError: The token is wrong.
            ThrottledError: Too many wrong ones came from there.
        """
        record = self._token(text, scope)
        now = self._clock()
        secret = sessions.new_secret()
        ends = min(now + float(self._config.session), record.expires or float("inf"))
        session = SessionRecord(sessions.key_of(secret), record.id, now, ends)
        self._store.add_session(session)
        return secret, session, tokens.caller_of(record, "session")

    def end_session(self, headers: Mapping[str, str], scope: Any) -> None:
        """End the session of this request, if it has one."""
        secret = sessions.secret_in(headers, scope.get("scheme", "http"))
        if secret:
            self._store.end_session(sessions.key_of(secret))

    def _bearer(self, text: str, scope: Any) -> Caller:
        if self._issuer is None or text.startswith(tokens.PREFIX):
            return tokens.caller_of(self._token(text, scope), "token")
        with self._guarded(scope, text) as attempt:
            try:
                return attempt.right(self._issuer.caller(text))
            except NotOursError as error:
                _log.info("a bearer token was refused: %s", error)
                raise attempt.wrong() from error

    def _token(self, text: str, scope: Any, user: str | None = None) -> TokenRecord:
        with self._guarded(scope, text, tokens.id_of(text)) as attempt:
            record = tokens.verify(self._store, text, self._clock(), user)
            if record is None:
                raise attempt.wrong()
        self._note_use(record, peer(scope))
        return attempt.right(record)

    def _session(self, headers: Mapping[str, str], scope: Any) -> Caller | None:
        secret = sessions.secret_in(headers, scope.get("scheme", "http"))
        if not secret:
            return None
        # A browser keeps asking with a cookie that is over: it is counted, and shuts nobody out but cookies.
        key = f"cookie {source_key(peer(scope))}"
        now = self._clock()
        found = self._store.session(sessions.key_of(secret))
        record = self._store.tokens().get(found.token) if found is not None else None
        if found is None or now >= found.expires or record is None or not record.valid(now):
            self._limiter.check(key, now)
            self._limiter.fail(key, now)
            return None
        self._note_use(record, peer(scope))
        return tokens.caller_of(record, "session")

    def _local(self, headers: Mapping[str, str], scope: Any) -> Caller:
        if self._config.anonymous and is_local(headers, scope):
            return ANYBODY_LOCAL
        raise _nobody()

    def _guarded(self, scope: Any, text: str, aim: str = "") -> _Attempt:
        keys = [f"from {source_key(peer(scope))}", *([f"token {aim}"] if aim else [])]
        return _Attempt(self._limiter, self._proven, keys, text, self._clock())

    def _note_use(self, record: TokenRecord, source: str) -> None:
        now = self._clock()
        if now - self._noted.get(record.id, float("-inf")) < USE_NOTED_EVERY:
            return
        self._noted[record.id] = now
        with suppress(ReconcilerError):  # a busy store keeps nobody out
            self._store.note_token_use(record.id, now, source)


class _Attempt:
    """One try with a credential: refused beforehand where too many failed, and counted if it fails."""

    def __init__(self, limiter: Limiter, proven: _Proven, keys: list[str], text: str, now: float) -> None:
        self._limiter = limiter
        self._proven = proven
        self._keys = keys
        self._digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        self._now = now

    def __enter__(self) -> _Attempt:
        if not self._proven.has(self._digest, self._now):
            for key in self._keys:
                self._limiter.check(key, self._now)
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def wrong(self) -> UnauthenticatedError:
        """It failed."""
        self._proven.drop(self._digest)
        for key in self._keys:
            self._limiter.fail(key, self._now)
        return _nobody()

    def right(self, found: T) -> T:
        """It is right."""
        self._proven.add(self._digest, self._now)
        return found


class _Proven:
    """Digests of credentials that were right a while ago; whether they still are is asked each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, float] = OrderedDict()

    def has(self, digest: bytes, now: float) -> bool:
        with self._lock:
            return now - self._known.get(digest, float("-inf")) < PROVEN_FOR

    def add(self, digest: bytes, now: float) -> None:
        with self._lock:
            self._known[digest] = now
            self._known.move_to_end(digest)
            while len(self._known) > PROVEN_KEPT:
                self._known.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        with self._lock:
            self._known.pop(digest, None)


def _basic(text: str) -> tuple[str, str]:
    """User and password (RFC 7617); what is none of that is a wrong one."""
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


def _nobody() -> UnauthenticatedError:
    return UnauthenticatedError(
        "nobody knows who asks",
        hint="send a valid token as 'Authorization: Bearer'; see: reconciler token create",
    )
