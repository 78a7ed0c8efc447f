"""Whether something listens on a guest's tcp port, seen from the guest's host."""

from __future__ import annotations

import socket
import subprocess
import threading

from reconciler.observed.uri import Route, parse_uri

_SECONDS = 4.0
_OPENED = b"open confirm"
"""What ssh says (at -vv) when the other end has the connection; OpenSSH has said so since 2000."""


def listens(uri: str, address: str, port: int) -> bool:
    """True if something accepts a connection.

    Args:
        uri: The host's. Over ssh the host connects; else we do.
        address: Of the guest.
        port: Of the guest.
    """
    route = parse_uri(uri)
    return _from_host(route, address, port) if route.over_ssh else _from_here(address, port)


def _from_here(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_SECONDS):
            return True
    except OSError:
        return False


def _from_host(route: Route, address: str, port: int) -> bool:
    """Through the host's sshd: it needs no program there, and says whether the connection came about."""
    command = route.ssh_command(timeout=int(_SECONDS))
    at = command.index("--")
    target = f"[{address}]:{port}"
    with subprocess.Popen(
        [*command[:at], "-vv", "-W", target, *command[at:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as ssh:
        # The login may take as long as the connection to the guest.
        timer = threading.Timer(2 * _SECONDS, ssh.kill)
        timer.start()
        try:
            return any(_OPENED in line for line in ssh.stderr or ())
        finally:
            timer.cancel()
            ssh.kill()
