"""What hardware a host can give to machines, from libvirt's domain capabilities."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element


def hardware_of(capabilities: Element) -> frozenset[str]:
    """``virtiofs``, ``tpm:emulator``, ``secure-boot``, ``graphics:vnc``, ``cpu:host-model`` and so on.

    Args:
        capabilities: ``<domainCapabilities>``; of a q35 machine where there is one: no other has secure boot.
    """
    return frozenset(_words(capabilities))


def _words(capabilities: Element) -> Iterator[str]:
    if "virtiofs" in _values(capabilities, "devices/filesystem", "driverType"):
        yield "virtiofs"
    for backend in _values(capabilities, "devices/tpm", "backendModel"):
        yield f"tpm:{backend}"
    for kind in _values(capabilities, "devices/graphics", "type"):
        yield f"graphics:{kind}"
    if "yes" in _values(capabilities, "os/loader", "secure"):
        yield "secure-boot"
    for mode in capabilities.iterfind("cpu/mode[@supported='yes']"):
        name = mode.get("name", "")
        if name != "custom":
            yield f"cpu:{name}"
            continue
        for model in mode.iterfind("model"):
            if model.get("usable") != "no":
                yield f"cpu:{model.text}"


def _values(capabilities: Element, path: str, name: str) -> frozenset[str]:
    """What an ``<enum>`` lists, of something that is supported."""
    found = capabilities.find(path)
    if found is None or found.get("supported") != "yes":
        return frozenset()
    return frozenset(value.text or "" for value in found.iterfind(f"enum[@name='{name}']/value"))
