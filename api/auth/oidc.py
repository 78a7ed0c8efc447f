"""Bearer tokens of a configured issuer (OpenID Connect Discovery 1.0; JWT: RFC 7519, RFC 8725).

Only RS256 and ES256 are believed, each with a key of the issuer of just that type: a token cannot choose
``none``, nor have a public key taken for a secret (HS256).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from api.auth.loopback import is_loopback
from reconciler.errors import UnavailableError
from reconciler.model.access import Caller, Grant
from reconciler.model.api_config import OidcConfig

_log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
LEEWAY = 30
"""Seconds by which clocks may differ."""

KEYS_LAST = 3600.0
"""Seconds after which keys are asked for again; those the issuer took back end then at the latest."""

ASK_EVERY = 30.0
"""Seconds between two questions that an unknown key causes: strangers must not make us flood the issuer."""

_TIMEOUT = 5.0
_LARGEST = 1 << 20
_LONGEST = 16 << 10
_WELL_KNOWN = "/.well-known/openid-configuration"


class NotOursError(Exception):
    """The token is no valid one of this issuer; the reason is for the log."""


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str
    public: Any


@dataclass
class _Keys:
    found: Mapping[str, _Key] = field(default_factory=dict)
    asked: float = float("-inf")
    worked: float = float("-inf")
    asking: bool = False


class Issuer:
    """Whose tokens are believed. Safe from any thread.

    Args:
        config: Which issuer, and what its claims mean.
        monotonic: Seconds by a clock that nobody sets.
    """

    def __init__(self, config: OidcConfig, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys = _Keys()

    def caller(self, text: str) -> Caller:
        """Who asks with this token.

        Raises:
            NotOursError: It is no valid token of the issuer.
            UnavailableError: The issuer's keys cannot be had.
        """
        if len(text) > _LONGEST:
            raise NotOursError("it is too long")
        try:
            header = jwt.get_unverified_header(text)
        except (jwt.InvalidTokenError, ValueError) as error:
            raise NotOursError(str(error)) from error
        if header.get("alg") not in ALGORITHMS:
            raise NotOursError(f"its algorithm is {str(header.get('alg'))[:20]!r}")
        key = self._key(str(header.get("kid", "")), str(header["alg"]))
        try:
            claims = jwt.decode(
                text,
                key=key.public,
                algorithms=[key.algorithm],
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError) as error:
            raise NotOursError(f"{type(error).__name__}: {error}") from error
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        name = claims.get(self._config.name_claim)
        if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
            raise NotOursError(f"the claim {self._config.name_claim} is no name")
        held = _claim(claims, self._config.roles_claim)
        words = [held] if isinstance(held, str) else held if isinstance(held, list) else []
        roles = {self._config.roles[word] for word in words if word in self._config.roles}
        mail = claims.get("email") if claims.get("email_verified", True) is True else ""
        return Caller(
            name,
            mail=mail if isinstance(mail, str) else "",
            grants=tuple(Grant(role) for role in sorted(roles)),
            via="oidc",
            expires=float(claims["exp"]),
        )

    def _key(self, kid: str, algorithm: str) -> _Key:
        """The issuer's key of this id, for this algorithm.

        Raises:
            NotOursError: It has none.
            UnavailableError: It does not say.
        """
        now = self._monotonic()
        if self._should_ask(kid, now):
            self._ask(now)
        keys = self._keys
        found = keys.found.get(kid)
        known = found is not None and now - keys.worked <= 2 * KEYS_LAST
        if not known and (keys.asking or keys.worked < keys.asked):
            raise UnavailableError(
                f"the keys of {self._config.issuer} cannot be had now",
                hint="look at the log, and whether the issuer answers; our own tokens work meanwhile",
                retry_after=1.0 if keys.asking else ASK_EVERY,
            )
        if found is None or found.algorithm != algorithm:
            raise NotOursError("the issuer has no such key")
        return found

    def _should_ask(self, kid: str, now: float) -> bool:
        """True for one thread alone: an issuer that hangs must not hold the others, who have other work."""
        with self._lock:
            keys = self._keys
            wanted = kid not in keys.found or now - keys.worked > KEYS_LAST
            if keys.asking or not wanted or now - keys.asked <= ASK_EVERY:
                return False
            keys.asking, keys.asked = True, now
            return True

    def _ask(self, now: float) -> None:
        try:
            self._keys.found = self._fetch()
            self._keys.worked = now
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("the keys of %s cannot be had: %s", self._config.issuer, error)
        finally:
            self._keys.asking = False

    def _fetch(self) -> dict[str, _Key]:
        issuer = self._config.issuer
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client:
            about = _json(client, issuer.rstrip("/") + _WELL_KNOWN)
            if about["issuer"] != issuer:
                raise ValueError(
                    f"its discovery document is of another issuer, {str(about['issuer'])[:200]!r}"
                )
            place = str(about["jwks_uri"])
            require_private(place)
            listed = _json(client, place)["keys"]
        return dict(filter(None, map(_usable, listed)))


def require_private(url: str) -> None:
    """Keys that come over plain HTTP are anybody's keys.

    Raises:
        ValueError: It is neither https nor of this machine.
    """
    found = urlsplit(url)
    if found.scheme != "https" and not (found.scheme == "http" and is_loopback(found.hostname or "")):
        raise ValueError(f"{url[:200]} is not https")


def _json(client: httpx.Client, url: str) -> Any:
    with client.stream("GET", url) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answers {answer.status_code}")
        held = b""
        for chunk in answer.iter_bytes():
            held += chunk
            if len(held) > _LARGEST:
                raise ValueError(f"{url} says too much")
    return httpx.Response(200, content=held).json()


def _usable(listed: Mapping[str, Any]) -> tuple[str, _Key] | None:
    """A key that signs, by its id; None for one of another kind."""
    algorithm = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256"}.get(
        (str(listed.get("kty")), str(listed.get("crv", "")))
    )
    if algorithm is None or listed.get("use", "sig") != "sig" or listed.get("alg", algorithm) != algorithm:
        return None
    try:
        return str(listed.get("kid", "")), _Key(algorithm, jwt.PyJWK(dict(listed), algorithm).key)
    except jwt.PyJWTError:
        return None


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by its path: ``realm_access.roles``."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for word in path.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    return found
