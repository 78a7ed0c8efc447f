"""The set-up files of the older interfaces: who the hosts are, where the images lie, which types there are.

Each of them is refused whole, with every mistake in it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.imports import json_lines
from reconciler.model.envelope import Metadata, check_name
from reconciler.model.manifest import InstanceType, InstanceTypeSpec
from reconciler.model.storage import DiskFormat

TID: Final = "seed/tid"
"""Annotation of an instance type: its id in the older interface."""

IMAGE_ID: Final = "seed/image-id"
"""Annotation of an image: its id there, which is its place in the list."""

PMID: Final = "seed_pmid"
"""Host variable: the host's id there, which is its place in the list."""

PMID_LABEL: Final = "seed/pmid"
"""Label of a host that has that variable: its value."""

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*\.?")
# What neither a shell, nor sftp's patterns, nor YAML takes for more than a letter.
_REMOTE_PATH = re.compile(r"/[A-Za-z0-9_./+@=,~ -]*[A-Za-z0-9_]")
_REMOTE = re.compile(r"(?P<user>[^@/:]+)@(?P<address>\[[0-9A-Fa-f:.]+\]|[^@/:]+):(?P<path>.*)")
_FORMATS: Final[Mapping[str, DiskFormat]] = {
    ".qcow2": DiskFormat.QCOW2,
    ".qcow": DiskFormat.QCOW2,
    ".raw": DiskFormat.RAW,
}
_SILENT_ENDINGS = (".img", ".disk", ".image")
_TYPE_FIELDS: Final[Mapping[str, str]] = {
    "tid": "its id",
    "cpu": "cpus",
    "ram": "memory in MiB",
    "disk": "GiB of its root disk, 0 for the image's size",
}


@dataclass(frozen=True, slots=True)
class SeedHost:
    """A line of the host list.

    Attributes:
        number: Its id: its place among the lines that count, from 1.
        name: Its inventory name: its host name, or ``host-1`` for a bare address.
        user: Who logs in.
        address: Host name or IP address.
        line: Where it stands.
    """

    number: int
    name: str
    user: str
    address: str
    line: int


@dataclass(frozen=True, slots=True)
class SeedImage:
    """A line of the image list.

    Attributes:
        number: Its id: its place among the lines that count, from 1.
        name: What the image is called: its file's name without the ending.
        path: Where it lies; a relative path starts at the list's folder.
        remote: ``user@address`` where it lies, or empty: on this machine.
        format: As the file's name says it, or None: it does not.
        line: Where it stands.
    """

    number: int
    name: str
    path: str
    remote: str
    format: DiskFormat | None
    line: int


def read_hosts(text: str, file: str, problems: list[Problem]) -> tuple[SeedHost, ...]:
    """The hosts of a list of ``user@address`` lines; mistakes go to `problems`."""
    hosts = []
    for number, (line, content) in enumerate(_lines(text), 1):
        user, at, address = content.partition("@")
        if not at or not _USER.fullmatch(user) or not _is_address(address):
            problems.append(_problem(file, line, f"{content!r} is not user@address, such as root@192.0.2.11"))
            continue
        plain = address.strip("[]")
        name = f"host-{number}" if _is_ip(plain) else plain.rstrip(".")
        hosts.append(SeedHost(number, name, user, plain, line))
    problems += _twins(hosts, file, lambda host: host.address.lower(), "address")
    if len({host.address.lower() for host in hosts}) == len(hosts):
        problems += _twins(hosts, file, lambda host: host.name.lower(), "host name")
    return tuple(hosts)


def read_images(
    text: str, file: str, unsaid: DiskFormat | None, problems: list[Problem]
) -> tuple[SeedImage, ...]:
    """The images of a list of paths, some ``user@address:/path``; mistakes go to `problems`.

    Args:
        text: The list.
        file: Its path, for messages.
        unsaid: Format of those whose name says none; None makes them mistakes.
        problems: Gets what is wrong.
    """
    images = []
    for number, (line, content) in enumerate(_lines(text), 1):
        remote, path, wrong = _where(content)
        name, said = _named(path)
        wrong = wrong or _wrong_name(name)
        if not wrong and said is None and unsaid is None:
            wrong = f"{content!r} does not say its format: give it with --format (a format is never guessed)"
        if wrong:
            problems.append(_problem(file, line, wrong))
        images.append(SeedImage(number, name, path, remote, said or unsaid, line))
    problems += _twins(images, file, lambda image: image.name, "image name")
    return tuple(images)


def read_types(text: str, file: str, problems: list[Problem]) -> tuple[tuple[InstanceType, int], ...]:
    """The instance types of the types JSON, each with its line; mistakes go to `problems`."""
    try:
        document = json_lines.load(text)
    except json.JSONDecodeError as error:
        problems.append(Problem(file, error.lineno, error.colno, "", f"this is not JSON: {error.msg}"))
        return ()
    except RecursionError:
        problems.append(_problem(file, 0, "this is nested too deeply"))
        return ()
    entries = document.get("types") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        problems.append(_problem(file, 1, 'this is not {"types": [{"tid", "cpu", "ram", "disk"}, …]}'))
        return ()
    types, seen = [], dict[int, int]()
    for place, entry in enumerate(entries):
        line = entry.line if isinstance(entry, json_lines.Located) else 0
        wrong = list(_wrong_type(entry))
        if not wrong and entry["tid"] in seen:
            wrong = [f"the tid {entry['tid']} is that of line {seen[entry['tid']]} too"]
        problems += [_problem(file, line, message, f"types[{place}]") for message in wrong]
        if not wrong:
            seen[entry["tid"]] = line
            types.append((_instance_type(entry), line))
    return tuple(types)


def inventory_text(hosts: Iterable[SeedHost], source: str) -> str:
    """The hosts as an Ansible inventory (INI, which no folder of manifests takes for one of its own)."""
    rows = [
        f"{host.name} ansible_host={host.address} ansible_user={host.user} {PMID}={host.number}"
        for host in hosts
    ]
    return "\n".join([f"# From {_comment(source)}", "[libvirt]", *rows, ""])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that count, with their numbers: neither empty nor comments."""
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if content and not content.startswith("#"):
            yield number, content


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _is_address(address: str) -> bool:
    return _is_ip(address.strip("[]")) or _HOST_NAME.fullmatch(address) is not None


def _where(content: str) -> tuple[str, str, str]:
    """``user@address`` or nothing, the path, and what is wrong."""
    match = _REMOTE.fullmatch(content)
    if match is None:
        return (
            "",
            content,
            "" if content.isprintable() else f"{content!r} has characters that no path here has",
        )
    user, address, path = match["user"], match["address"], match["path"]
    remote = f"{user}@{address}"
    if not _USER.fullmatch(user) or not _is_address(address):
        return remote, path, f"{remote!r} is not user@address"
    if not _REMOTE_PATH.fullmatch(path):
        return (
            remote,
            path,
            f"{path!r} is not an absolute path of letters, digits and _./+@=,~- that scp can be given",
        )
    return remote, path, ""


def _named(path: str) -> tuple[str, DiskFormat | None]:
    """The image's name and the format that its file's name states."""
    pure = PurePosixPath(path)
    ending = pure.suffix.lower()
    said = _FORMATS.get(ending)
    return (pure.stem if said or ending in _SILENT_ENDINGS else pure.name), said


def _wrong_name(name: str) -> str:
    try:
        check_name(name)
    except ValueError as error:
        return f"{name!r} cannot be an image's name: {error}"
    return ""


def _wrong_type(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "this is not an object with " + ", ".join(_TYPE_FIELDS)
        return
    for field, meaning in _TYPE_FIELDS.items():
        value = entry.get(field)
        least = 0 if field == "disk" else 1
        if field not in entry:
            yield f"{field} ({meaning}) is missing"
        elif not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"{field} ({meaning}) is a whole number of {least} or more, not {value!r}"
    for field in sorted(entry.keys() - _TYPE_FIELDS.keys()):
        yield f"unknown field {field!r}; known are {', '.join(_TYPE_FIELDS)}"
    if isinstance(entry.get("cpu"), int) and entry["cpu"] > 4096:
        yield "cpu is at most 4096"
    if any(isinstance(entry.get(field), int) and entry[field] >= 1 << 33 for field in ("ram", "disk")):
        yield "ram and disk are less than 8Ei: are these really MiB and GiB?"


def _instance_type(entry: Mapping[str, int]) -> InstanceType:
    return InstanceType(
        metadata=Metadata(name=f"type-{entry['tid']}", annotations={TID: str(entry["tid"])}),
        spec=InstanceTypeSpec(
            cpus=entry["cpu"],
            memory=entry["ram"] << 20,
            root_disk_size=entry["disk"] << 30 if entry["disk"] else None,
        ),
    )


def _twins(found: Iterable[Any], file: str, key: Callable[[Any], str], what: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for one in found:
        line = first.setdefault(key(one), one.line)
        if line != one.line:
            yield _problem(file, one.line, f"the {what} {key(one)!r} is that of line {line} too")


def _problem(file: str, line: int, message: str, path: str = "") -> Problem:
    return Problem(file, line, 1 if line else 0, path, message)


def _comment(text: str) -> str:
    """Text that cannot end a comment."""
    return " ".join(text.split())
