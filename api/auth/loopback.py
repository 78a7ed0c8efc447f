"""Whether a request comes from this machine, and means it.

A name of somebody else's that resolves to 127.0.0.1 (DNS rebinding) lets a foreign page read from here as if
it were its own; the Host header tells. A proxy on this machine makes everybody look local; its headers tell,
if it sends any, which is why they are believed only to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and addresses that never leave the machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def peer(scope: Any) -> str:
    """Address of the other end of the connection; empty if it is none of the network."""
    client = scope.get("client")
    if client is not None and not isinstance(client, (tuple, list)):
        # ASGI says iterable, and it may be one that is read but once.
        client = scope["client"] = tuple(client)
    return str(client[0]) if client else ""


def host_of(netloc: str) -> str:
    """The host in ``host:port``."""
    if netloc.startswith("["):
        return netloc.partition("]")[0] + "]"
    return netloc.rpartition(":")[0] if ":" in netloc else netloc


def is_local(headers: Mapping[str, str], scope: Any) -> bool:
    """True if the connection, and the name by which the client calls us, are of this machine."""
    return (
        is_loopback(peer(scope))
        and is_loopback(host_of(headers.get("host", "")))
        and not any(name in headers for name in _OF_PROXIES)
    )
