"""Sizes and durations as people write them.

Sizes follow Kubernetes' quantity suffixes (binary ``Ki Mi Gi Ti Pi``, decimal ``k M G T P``); a plain
integer is bytes.  Durations are ``90s``, ``5m``, ``2h``, ``1d`` or a sum such as ``1h30m``; a plain
integer is seconds.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_FACTORS = {"": 1, **_BINARY, **_DECIMAL}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_LONGEST = 40
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def parse_size(value: object) -> int:
    """Bytes of ``2Gi``, ``512Mi``, ``1.5Gi``, ``1024``.

    Raises:
        ValueError: Not a size, negative, not a whole number of bytes, or 8Ei and more.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size cannot be negative")
        return _bounded(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{_shown(value)} is not a size: write for example 512Mi, 2Gi or plain bytes")
    number, suffix = match.groups()
    # Through integers: 0.1Gi as a float would not be a whole number of bytes by rounding alone.
    whole, _, fraction = number.partition(".")
    factor = _FACTORS[suffix or ""]
    scaled = int(whole + fraction) * factor
    scale = int("1" + "0" * len(fraction))
    size, rest = divmod(scaled, scale)
    if rest:
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return _bounded(size)


def _bounded(size: int) -> int:
    """Libvirt and files count in 64 bits, with a sign."""
    if size >= 1 << 63:
        raise ValueError("a size is less than 8Ei")
    return size


def _shown(value: object) -> str:
    """A value for a message; one that is endless is cut."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def format_size(size: int) -> str:
    """The shortest exact spelling with a binary suffix: ``2Gi`` for 2147483648."""
    for suffix, factor in reversed(_BINARY.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def parse_duration(value: object) -> int:
    """Seconds of ``90s``, ``5m``, ``1h30m``, ``90``.

    Raises:
        ValueError: Not a duration, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a duration cannot be negative")
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and 0 < len(value) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{_shown(value)} is not a duration: write for example 90s, 5m or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def format_duration(seconds: int) -> str:
    """``1h30m`` for 5400."""
    parts = []
    for suffix, factor in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, factor)
        if count:
            parts.append(f"{count}{suffix}")
    return "".join(parts) or "0s"


_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"},
    ],
    "examples": ["512Mi", "2Gi"],
}
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"},
    ],
    "examples": ["90s", "5m"],
}

Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
"""Bytes; accepts the spelling of people."""

Duration = Annotated[int, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds; accepts the spelling of people."""
