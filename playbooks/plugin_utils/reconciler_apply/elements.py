# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving elements between two documents. Pure."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET


def child(parent: ET.Element, tag: str) -> ET.Element:
    """The first child of that tag, made if there is none."""
    found = parent.find(tag)
    return found if found is not None else ET.SubElement(parent, tag)


def remove(parent: ET.Element, tag: str) -> None:
    """Remove all children of that tag."""
    for one in parent.findall(tag):
        parent.remove(one)


def replace(parent: ET.Element, wanted: ET.Element, tag: str) -> None:
    """The wanted children of a tag in the place of those that are there; none wanted, none left."""
    tag = _qualified(tag)
    old = parent.findall(tag)
    at = list(parent).index(old[0]) if old else len(parent)
    remove(parent, tag)
    for offset, one in enumerate(wanted.findall(tag)):
        parent.insert(at + offset, copy.deepcopy(one))


def prune(parent: ET.Element, tag: str) -> None:
    """Remove a child that says nothing any more."""
    found = parent.find(tag)
    if found is not None and len(found) == 0 and not found.attrib and not (found.text or "").strip():
        parent.remove(found)


def _qualified(tag: str) -> str:
    prefix, colon, local = tag.partition(":")
    if not colon or prefix not in ("qemu", "lxc"):
        return tag
    return f"{{http://libvirt.org/schemas/domain/{prefix}/1.0}}{local}"
