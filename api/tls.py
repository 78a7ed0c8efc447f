"""TLS: the server's context, and the verified client certificate on its way to the app.

uvicorn tells an app nothing of the connection's TLS.  `PeerCertificate` adds what the ASGI specification's
TLS extension calls for (``scope["extensions"]["tls"]``), with ``client_cert_chain`` only where OpenSSL has
verified the certificate against `TlsConfig.client_ca`: chain, dates, and that it is meant for clients.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.errors import UsageError
from reconciler.model.api_config import TlsConfig


def server_context(config: TlsConfig, base: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with Python's choice of ciphers.

    The certificate's file is looked at in each handshake: the next one after a renewal has the new one.

    Args:
        config: Which files.
        base: Where relative paths start.

    Raises:
        UsageError: A file cannot be read, or is none of that.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    certificate = _Certificate(base / config.certificate, base / config.key if config.key else None)
    _load(certificate.load, context, "the certificate", certificate.place)
    context.sni_callback = certificate.renew
    if config.client_ca is not None:
        place = base / config.client_ca
        _load(lambda known: known.load_verify_locations(place), context, "the client authorities", place)
        # Who has none may come with a token; who has a wrong one does not come in.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class _Certificate:
    """The server's own certificate, as it stands in its files."""

    def __init__(self, place: Path, key: Path | None) -> None:
        self.place = place
        self._key = key
        self._seen: tuple[int, ...] = ()

    def load(self, context: ssl.SSLContext) -> None:
        seen = self._times()
        context.load_cert_chain(self.place, self._key)
        self._seen = seen

    def renew(self, _connection: object, _name: str | None, context: ssl.SSLContext) -> None:
        """Take a newer one; half of a renewal (a key that does not fit yet) leaves the old one in place."""
        try:
            if self._times() != self._seen:
                self._probe()
                self.load(context)
        except (OSError, ssl.SSLError):
            return

    def _probe(self) -> None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.place, self._key)

    def _times(self) -> tuple[int, ...]:
        return tuple(one.stat().st_mtime_ns for one in (self.place, self._key) if one is not None)


def _load(load: Any, context: ssl.SSLContext, what: str, place: Path) -> None:
    try:
        load(context)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{what} {place} cannot be used: {why}", hint="see api.tls in reconciler.yaml"
        ) from error


class PeerCertificate(H11Protocol):
    """uvicorn's protocol, telling the app about TLS."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is over."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _telling(self.app, _extension(connection))


def _extension(connection: ssl.SSLObject) -> dict[str, Any]:
    """The TLS extension of ASGI 3.0."""
    # Without CERT_OPTIONAL none is asked for; with it, one that is there has been verified.
    certificate = connection.getpeercert(binary_form=True) if connection.context.verify_mode else None
    return {
        "server_cert": None,
        "client_cert_chain": (ssl.DER_cert_to_PEM_cert(certificate),) if certificate else (),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(connection.version() or ""),
        "cipher_suite": None,
    }


def _telling(app: Any, tls: dict[str, Any]) -> Any:
    async def told(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {**(scope.get("extensions") or {}), "tls": tls}
        await app(scope, receive, send)

    return told
