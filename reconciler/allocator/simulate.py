"""A fleet from a string, for tests, benchmarks and what-if questions. The idea is Ganeti's.

    3x8c32g100d rack=r1; 2x16c64g500d rack=r2 arch:aarch64 maintenance

is three hosts with 8 cpus, 32 GiB of memory and 100 GiB free in the default pool in rack r1, and two of
another make. They are called h1, h2 … (h01, h02 … from ten hosts on). After the size follow

    key=value         a label
    arch:NAME         the architecture (x86_64)
    pool:NAME=GIB     a further pool, for example pool:fast=200
    net:A,B           active networks (default)
    bridge:A,B        bridges; ``bridge:`` alone says there is none (the host cannot tell)
    firmware:A,B      usable firmwares (bios,uefi)
    hardware:A,B      what it can give (virtiofs,tpm-emulator…); without it the host cannot tell
    down              it does not answer
    maintenance       nothing new goes there
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.model.capacity import HostCapacity

GIB = 1 << 30
_SIZE = re.compile(r"(?:(\d+)x)?(\d+)c(\d+)g(\d+)d")


def fleet(text: str) -> tuple[HostCapacity, ...]:
    """The hosts that the text describes, in its order.

    Raises:
        ValueError: The text is not of that form.
    """
    makes = [_make(part.split()) for part in text.split(";") if part.strip()]
    total = sum(count for count, _ in makes)
    numbers = iter(range(1, total + 1))
    return tuple(
        HostCapacity(name=f"h{next(numbers):0{len(str(total))}}", **features)
        for count, features in makes
        for _ in range(count)
    )


def _make(words: list[str]) -> tuple[int, dict[str, Any]]:
    match = _SIZE.fullmatch(words[0])
    if match is None:
        raise ValueError(f"{words[0]!r} is not a host: write for example 3x8c32g100d")
    count, cpus, memory, disk = (int(part or 1) for part in match.groups())
    features: dict[str, Any] = {
        "alive": True,
        "arch": "x86_64",
        "cpus": cpus,
        "memory": memory * GIB,
        "pools": {"default": disk * GIB},
        "networks": frozenset({"default"}),
        "firmwares": frozenset({"bios", "uefi"}),
        "labels": {},
    }
    for word in words[1:]:
        _describe(features, word)
    return count, features


def _describe(features: dict[str, Any], word: str) -> None:
    what, colon, value = word.partition(":")
    names = frozenset(name for name in value.split(",") if name)
    match what, colon:
        case "down", "":
            features |= {"alive": False, "message": "connection refused"}
        case "maintenance", "":
            features["maintenance"] = True
        case "arch", ":":
            features["arch"] = value
        case "net", ":":
            features["networks"] = names
        case "bridge", ":":
            features["bridges"] = names
        case "firmware", ":":
            features["firmwares"] = names
        case "hardware", ":":
            features["hardware"] = names
        case "pool", ":":
            pool, _, size = value.partition("=")
            features["pools"][pool] = int(size) * GIB
        case _:
            key, equals, label = word.partition("=")
            if not equals:
                raise ValueError(f"{word!r} describes nothing of a host")
            features["labels"][key] = label
