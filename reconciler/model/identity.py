"""What a machine's parts are called when the user does not say: stable for ever, derived from names."""

from __future__ import annotations

import hashlib
import uuid

from reconciler.model.manifest import Interface

_OBJECTS = uuid.UUID("b9d3a1c6-6f0c-5c58-9a53-6f1f6f2f3d11")
"""Namespace (RFC 4122, version 5) of the objects that carry no mark but their UUID."""


def object_uuid(kind: str, owner: str, name: str, host: str = "") -> str:
    """The UUID of an object that libvirt gives no room for a mark (a pool): having it is the mark.

    Args:
        kind: Its manifest kind.
        owner: The installation.
        name: The object's name.
        host: Inventory name, for one that exists once a host; empty for one that exists once (a volume).
    """
    return str(uuid.uuid5(_OBJECTS, "\0".join((kind, owner, name, host))))


def interface_name(interface: Interface, index: int) -> str:
    """The interface's own name, or ``net0``, ``net1`` … by its place in the list."""
    return interface.name or f"net{index}"


def derived_mac(vm: str, interface: str) -> str:
    """The MAC of an interface that fixes none: ``52:`` and 40 bits of a digest of both names.

    0x52 is a locally administered unicast address.  40 bits collide once among a million interfaces or
    so, which is why the desired state is checked for it.
    """
    digest = hashlib.sha256(f"{vm}/{interface}".encode()).hexdigest()
    return ":".join(["52", *(digest[at : at + 2] for at in range(0, 10, 2))])
