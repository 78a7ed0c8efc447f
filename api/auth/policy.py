"""What must hold before anything is served: nobody reaches it unasked, and nobody listens on the way."""

from __future__ import annotations

import socket

from api.auth.loopback import is_loopback
from api.auth.oidc import require_private
from reconciler.errors import UsageError
from reconciler.model.api_config import ApiConfig
from reconciler.service.metrics import parse_address


def check_start(config: ApiConfig, listen: str) -> tuple[str, ...]:
    """Refuse to serve what is not safe there.

    Args:
        config: The ``api`` part of the configuration.
        listen: ``address:port`` that is about to be listened on.

    Returns:
        Warnings, a sentence each.

    Raises:
        UsageError: With every reason why not.
    """
    local = _is_local(parse_address(listen, "serve the API on")[0])
    reasons = [
        reason
        for wrong, reason in (
            (
                config.anonymous and not local,
                f"api.anonymous lets everybody in as an admin, and {listen} can be reached from elsewhere",
            ),
            (
                not local and config.tls is None and not config.insecure_http,
                f"{listen} can be reached from elsewhere, and without TLS all on the way read the tokens",
            ),
            (
                bool(config.certificates) and (config.tls is None or config.tls.client_ca is None),
                "api.certificates needs api.tls.clientCa: nobody would check the certificates",
            ),
            (config.oidc is not None and not _private(config), "api.oidc.issuer must be https"),
        )
        if wrong
    ]
    if reasons:
        raise UsageError(
            "the API is not served: " + "; ".join(reasons),
            hint="set api.tls, or listen on 127.0.0.1; where something in front does TLS: api.insecureHttp",
        )
    if not local and config.tls is None:
        return (f"plain HTTP on {listen}: whoever listens on that network reads tokens and answers",)
    return ()


def _is_local(host: str) -> bool:
    """True if all of the addresses of a name never leave the machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_loopback(str(place[0])) for *_, place in found)


def _private(config: ApiConfig) -> bool:
    try:
        require_private(config.oidc.issuer if config.oidc is not None else "")
    except ValueError:
        return False
    return True
