"""The only reader of the environment, and the only place that knows where our own files lie."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")
"""Who decides about characters, in this order. See locale(7)."""

READS_INVENTORY = "RECONCILER_READS_INVENTORY"
"""Set for the Ansible that reads our hosts, so that our own inventory can refuse to ask for itself."""


def data_dir(name: str) -> Path:
    """Folder of shipped files: ``playbooks``, ``templates``, ``inventory`` or ``examples``.

    In a checkout they stand at the top of the tree; in a wheel they lie in ``reconciler/_data``.

    Raises:
        FileNotFoundError: The installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the shipped folder {name!r} is missing: reinstall reconciler")


def bin_dir() -> Path:
    """Folder of the running interpreter's scripts, where this installation's ansible-playbook is."""
    return Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Environment:
    """What we take from the environment.

    Attributes:
        config: ``RECONCILER_CONFIG``, path of the configuration file, or None.
        state_dir: ``RECONCILER_STATE_DIR``, else ``/var/lib/reconciler`` for root and
            ``$XDG_STATE_HOME/reconciler`` for others.
        notify_socket: ``NOTIFY_SOCKET`` of systemd, or None. See sd_notify(3).
        watchdog_usec: ``WATCHDOG_USEC`` of systemd, microseconds, or None. See sd_watchdog_enabled(3).
        no_color: ``NO_COLOR`` is set and not empty. See https://no-color.org.
        reads_inventory: We run below an Ansible that reads our own hosts: see `READS_INVENTORY`.
        server: ``RECONCILER_SERVER``, the API that commands ask instead of working here, or None.
        token: ``RECONCILER_TOKEN``, who we are there, or None.
        token_file: ``$XDG_CONFIG_HOME/reconciler/token``, where the token is otherwise.
    """

    config: Path | None
    state_dir: Path
    notify_socket: str | None
    watchdog_usec: int | None
    no_color: bool
    reads_inventory: bool = False
    server: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None


def environment() -> Environment:
    """Read the environment once."""
    config = os.environ.get("RECONCILER_CONFIG")
    watchdog = os.environ.get("WATCHDOG_USEC", "")
    return Environment(
        config=Path(config) if config else None,
        state_dir=_state_dir(),
        notify_socket=os.environ.get("NOTIFY_SOCKET") or None,
        watchdog_usec=int(watchdog) if watchdog.isdigit() else None,
        no_color=bool(os.environ.get("NO_COLOR")),
        reads_inventory=bool(os.environ.get(READS_INVENTORY)),
        server=os.environ.get("RECONCILER_SERVER") or None,
        token=os.environ.get("RECONCILER_TOKEN") or None,
        token_file=_config_home() / "reconciler" / "token",
    )


def environment_variable(name: str) -> str | None:
    """A variable that a manifest names as the place of a secret."""
    return os.environ.get(name)


def child_environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Our environment for a child process, with `changes`; None takes a variable away."""
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def utf8_locale() -> dict[str, str]:
    """What Ansible needs added to its environment: it refuses a locale whose encoding is not UTF-8."""
    deciding = next((value for name in _LOCALE if (value := os.environ.get(name))), "")
    return {} if re.search(r"utf-?8", deciding, re.IGNORECASE) else {"LC_ALL": "C.UTF-8"}


def _state_dir() -> Path:
    explicit = os.environ.get("RECONCILER_STATE_DIR")
    if explicit:
        return Path(explicit)
    if os.geteuid() == 0:
        return Path("/var/lib/reconciler")
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "reconciler"


def _config_home() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return Path(home) if home else Path.home() / ".config"
