"""Values in libvirt's XML: numbers, memory with units, where a disk lies."""

from __future__ import annotations

from xml.etree.ElementTree import Element

_DEFAULT_UNIT = 1024
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


def number(text: str | None) -> int | None:
    """A whole number; None when there is none, or none that can be read."""
    try:
        return int(text) if text else None
    except ValueError:
        return None


def parse_memory(text: str | None, unit: str | None) -> int | None:
    """Bytes of a ``<memory unit='…'>``; KiB without a unit, as libvirt has it; None when unreadable."""
    count = number(text)
    if count is None:
        return None
    factor = _factor(unit)
    return None if factor is None else count * factor


def _factor(unit: str | None) -> int | None:
    """Libvirt's units: ``KiB`` and ``K`` are 1024, ``KB`` is 1000; letter case does not matter."""
    if unit is None or unit == "KiB":
        return _DEFAULT_UNIT
    word = unit.lower()
    if word in ("b", "byte", "bytes"):
        return 1
    power = _POWERS.get(word[:1])
    if power is None or word[1:] not in ("", "ib", "b"):
        return None
    return int((1000 if word[1:] == "b" else 1024) ** power)


def disk_path(kind: str, source: Element | None) -> str:
    """The file or device; for other sources a string that stays the same as long as they do.

    Args:
        kind: The disk's type, libvirt's word.
        source: Its ``<source>``, or None.
    """
    if source is None:
        return ""
    if kind == "volume":
        return f"{source.get('pool', '')}/{source.get('volume', '')}"
    if kind == "network":
        return f"{source.get('protocol', '')}:{source.get('name', '')}"
    for attribute in ("file", "dev", "dir", "path"):
        value = source.get(attribute)
        if value is not None:
            return value
    return kind + ":" + ",".join(f"{key}={value}" for key, value in sorted(source.attrib.items()))
