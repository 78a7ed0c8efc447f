"""Hosts, images and instance types of the orchestration layer, with sizes in its units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from api.older.frame import Asked
from api.older.ids import HOST, IMAGE, MACHINE, TYPE
from api.older.machines import Machines
from api.services import Services
from reconciler.errors import NotFoundError
from reconciler.model.access import Role, Thing

_MIB, _GIB = 1 << 20, 1 << 30


class Hosts:
    """The hosts, and what machines are made of. Everything here blocks: it is for `Services.run`."""

    def __init__(self, services: Services, machines: Machines) -> None:
        self._store = services.store
        self._look = machines.look
        self._machines = machines
        self._ids = machines.ids

    def types(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/vm/types``: cpus, MiB, GiB."""
        desired = self._look()
        found = [
            {
                "tid": tid,
                "cpu": desired.instance_types[name].spec.cpus,
                "ram": _whole(desired.instance_types[name].spec.memory, _MIB),
                "disk": _whole(desired.instance_types[name].spec.root_disk_size or 0, _GIB),
            }
            for name, tid in self._ids.types(desired).items()
            if asked.may(Role.VIEWER, Thing(TYPE, name, desired.instance_types[name].metadata.labels))
        ]
        return {"types": sorted(found, key=lambda one: one["tid"])}

    def images(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/image/list``."""
        desired = self._look()
        found = [
            (number, name)
            for name, number in self._ids.images(desired).items()
            if asked.may(Role.VIEWER, Thing(IMAGE, name, desired.images[name].metadata.labels))
        ]
        return {"images": [{"id": number, "name": name} for number, name in sorted(found)]}

    def numbers(self, asked: Asked) -> Mapping[str, int]:
        """The hosts that the caller may see."""
        known = {name: json.loads(row).get("labels", {}) for name, row in self._store.statuses(HOST).items()}
        return {
            name: number
            for name, number in self._ids.hosts(known).items()
            if asked.may(Role.VIEWER, Thing(HOST, name, known[name]))
        }

    def listing(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/pm/list``."""
        return {"pmids": sorted(self.numbers(asked).values())}

    def machines(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/pm/listvms``.

        Raises:
            NotFoundError: There is no such host.
        """
        host, desired = self._named(asked), self._look()
        found = [
            self._ids.allot(MACHINE, name, seen=True)
            for name in self._on(host)
            if asked.may(Role.VIEWER, self._machines.thing(desired, name))
        ]
        return {"vmids": sorted(found)}

    def describe(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/pm/query``; nothing is known of a host that has not answered.

        Raises:
            NotFoundError: There is no such host.
        """
        host = self._named(asked)
        told: dict[str, Any] = json.loads(self._store.statuses(HOST)[host])
        return {
            "pmid": asked.number("pmid"),
            "capacity": _room(told.get("capacity", {})),
            "free": _room(told.get("free", {})),
            "vms": len(self._on(host)),
        }

    def _named(self, asked: Asked) -> str:
        number = asked.number("pmid")
        found = next((name for name, known in self.numbers(asked).items() if known == number), None)
        if found is None:
            raise NotFoundError(f"there is no host {asked.given.get('pmid', '')!r}")
        return found

    def _on(self, host: str) -> list[str]:
        rows = self._store.statuses(MACHINE)
        return [name for name, row in rows.items() if json.loads(row).get("host") == host]


def _room(told: Mapping[str, int]) -> Mapping[str, int]:
    return {
        "cpu": told.get("cpus", 0),
        "ram": told.get("memory", 0) // _MIB,
        "disk": told.get("disk", 0) // _GIB,
    }


def _whole(size: int, unit: int) -> int:
    """Rounded up: a client must never believe that it needs less."""
    return -(-size // unit)
