# SPDX-License-Identifier: GPL-3.0-or-later
"""Our mark in a domain's metadata: who owns it. Pure."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

NAMESPACE = "urn:reconciler:vm:v1"
PREFIX = "reconciler"
TAG = f"{{{NAMESPACE}}}vm"

ET.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True)
class Ownership:
    """Who a mark says a domain belongs to, and under which UUID."""

    owner: str
    uid: str


def ownership(element: ET.Element) -> Ownership | None:
    """Read a mark; None if it is not one that we could have written."""
    owner, uid = element.get("owner"), element.get("uid")
    return Ownership(owner, uid) if owner and uid else None


def parse(text: str) -> Ownership | None:
    """Read a mark as ``virDomainGetMetadata`` returns it, without its namespace."""
    try:
        return ownership(ET.fromstring(text))
    except ET.ParseError:
        return None


def unprefixed(text: str) -> str:
    """A mark as ``virDomainSetMetadata`` wants it: libvirt adds the namespace itself, and only once."""
    element = ET.fromstring(text)
    element.tag = "vm"
    return ET.tostring(element, encoding="unicode")


def devices(mark: ET.Element | None, part: str, identity: str) -> dict[str, set[str]]:
    """Names that the user gave to devices, and what each identifies in the XML.

    Args:
        mark: The mark element, or None.
        part: ``disks`` or ``interfaces``.
        identity: The field that identifies the device, ``target`` or ``mac``.
    """
    try:
        config: dict[str, Any] = json.loads(mark.text or "") if mark is not None else {}
    except ValueError:
        return {}
    names: dict[str, set[str]] = {}
    for device in config.get(part) or ():
        if device.get("name"):
            names.setdefault(device["name"], set()).add(device[identity])
    return names
