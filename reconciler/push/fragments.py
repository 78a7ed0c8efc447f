"""What a user's XML template may contain, and how it joins the domain that we render.

A path is the element names from the domain down: ``cputune``, ``devices/rng``.  Below an allowed path
everything is allowed, except what would reach a file or a network of the host.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.errors import RenderError
from reconciler.push.template import PREFIXES

_TOP_LEVEL = (
    *("blkiotune", "clock", "cpu", "cputune", "defaultiothread", "genid", "iothreadids", "iothreads"),
    *("keywrap", "memoryBacking", "memtune", "numatune", "on_crash", "on_lockfailure", "on_poweroff"),
    *("on_reboot", "perf", "pm", "resource", "sysinfo"),
)
_DEVICES = (
    *("controller", "graphics", "input", "iommu", "memballoon", "panic", "rng", "sound", "tpm", "video"),
    "watchdog",
)
_OS = ("bios", "bootmenu", "smbios")

ALLOWED: Final = frozenset(
    (*_TOP_LEVEL, *(f"os/{tag}" for tag in _OS), *(f"devices/{tag}" for tag in _DEVICES))
)
"""Paths that any host takes; ``features`` allows its children one by one, all of them."""

NEVER: Final = frozenset(["name", "uuid", "metadata"])
"""Identity: not even a host's inventory can hand these to a template."""

_CONTAINERS: Final = frozenset(["os", "features", "devices"])
"""Elements that a template adds to; any other one it replaces whole."""
_LOOPBACK: Final = frozenset(["127.0.0.1", "::1", "localhost"])
_HARMLESS_PATHS: Final = frozenset(["/dev/urandom", "/dev/random"])
_HOST_ATTRIBUTES: Final = frozenset(["host", "service", "file", "dev", "dir", "path", "socket", "rendernode"])
_SINGLE_DEVICES: Final = frozenset(["memballoon", "watchdog", "tpm", "iommu"])


def paths_of(fragments: Sequence[ET.Element]) -> tuple[str, ...]:
    """The paths that a template sets, sorted; the mark carries them so that they can be taken back."""
    return tuple(sorted({path for path, _ in _leaves(fragments)}))


def join(domain: ET.Element, fragments: Sequence[ET.Element], allow: Sequence[str], template: str) -> None:
    """Put a template's elements into `domain`.

    Args:
        domain: Changed in place.
        fragments: What the template made.
        allow: Paths that the host's inventory adds.
        template: Path of the template, for messages.

    Raises:
        RenderError: An element is not allowed on this host.
    """
    for element in fragments:
        if _tag(element) in _CONTAINERS and element.attrib:
            raise RenderError(f"{template}: attributes of <{_tag(element)}> cannot be set, only its children")
    for path, element in _leaves(fragments):
        _check(path, element, frozenset(allow), template)
        _place(domain, path, element)


def _leaves(fragments: Sequence[ET.Element]) -> Iterator[tuple[str, ET.Element]]:
    for element in fragments:
        tag = _tag(element)
        if tag in _CONTAINERS:
            yield from ((f"{tag}/{_tag(child)}", child) for child in element)
        else:
            yield tag, element


def _tag(element: ET.Element) -> str:
    """``cputune``, or ``qemu:commandline`` for a namespace that libvirt knows."""
    for prefix, uri in PREFIXES.items():
        if element.tag.startswith(f"{{{uri}}}"):
            return f"{prefix}:{element.tag.removeprefix(f'{{{uri}}}')}"
    return element.tag


def _check(path: str, element: ET.Element, allow: frozenset[str], template: str) -> None:
    if path in NEVER:
        raise RenderError(f"{template}: <{path}> is the machine's identity and belongs to reconciler")
    if path in allow:
        return
    if not (path in ALLOWED or path.startswith("features/")):
        raise RenderError(f"{template}: the element {path} is not allowed", hint=_how_to_widen(path))
    if path == "devices/graphics":
        _check_graphics(element, path, template)
    if path == "devices/controller" and element.get("type") not in ("usb", "virtio-serial", "scsi"):
        raise RenderError(
            f"{template}: a controller of type {element.get('type')!r} is not allowed",
            hint=_how_to_widen(path),
        )
    for part in element.iter():
        _check_host_access(part, path, template)


def _check_graphics(element: ET.Element, path: str, template: str) -> None:
    addresses = {element.get("listen")} | {listen.get("address") for listen in element.iter("listen")}
    types = {listen.get("type") for listen in element.iter("listen")}
    if element.get("type") not in ("vnc", "spice"):
        raise RenderError(f"{template}: graphics of type {element.get('type')!r} are not allowed")
    if not addresses <= _LOOPBACK | {None} or not types <= {"address", "none"}:
        raise RenderError(
            f"{template}: graphics may listen on the loopback address only", hint=_how_to_widen(path)
        )


def _check_host_access(part: ET.Element, path: str, template: str) -> None:
    """Refuse whatever names a file, a device or a peer of the host."""
    text = (part.text or "").strip()
    if text.startswith("/") and text not in _HARMLESS_PATHS and path != "resource":
        raise RenderError(f"{template}: {path} names the host's file {text}", hint=_how_to_widen(path))
    for name, value in part.attrib.items():
        if name in _HOST_ATTRIBUTES or value.startswith("/"):
            raise RenderError(
                f"{template}: {path} reaches the host: {name}={value!r} in <{_tag(part)}>",
                hint=_how_to_widen(path),
            )


def _how_to_widen(path: str) -> str:
    return f"if this host may use it, add {path!r} to its inventory variable reconciler_xml_allow"


def _place(domain: ET.Element, path: str, element: ET.Element) -> None:
    container, _, leaf = path.rpartition("/")
    parent = domain if not container else _container(domain, container)
    if container != "devices" or leaf in _SINGLE_DEVICES:
        _remove(parent, [child for child in parent if child.tag == element.tag])
    elif leaf == "controller":
        _remove(parent, [child for child in parent if _is_controller(child, element)])
    parent.append(element)


def _container(domain: ET.Element, tag: str) -> ET.Element:
    found = domain.find(tag)
    return found if found is not None else ET.SubElement(domain, tag)


def _is_controller(child: ET.Element, like: ET.Element) -> bool:
    """The same controller; a USB controller of any sort replaces our ``model='none'``."""
    same_type = child.tag == "controller" and child.get("type") == like.get("type")
    return same_type and (child.get("model") == "none" or child.get("index", "0") == like.get("index", "0"))


def _remove(parent: ET.Element, children: Sequence[ET.Element]) -> None:
    for child in children:
        parent.remove(child)
