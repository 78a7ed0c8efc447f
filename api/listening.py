"""The sockets that the server listens on."""

from __future__ import annotations

import socket

from reconciler.errors import UsageError
from reconciler.service.metrics import parse_address

BACKLOG = 2048
"""Connections that wait to be taken."""

UNREAD_FOR = 60_000
"""Milliseconds for which a peer may take nothing of what was sent (TCP_USER_TIMEOUT); then it is cut off."""


def listen(address: str, *, reuse_port: bool = False) -> tuple[socket.socket, ...]:
    """Listen on every address of ``host:port``.

    Args:
        address: ``host:port``, ``[ipv6]:port`` or ``:port`` (this machine only); port 0 takes a free one.
        reuse_port: Let several processes share it, each with a socket of its own (SO_REUSEPORT).

    Raises:
        UsageError: It is malformed, or cannot be listened on.
    """
    host, port = parse_address(address, "serve the API on")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _refused(address, error) from error
    opened: list[socket.socket] = []
    try:
        for family, place in dict.fromkeys((one[0], one[4]) for one in found):
            # A free port of the first address is taken for the others too.
            chosen = opened[0].getsockname()[1] if opened else port
            opened.append(_open(family, (place[0], chosen, *place[2:]), reuse_port=reuse_port))
    except OSError as error:
        for one in opened:
            one.close()
        raise _refused(address, error) from error
    return tuple(opened)


def _open(family: int, place: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off: else each answer waits 40 ms for an ACK.
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Accepted sockets inherit both.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_FOR)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _refused(address: str, error: OSError) -> UsageError:
    return UsageError(
        f"the API cannot be served on {address}: {error.strerror or error}",
        hint="set api.listen in reconciler.yaml to an address of this machine and a free port; "
        "with api.reusePort several processes share one",
    )
