"""Ansible's connection variables -> a libvirt URI, so that a host is described once.

libvirt's ssh transport starts the ssh program itself and passes it user, port, key and host.  Everything
else that Ansible would pass (a jump host, a known_hosts file) goes into a small script that stands in for
ssh and is named by the URI's ``command``.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

DEFAULT_SSH = "ssh"

# Where Ansible knows two names of one thing, the later wins, as in its ssh plugin.
_ALIASES = {
    "host": ("ansible_host", "ansible_ssh_host"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "key": ("ansible_private_key_file", "ansible_ssh_private_key_file"),
    "checking": ("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
    "executable": ("ansible_ssh_executable",),
    "connection": ("ansible_connection",),
}
# libvirt starts ssh without any limit of time: a host whose power went away in the middle of the handshake
# would hold a thread for hours. The first value of an option wins in ssh, so the operator's own come before.
_PATIENCE = ["-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")

CONNECTION_VARIABLES = frozenset(_ARGUMENTS).union(*_ALIASES.values())
"""The variables of Ansible that a URI is made of."""

_DRIVERS = {"lxc": ("lxc", "")}
_QEMU = ("qemu", "system")
_NO_CHECK = ["-o", "StrictHostKeyChecking=no"]


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A script that stands in for ssh."""

    path: Path
    text: str

    def write(self) -> None:
        """Put the script in place, for its owner only; what is there already is left alone.

        Raises:
            OSError: It cannot be written.
        """
        if self.path.exists() and self.path.read_text() == self.text:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(self.text)
        fresh.chmod(0o700)
        fresh.replace(self.path)


def make_uri(
    name: str, variables: Mapping[str, object], virt_type: str | None, state_dir: Path
) -> tuple[str, Wrapper | None]:
    """The libvirt URI of a host, and the script that it needs, if any.

    Args:
        name: Inventory name: the address, unless Ansible knows another.
        variables: The host's variables.
        virt_type: ``reconciler_virt_type``: lxc has another driver.
        state_dir: Where scripts are kept.

    Raises:
        ValueError: The connection cannot be made into a URI; the message names the variable.
    """
    driver, path = _DRIVERS.get(virt_type or "", _QEMU)
    connection = _variable(variables, "connection") or "ssh"
    if connection in ("local", "ansible.builtin.local"):
        return f"{driver}:///{path}", None
    if connection.removeprefix("ansible.builtin.") not in ("ssh", "smart", "paramiko", "paramiko_ssh"):
        raise ValueError(
            f"ansible_connection: no libvirt URI follows from {connection!r}; set reconciler_uri"
        )
    parameters = {"no_tty": "1"}
    key = _variable(variables, "key")
    if key:
        parameters["keyfile"] = _key_file(key)
    ssh, arguments = _variable(variables, "executable") or DEFAULT_SSH, _arguments(variables)
    wrapper = None
    if ssh == DEFAULT_SSH and arguments in ([], _NO_CHECK):
        if arguments:
            parameters["no_verify"] = "1"
    else:
        wrapper = _wrapper(name, [ssh, *arguments], state_dir)
        parameters["command"] = str(wrapper.path)
    query = "&".join(f"{word}={quote(value, safe='/')}" for word, value in sorted(parameters.items()))
    return f"{driver}+ssh://{_authority(name, variables)}/{path}?{query}", wrapper


def _authority(name: str, variables: Mapping[str, object]) -> str:
    """``user@host:port``, each part encoded; an IPv6 address in brackets."""
    host = _variable(variables, "host") or name
    host = host.removeprefix("[").removesuffix("]")
    shown = f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")
    user = _variable(variables, "user")
    port = _variable(variables, "port")
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"ansible_port: {port!r} is not a port")
    return (f"{quote(user, safe='')}@" if user else "") + shown + (f":{port}" if port else "")


def _variable(variables: Mapping[str, object], word: str) -> str | None:
    for alias in reversed(_ALIASES[word]):
        value = variables.get(alias)
        if value is not None and value != "":
            return str(value)
    return None


def _key_file(key: str) -> str:
    path = Path(key).expanduser()
    if not path.is_absolute():
        raise ValueError(
            f"ansible_ssh_private_key_file: write an absolute path, or one that begins with ~/, not {key!r}"
        )
    return str(path)


def _arguments(variables: Mapping[str, object]) -> list[str]:
    """What Ansible passes to ssh besides user, port and key, one option a word.

    Connection sharing is left out: it serves Ansible's many short calls, and a libvirt connection must
    not end with a master that is somebody else's.
    """
    arguments: list[str] = []
    for name in _ARGUMENTS:
        try:
            words = shlex.split(str(variables.get(name) or ""))
        except ValueError as error:
            raise ValueError(f"{name}: {error} in {variables[name]!r}") from error
        arguments += words
    arguments = _without_sharing(arguments)
    checking = _variable(variables, "checking")
    if checking is not None and checking.lower() in ("false", "no", "0", "off"):
        arguments = [*_NO_CHECK, *(arguments if arguments != _NO_CHECK else [])]
    return arguments


def _without_sharing(words: list[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-o"):
            option = word[2:] or next(rest, "")
            if not re.match(r"\s*control(master|path|persist)\b", option, re.IGNORECASE):
                kept += ["-o", option]
        else:
            kept.append(word)
    return kept


def _wrapper(name: str, command: list[str], state_dir: Path) -> Wrapper:
    about = f"# Stands in for ssh towards {quote(name)}: libvirt adds user, port, key and host."
    text = f'#!/bin/sh\n{about}\nexec {shlex.join([*command, *_PATIENCE])} "$@"\n'
    # The digest lets two inventories that know the host differently share a state folder.
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Wrapper(state_dir.absolute() / "ssh" / f"ssh-{quote(name, safe='')}-{digest}", text)
