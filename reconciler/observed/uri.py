"""libvirt URIs: how we open them, and what they say about the way to the host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

_SSH_WRAPPER = Path(__file__).with_name("ssh-with-deadline")
_PORTS = {"ssh": 22, "libssh": 22, "libssh2": 22, "tls": 16514, "tcp": 16509, "": 16514}


@dataclass(frozen=True, slots=True)
class Route:
    """The parts of a libvirt URI.

    Attributes:
        driver: ``qemu``, ``lxc``, ``test`` …
        transport: ``ssh``, ``tls``, ``tcp``, ``unix`` …; empty when the URI names none.
        host: Host name or address; empty for this machine.
        port: TCP port, the transport's default included; None for this machine.
        user: Login user, or None.
        params: Query parameters such as ``keyfile`` and ``no_verify``.
    """

    driver: str
    transport: str
    host: str
    port: int | None
    user: str | None
    params: dict[str, str]

    @property
    def local(self) -> bool:
        """The URI leads to this machine without a network."""
        return not self.host or self.transport == "unix"

    @property
    def over_ssh(self) -> bool:
        """Ssh carries it, by whichever implementation."""
        return not self.local and self.transport in ("ssh", "libssh", "libssh2")

    def ssh_command(self, *remote: str, timeout: int = 10) -> list[str]:
        """The ssh command line that matches what libvirt would run, never asking anything.

        Args:
            *remote: Command for the host.
            timeout: Seconds until the connection has to stand.
        """
        command = [self.params.get("command", "ssh"), "-T", "-o", "BatchMode=yes"]
        command += ["-o", f"ConnectTimeout={timeout}"]
        if "no_verify" in self.params and self.params["no_verify"] != "0":
            command += ["-o", "StrictHostKeyChecking=no"]
        if "keyfile" in self.params:
            command += ["-i", self.params["keyfile"]]
        if self.user:
            command += ["-l", self.user]
        if self.port not in (None, 22):
            command += ["-p", str(self.port)]
        return [*command, "--", self.host, *remote]


def parse_uri(uri: str) -> Route:
    """Take a libvirt URI apart.

    Raises:
        ValueError: The port is no number.
    """
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    host = unquote(parts.hostname or "")
    port = parts.port if parts.port is not None else _PORTS.get(transport)
    return Route(
        driver=driver,
        transport=transport,
        host=host,
        port=port if host else None,
        user=unquote(parts.username) if parts.username else None,
        params=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )


def openable(uri: str) -> str:
    """The URI as we hand it to libvirt: ssh never asks on a terminal, and gives up in the end."""
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh"):
        return uri
    given = {pair.partition("=")[0] for pair in parts.query.split("&") if pair}
    extra = [] if "no_tty" in given else ["no_tty=1"]
    if "command" not in given and os.access(_SSH_WRAPPER, os.X_OK):
        extra.append("command=" + quote(str(_SSH_WRAPPER)))
    query = "&".join([part for part in (parts.query, *extra) if part])
    return urlunsplit(parts._replace(query=query))
