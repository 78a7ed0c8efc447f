"""Verbs of a scenario that write manifests of every kind but machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from support.scenario import Stage

API = "reconciler/v1"


class ObjectVerbs:
    """Part of `Stage`."""

    def do_objects(self: Stage, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """``Kind/name`` to a spec, such as ``Volume/data: {size: 64Mi}``; null removes the object.

        As in `do_edit`: a merge into the spec that is there, where a field's null takes the field away.
        """
        from support.scenario import merged  # noqa: PLC0415 - it imports this module

        for key, change in changes.items():
            if change is None:
                del self.objects[key]
            else:
                self.objects[key] = merged(self.objects.get(key, {}), change)
        documents = []
        for key, spec in self.objects.items():
            kind, _, name = key.partition("/")
            documents.append({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec})
        text = yaml.safe_dump_all(documents, sort_keys=False)
        (self.source / "objects.yaml").write_text(self.fill(text))

    def do_discard_kept(self: Stage, volumes: list[str]) -> None:
        """``reconciler discard`` of volumes that `get volumes --kept` shows, by name."""
        found = json.loads(self.call("get", "volumes", "--kept", "-o", "json").out)
        for volume in volumes:
            one = next(row for row in found if row["name"] == volume)
            self.call("discard", f"{one['host']}/{one['pool']}/{one['volume']}", "--yes")
            assert self.said is not None
            assert self.said.exit == 0, self.said.text
