"""What stands in paths, and under which headings the operations are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

PARAMETERS: dict[str, dict[str, Any]] = {
    "name": {
        "description": "Its name, percent-encoded.",
        "schema": {"type": "string", "pattern": r"^(?![ .-])[ -.0-~]{1,63}(?<! )$"},
        "example": "web-1",
    },
    "host": {
        "description": "Name of the host, as in the inventory.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 253},
        "example": "kvm1",
    },
    "snapshot": {
        "description": "Name of the snapshot.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 63},
        "example": "before-upgrade",
    },
    "id": {
        "description": "Its id, as an earlier answer said it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        "example": "17",
    },
}
"""By the name in the path's template; any other one is a plain text."""

TAGS: dict[str, str] = {
    "virtualmachines": "Machines: what is desired of them, how they are, and acts on them.",
    "instancetypes": "Size presets.",
    "images": "Base disks.",
    "storagepools": "Where volumes lie.",
    "volumes": "Disks with a life of their own.",
    "networks": "Networks of the hosts.",
    "virtualmachinepools": "Pools of machines that are lent for a time.",
    "leases": "Who has which machine of a pool, and until when.",
    "hosts": "The machines that run virtual machines: the inventory.",
    "plans": "What would be done now.",
    "operations": "Acts that were asked for, and what became of them.",
    "events": "What happened.",
    "access": "Tokens, sessions, and who you are.",
    "commands": "What the command line shows, for its `--server`.",
    "health": "Whether it lives and works.",
    "documents": "This description.",
}
"""Heading to a sentence, in the order of the page; others follow by the alphabet."""

_FIELD = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def plain(template: str) -> str:
    """A path's template without Falcon's converters: ``/operations/{id:int}`` has ``{id}``."""
    return _FIELD.sub(r"{\1}", template)


def of_path(template: str) -> Iterator[dict[str, Any]]:
    """The parameters of a path's template."""
    for name in _FIELD.findall(template):
        known = PARAMETERS.get(name, {"schema": {"type": "string", "minLength": 1, "maxLength": 256}})
        yield {"name": name, "in": "path", "required": True, **known}
