"""Other sites' pages: they must not use what a browser sends by itself.

A browser adds cookies, HTTP Basic, client certificates, and being on this machine, to whatever any page asks
for: a form, an image, ``<script src="https://us/vm/create?…&jsonp_callback=x">``.  So a request that changes
something, or whose answer is a script that any page could run, must show that it comes from our own pages or
from no page at all.  A bearer token is none of these: a page must know it to send it.

Browsers tell in ``Sec-Fetch-Site`` (over TLS and on this machine), ``Origin`` (methods but GET) and
``Referer`` (unless the page forbids it).  No page can set or fake one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from reconciler.errors import ForbiddenError

AMBIENT = frozenset({"session", "basic", "certificate", "loopback", ""})
"""Ways to prove oneself that a browser adds by itself."""

_PORTS = {"http": "80", "https": "443"}


class ForgedError(ForbiddenError):
    """A request that a page of another site may have made."""

    reason = "CrossSite"


def require_own_page(
    headers: Mapping[str, str], scheme: str, via: str, allowed: Collection[str] = (), *, known: bool = False
) -> None:
    """Refuse what a page of another site may have made.

    Args:
        headers: Of the request, lower-case names.
        scheme: ``http`` or ``https``.
        via: How the caller proved it; see `AMBIENT`.
        allowed: Origins of other sites that may.
        known: The request has a header that no foreign page can set (the CSRF word): enough where the browser
            tells nothing else.

    Raises:
        ForgedError: It may.
    """
    site, origin = headers.get("sec-fetch-site"), origin_of(headers)
    if origin is not None and origin in allowed:
        return
    if site is not None:
        # "none" is an address that somebody typed, but also a link in a mail that somebody clicked.
        if site != "same-origin":
            raise _forged(f"the browser says that it is {site[:20]}")
        return
    if origin is not None:
        if not _is_ours(origin, headers.get("host", ""), scheme):
            raise _forged(f"it comes from {origin[:200]}")
        return
    if known:
        return
    # Neither: no browser, or a page that hides where it is. Only a session is surely a browser's.
    if via == "session" or headers.get("user-agent", "").startswith("Mozilla/"):
        raise _forged("it does not say which page it comes from")


def own_scheme(headers: Mapping[str, str], scheme: str) -> str:
    """How the browser reaches us: https also where something in front of us does TLS, as its Origin tells."""
    origin = headers.get("origin", "")
    if origin.startswith("https://") and _is_ours(origin, headers.get("host", ""), scheme):
        return "https"
    return scheme


def origin_of(headers: Mapping[str, str]) -> str | None:
    """Which site's page it is, as the browser tells; None if it does not."""
    if "origin" in headers:
        return headers["origin"]
    if "referer" not in headers:
        return None
    scheme, netloc = _split(headers["referer"])
    return f"{scheme}://{netloc}"


def _is_ours(origin: str, host: str, scheme: str) -> bool:
    browsers, netloc = _split(origin)
    if browsers not in _PORTS or (scheme == "https" and browsers != "https"):
        return False
    # Where something in front does TLS, the browser's scheme is not ours; the port goes with the browser's.
    return bool(host) and _with_port(netloc, browsers) == _with_port(host, browsers)


def _split(url: str) -> tuple[str, str]:
    """Scheme and ``host:port``; empty where it is no URL."""
    try:
        found = urlsplit(url)
    except ValueError:
        return "", ""
    return found.scheme, found.netloc.rpartition("@")[2]


def _with_port(netloc: str, scheme: str) -> str:
    netloc = netloc.lower()
    return netloc if netloc.rpartition("]")[2].count(":") else f"{netloc}:{_PORTS[scheme]}"


def _forged(why: str) -> ForgedError:
    return ForgedError(
        f"a page of another site may have made this request: {why}",
        hint="send the token as 'Authorization: Bearer', or name the page's origin in api.origins",
    )
