"""A snapshot of a machine, as its host keeps it inside of the machine's own disks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot.

    Attributes:
        name: Unique among those of its machine.
        created: Epoch seconds.
        state: Of the domain then, in libvirt's word: ``running``, ``shutoff`` …
        memory: It holds the memory too: going back to it goes on where the guest was.
        disks: Absolute paths of the disks whose state it holds.
        current: The machine's state began with this one.
        marked: The domain of then carries our mark with the machine's uid.
    """

    name: str
    created: float
    state: str
    memory: bool
    disks: tuple[str, ...] = ()
    current: bool = False
    marked: bool = True
