"""Changes of the desired state behind a server: planned, asked about and written there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.cli.remote import Remote
from reconciler.client import Stored
from reconciler.desired.edit import Path as Place
from reconciler.errors import UsageError
from reconciler.model.manifest import Object
from reconciler.model.plan import Plan
from reconciler.views.machines import manifest_data


@dataclass
class _Patch:
    """What shall be different in one object, and the object as it was seen."""

    seen: Stored
    fields: dict[str, Any] = field(default_factory=dict)


class RemoteDraft:
    """A change that is not written yet; see `reconciler.desired.draft.Draft`.

    Args:
        remote: The server.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._patches: dict[tuple[str, str], _Patch] = {}
        self._new: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def changes_nothing(self) -> bool:
        """True if everything says already what it shall."""
        return not self._new and not any(patch.fields for patch in self._patches.values())

    def edit(self, _file: str, key: str, changes: Mapping[Place, object]) -> None:
        """Change fields of an object, wherever it stands."""
        place = collection(key)
        if place not in self._patches:
            self._patches[place] = _Patch(self._remote.client.get(*place))
        patch = self._patches[place]
        for path, value in changes.items():
            _set(patch, path, value)

    def add(self, _file: str, one: Object) -> None:
        """Add a manifest."""
        self._new[collection(f"{one.kind}/{one.name}")] = dict(manifest_data(one))

    def plans(self) -> list[Plan]:
        """What each write would do, by itself."""
        client = self._remote.client
        made = [client.plan_of("POST", kind, body=body) for (kind, _), body in self._new.items()]
        for (kind, name), patch in self._patches.items():
            if patch.fields or not self._new:
                made.append(client.plan_of("PATCH", kind, name, patch.fields))
        return made

    def save(self, message: str, author: str | None = None) -> str:
        """Write it, and say which revision has it; nobody's change in between is overwritten.

        Raises:
            PreconditionError: Somebody changed it meanwhile.
            UsageError: Another author is named: there, who asks is the author.
        """
        if author:
            raise UsageError("--author is for a source here: a server's commits are by who asks")
        revision = ""
        for (kind, _), body in self._new.items():
            revision = self._remote.client.create(kind, body, message=message).revision
        for (kind, name), patch in self._patches.items():
            if patch.fields:
                stored = self._remote.client.patch(
                    kind, name, patch.fields, match=patch.seen.etag, message=message
                )
                revision = stored.revision
        return revision[:12]


def collection(key: str) -> tuple[str, str]:
    """Collection and name of ``Kind/name``."""
    kind, _, name = key.partition("/")
    return kind.lower() + "s", name


def _set(patch: _Patch, path: Place, value: object) -> None:
    """Put a value into the merge patch; what is inside of a list takes the whole list along (RFC 7396)."""
    if _of(patch.seen.data, path) == value:
        return
    plain = next((at for at, step in enumerate(path) if isinstance(step, int)), len(path))
    inside = patch.fields
    for step in path[: plain - 1]:
        inside = inside.setdefault(str(step), {})
    last = str(path[plain - 1])
    if plain == len(path):
        inside[last] = value
        return
    whole = inside.get(last)
    if whole is None:
        whole = copy.deepcopy(_of(patch.seen.data, path[:plain]))
    found = whole
    for step in path[plain:-1]:
        found = found[step]
    found[path[-1]] = value
    inside[last] = whole


def _of(data: Any, path: Place) -> Any:
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data
