"""Client certificates: whom one names, and what they may do.

The TLS layer has checked the chain, the dates and the purpose when the connection began (`api.tls`); a
connection may outlive the certificate, so its end is looked at again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from reconciler.model.access import Caller, Grant, Role


def caller_of(scope: Any, certificates: Mapping[str, Role], now: float) -> Caller | None:
    """Who asks, by the verified certificate of the connection; None if there is none, or nobody's we know."""
    chain = ((scope.get("extensions") or {}).get("tls") or {}).get("client_cert_chain") or ()
    pem = next(iter(chain), None)
    if pem is None:
        return None
    name, expires = _read(pem)
    role = certificates.get(name) if name else None
    if role is None or now >= expires:
        return None
    return Caller(name, grants=(Grant(role),), via="certificate", expires=expires)


@functools.lru_cache(maxsize=1000)
def _read(pem: str) -> tuple[str, float]:
    """The subject's common name, if it has just one, and when the certificate ends."""
    found = x509.load_pem_x509_certificate(pem.encode())
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if len(names) == 1 else ""
    return name, found.not_valid_after_utc.timestamp()
