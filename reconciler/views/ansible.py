"""Machines as Ansible hosts: names, groups, variables, in the shape of Ansible's inventory scripts.

What people wrote into manifests, and what guests say of themselves, is data here.  Ansible takes the text of
an inventory script for templates, so that a label ``{{ lookup('pipe', …) }}`` would be a command on the
controller.  Every text that could be a template is therefore marked as unsafe, in the words that Ansible has
for it, and where no mark can stand (names, keys) such text is encoded or left out.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import quote

from reconciler.model.domain import AddressSource, GuestAddress, ObservedDomain
from reconciler.model.manifest import VirtualMachine

ALL: Final = "reconciler_machines"
"""The group that every machine is in."""

NO_ADDRESS: Final = "no-address.invalid"
"""Where a machine is said to be whose address nobody knows: a name that never leads anywhere (RFC 6761).

Without it Ansible would connect to the machine's name, whatever that is the name of.
"""

UNSAFE: Final = "__ansible_unsafe"

# The variables that a manifest may set. None of them can make Ansible run something on the controller, as
# ansible_connection, ansible_ssh_common_args and others can.
_FROM_ANNOTATIONS: Final[Mapping[str, re.Pattern[str]]] = {
    "user": re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}"),
    "port": re.compile(r"[1-9][0-9]{0,4}"),
    "python_interpreter": re.compile(r"/[A-Za-z0-9_./-]{1,200}|auto(_silent|_legacy)?"),
}
_PREFIX = "ansible/"
_RANKS = {source: rank for rank, source in enumerate(AddressSource)}


@dataclass(frozen=True, slots=True)
class Guest:
    """A machine that Ansible shall know.

    Attributes:
        vm: Its manifest.
        host: The inventory name of the libvirt host that carries it.
        uid: The machine's uid.
        domain: Its domain, or None: the host does not answer.
        addresses: What is known of its addresses.
    """

    vm: VirtualMachine
    host: str
    uid: str
    domain: ObservedDomain | None
    addresses: tuple[GuestAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What Ansible is told, and what a person should know about it.

    Attributes:
        listing: The answer to ``--list``.
        notes: Sentences.
    """

    listing: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def host(self, name: str) -> Mapping[str, Any] | None:
        """The answer to ``--host``, or None: there is none of this name."""
        found: Mapping[str, Any] | None = self.listing["_meta"]["hostvars"].get(name)
        return found


Jump = Callable[[Guest, GuestAddress], Sequence[str] | None]
"""The ssh command that leads to a guest's host if the guest is only reachable from there."""


def view(guests: Iterable[Guest], jump: Jump) -> View:
    """Machines, groups and variables.

    Args:
        guests: The machines.
        jump: Who has to be reached through which ssh command.
    """
    variables: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {ALL: []}
    meanings: dict[str, set[str]] = {}
    notes: list[str] = []
    for guest in sorted(guests, key=lambda each: each.vm.name):
        name = host_name(guest.vm.name)
        variables[name] = _marked(_variables(guest, jump))
        notes += _notes(guest)
        groups[ALL].append(name)
        for group, meaning in _groups(guest):
            meanings.setdefault(group, set()).add(meaning)
            if name not in groups.setdefault(group, []):
                groups[group].append(name)
    notes += [
        f"the group {group} holds what is not the same: {', '.join(sorted(each))}"
        for group, each in sorted(meanings.items())
        if len(each) > 1
    ]
    listing: dict[str, Any] = {group: {"hosts": hosts} for group, hosts in sorted(groups.items())}
    return View({"_meta": {"hostvars": variables}, **listing}, tuple(notes))


def host_name(machine: str) -> str:
    """What Ansible calls a machine: its name, with whatever could be a pattern or template encoded.

    ``web-1`` stays ``web-1``; ``my machine`` is ``my%20machine``.
    """
    return quote(machine, safe="").replace("~", "%7E")


def group_name(*words: str) -> str:
    """A name that Ansible takes for a group: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", "_".join(words))


def addresses_of(guest: Guest) -> tuple[GuestAddress, ...]:
    """Addresses of a guest that lead somewhere, the best first.

    The first interface before the second, what the guest or a lease says before what is only reserved, IPv4
    before IPv6.  What a guest says of interfaces that its domain does not have (bridges of its containers)
    does not count.
    """
    if guest.domain is None:
        return ()
    config = guest.domain.live or guest.domain.config
    places = {nic.mac: place for place, nic in enumerate(config.interfaces or ())}
    found: list[tuple[tuple[int, int, int, str], GuestAddress]] = []
    for each in guest.addresses:
        version = _version(each.address)
        if version and each.mac in places:
            found.append(((places[each.mac], _RANKS[each.source], version, each.address), each))
    return tuple(address for _, address in sorted(found, key=lambda pair: pair[0]))


def proxy_arguments(command: Sequence[str]) -> str:
    """The arguments with which ssh goes through another ssh, as ``ansible_ssh_common_args`` has them.

    A ``ProxyJump`` would be shorter, but takes neither the key nor the options that lead to the host.
    """
    # ssh replaces %-words before it gives the command to a shell.
    words = [shlex.quote(word).replace("%", "%%") for word in command]
    at = words.index("--")
    line = " ".join([*words[:at], "-W", "'[%h]:%p'", *words[at:]])
    return f"-o {shlex.quote(f'ProxyCommand={line}')}"


def _version(address: str) -> int:
    """4 or 6, or 0 for what leads nowhere from outside."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return 0
    nowhere = parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
    return 0 if nowhere else parsed.version


def _variables(guest: Guest, jump: Jump) -> dict[str, Any]:
    addresses = addresses_of(guest)
    variables: dict[str, Any] = {"ansible_host": addresses[0].address if addresses else NO_ADDRESS}
    command = jump(guest, addresses[0]) if addresses else None
    if command:
        variables["ansible_ssh_common_args"] = proxy_arguments(command)
    for name, pattern in _FROM_ANNOTATIONS.items():
        value = guest.vm.metadata.annotations.get(_PREFIX + name)
        if value is not None and pattern.fullmatch(value):
            variables[f"ansible_{name}"] = int(value) if name == "port" else value
    variables["reconciler"] = {
        "name": guest.vm.name,
        "uid": guest.uid,
        "host": guest.host,
        "state": _state(guest),
        "instance_type": guest.vm.spec.instance_type,
        "labels": {key: value for key, value in guest.vm.metadata.labels.items() if _is_key(key)},
        "addresses": [{**asdict(each), "source": str(each.source)} for each in addresses],
    }
    return variables


def _groups(guest: Guest) -> Iterator[tuple[str, str]]:
    """Groups of a machine, each with what it stands for."""
    yield group_name("on", guest.host), f"host {guest.host}"
    yield group_name("state", _state(guest)), f"state {_state(guest)}"
    if guest.vm.spec.instance_type is not None:
        yield group_name("type", guest.vm.spec.instance_type), f"instance type {guest.vm.spec.instance_type}"
    for key, value in guest.vm.metadata.labels.items():
        if _is_key(key):
            yield group_name("label", key, value), f"label {key}={value}"


def _state(guest: Guest) -> str:
    return str(guest.domain.state) if guest.domain is not None else "unknown"


def _notes(guest: Guest) -> Iterator[str]:
    metadata = guest.vm.metadata
    for key in metadata.labels:
        if not _is_key(key):
            yield f"{guest.vm.name}: the label {key!r} is left out: to Ansible it could be more than text"
    for key, value in metadata.annotations.items():
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX)
        if name not in _FROM_ANNOTATIONS:
            known = ", ".join(_PREFIX + each for each in _FROM_ANNOTATIONS)
            yield f"{guest.vm.name}: the annotation {key!r} is left out: a manifest may say {known}"
        elif not _FROM_ANNOTATIONS[name].fullmatch(value):
            yield f"{guest.vm.name}: the annotation {key!r} is left out: {value!r} is no such value"


def _is_key(key: str) -> bool:
    """A key that Ansible takes as it stands: neither a template, nor one of its marks for values."""
    return "{" not in key and not key.startswith("__ansible")


def _marked(value: Any) -> Any:
    """`value`, with every text that could be a template marked as none."""
    if isinstance(value, str):
        return {UNSAFE: value} if "{" in value else value
    if isinstance(value, Mapping):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return value
