"""What a machine's parts are called when the user does not say: stable for ever, derived from names."""

from __future__ import annotations

import hashlib

from reconciler.model.manifest import Interface


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
