"""Objects by number, as the clients of old know them. A number means one object, for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.services import Services
from reconciler.imports.seed import IMAGE_ID, PMID_LABEL, TID
from reconciler.model.desired import DesiredState
from reconciler.model.envelope import Metadata

MACHINE: Final = "VirtualMachine"
VOLUME: Final = "Volume"
HOST: Final = "Host"
IMAGE: Final = "Image"
TYPE: Final = "InstanceType"
MEMBER: Final = "Member"
"""A machine of a pool, as long as its slot is in use."""

_BEGINNING: Final = 1_767_225_600
"""2026-01-01, in epoch seconds."""


class Ids:
    """The numbers of objects. Everything here blocks: it is for `Services.run`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def name(self, kind: str, number: int) -> str | None:
        """What the object of this number is called; None if there is none (any more)."""
        return next((name for name, known in self._store.ids(kind).items() if known == number), None)

    def allot(self, kind: str, name: str, *, seen: bool = False) -> int:
        """The number of an object that can come and go; it gets one if it has none.

        The first one of a store is the seconds since 2026: were the store lost, and made anew, its numbers
        would still be none that a client may remember.
        """
        first = max(1, int(self._services.clock()) - _BEGINNING)
        return self._store.allot_ids(kind, {name: 0}, first=first, seen=seen)[name]

    def end(self, kind: str, name: str) -> None:
        """The object is gone."""
        self._store.end_ids(kind, [name])

    def types(self, desired: DesiredState) -> Mapping[str, int]:
        """The instance types: those that were imported keep what they had."""
        return self._declared(
            TYPE, TID, desired, {o.name: o.metadata for o in desired.instance_types.values()}
        )

    def images(self, desired: DesiredState) -> Mapping[str, int]:
        """The images: likewise."""
        return self._declared(IMAGE, IMAGE_ID, desired, {o.name: o.metadata for o in desired.images.values()})

    def hosts(self, labels: Mapping[str, Mapping[str, str]]) -> Mapping[str, int]:
        """The hosts, of whose labels one may say what number they had."""
        wanted = {name: _number(labels[name].get(PMID_LABEL, "")) for name in sorted(labels)}
        known = self._store.allot_ids(HOST, wanted)
        return {name: known[name] for name in wanted}

    def _declared(
        self, kind: str, annotation: str, desired: DesiredState, objects: Mapping[str, Metadata]
    ) -> Mapping[str, int]:
        tick = self._store.last_tick()
        # Then no tick that still goes on knows less than we do.
        seen = tick is not None and tick.revision == desired.revision
        wanted = {name: _number(objects[name].annotations.get(annotation, "")) for name in sorted(objects)}
        known = self._store.allot_ids(kind, wanted, seen=seen)
        return {name: known[name] for name in wanted}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
