"""``--server``: the installation that a command is about is another machine's, behind its API."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from reconciler.errors import UsageError
from reconciler.settings import Environment

Command = TypeVar("Command", bound=Callable[..., Any])

_LOCAL = ("config", "source", "inventory", "state_dir")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API is, and how we show who we are.

    Attributes:
        url: ``https://host:port``.
        token_file: Holds the token, on a line of its own; None: see `token`.
        ca: PEM file of the authorities that the server's certificate is checked against; None: the system's.
        cert: PEM file with our certificate and its key.
    """

    url: str
    token_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None


def remotely(command: Command) -> Command:
    """Mark a command as one that works with ``--server``; it asks `App.remote`. Goes below `options`."""
    command.remotely = True  # type: ignore[attr-defined]
    return command


def server_options(command: Command) -> Command:
    """Add ``--server`` and what belongs to it."""
    file = click.Path(dir_okay=False, path_type=Path)
    added = (
        click.option("--cert", type=file, help="Our certificate and key (PEM), for --server."),
        click.option("--ca", type=file, help="Authorities (PEM) to check --server against."),
        click.option("--token-file", type=file, help="Holds the token [~/.config/reconciler/token]."),
        click.option("--server", metavar="URL", help="Ask the API of another installation instead."),
    )
    for add in added:
        command = add(command)
    return command


def chosen(
    name: str, command: Callable[..., Any], given: Mapping[str, Any], environment: Environment
) -> Server | None:
    """The server that a command shall ask, or None: it is about this machine's installation.

    Args:
        name: The command, for people.
        command: The command's function.
        given: Its options.
        environment: ``RECONCILER_SERVER`` counts where nothing local is named.

    Raises:
        UsageError: The command works only here, or both a server and something local is named.
    """
    local = [option for option in _LOCAL if given.get(option)]
    url = given.get("server")
    if url and local:
        named = ", ".join(f"--{option.replace('_', '-')}" for option in local)
        raise UsageError(f"--server is about another installation: leave {named} out")
    if url is None and not local:
        url = environment.server
    if not url:
        return None
    if not getattr(command, "remotely", False):
        raise UsageError(
            f"{name} works only on the machine of the installation itself: "
            "leave --server and RECONCILER_SERVER out"
        )
    return Server(url, given.get("token_file"), given.get("ca"), given.get("cert"))


def token(server: Server, environment: Environment) -> str | None:
    """The token that we show: the file that is named, ``RECONCILER_TOKEN``, or our own file if there is one.

    Raises:
        UsageError: The file cannot be read, or others can read it too.
    """
    path = server.token_file
    if path is None:
        if environment.token:
            return environment.token
        path = environment.token_file
        if path is None or not path.exists():
            return None
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the token in {path}: {error}") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"others can read the token in {path}", hint=f"chmod 600 {path}")
    if not text or not text.isascii() or any(c.isspace() for c in text):
        raise UsageError(f"{path} holds no token", hint="one line, as `reconciler token create` prints it")
    return text
