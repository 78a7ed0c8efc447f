"""Objects as they are answered: the manifest as JSON, and the status beside it, each written once.

An unchanged manifest is the identical object from one read to the next, and so are the store's snapshots.
A fragment of JSON is kept with what it was made of, and a whole list with the fragments it was joined from:
a list of 10,000 machines costs what it takes to send it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from api.conventions.etag import digest
from api.conventions.media import to_json
from api.kinds import Kind
from reconciler.desired.decode import decode_text
from reconciler.desired.writer import to_plain
from reconciler.errors import DesiredStateError, NotFoundError
from reconciler.model.access import Thing
from reconciler.model.desired import DesiredState
from reconciler.model.manifest import Object
from reconciler.model.placement import is_machine, parse_key
from reconciler.model.pool import Member
from reconciler.model.status import Condition, Retry
from reconciler.model.write import version_of
from reconciler.planner.lent.expand import Expansion
from reconciler.store.base import Store, Subject

Said = tuple[tuple[str, tuple[Condition, ...]], ...]
"""The conditions of one object: host (empty for what is on none, or on one) and what is said there."""

_MACHINE = "VirtualMachine"


def stamp(seconds: float) -> str:
    """RFC 3339, UTC, seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class View:
    """One object, ready to be sent.

    Attributes:
        kind: Its kind.
        name: Its name.
        labels: Its labels.
        version: Of its desired part.
        manifest: Its desired part as JSON, but for the closing brace.
        status: Its status as JSON.
        seen: Digest of the status.
    """

    kind: str
    name: str
    labels: Mapping[str, str]
    version: str
    manifest: str
    status: str
    seen: str

    @property
    def thing(self) -> Thing:
        """For the question whether somebody may."""
        return Thing(self.kind, self.name, self.labels)

    def json(self, *, status: bool = True) -> str:
        """The whole object."""
        return f'{self.manifest},"status":{self.status}}}' if status else self.manifest + "}"

    def data(self, *, status: bool = True) -> dict[str, Any]:
        """The same as plain data, for what is rarely asked for."""
        found: dict[str, Any] = json.loads(self.json(status=status))
        return found

    @property
    def conditions(self) -> Sequence[Mapping[str, Any]]:
        """What the status says of conditions."""
        found: Sequence[Mapping[str, Any]] = json.loads(self.status)["conditions"]
        return found


@dataclass(frozen=True)
class Moment:
    """What the views of a kind are made of, at one time; the identical object as long as nothing changed.

    Attributes:
        kind: The kind.
        state: The desired state.
        statuses: Status as JSON, by name.
        conditions: Of everything that is no host, by key.
        retries: By machine.
        said: The conditions of what is no machine, by ``Kind/name``.
        whole: The whole list, with status or without.
    """

    kind: Kind
    state: DesiredState
    statuses: Mapping[str, str]
    conditions: Mapping[str, tuple[Condition, ...]]
    retries: Mapping[str, Retry]
    said: Mapping[str, Said]
    whole: dict[bool, WholeList] = field(default_factory=dict)

    def same(self, other: Moment) -> bool:
        """True if both were made of the identical objects."""
        return (
            self.state is other.state
            and self.statuses is other.statuses
            and self.conditions is other.conditions
            and self.retries is other.retries
        )


@dataclass(frozen=True, slots=True)
class WholeList:
    """All objects of a kind, in the order of their names.

    Attributes:
        names: Sorted.
        views: In the same order.
        items: Their JSON, with commas between.
        etag: Changes with any of them.
        kept: Whole answers that were made of it.
    """

    names: Sequence[str]
    views: Sequence[View]
    items: str
    etag: str
    kept: dict[str, bytes] = field(default_factory=dict)


def view_of(kind: str, name: str, data: Mapping[str, Any]) -> View:
    """An object as it was at another time, of which no status is known."""
    return made_view(kind, name, data, data.get("metadata", {}).get("labels", {}))


def made_view(kind: str, name: str, data: Mapping[str, Any], labels: Mapping[str, str]) -> View:
    """The same, with the labels that count: the data may be wrong."""
    nothing = '{"conditions":[]}'
    return View(kind, name, labels, version_of(data), to_json(data)[:-1], nothing, digest(nothing))


class Desired(Protocol):
    """As much of `api.services.Desired` as views are made of."""

    def read(self) -> DesiredState:
        """The newest desired state that is right."""

    def text(self, key: str) -> str:
        """The object as it stands in its file."""


class Views:
    """Makes views, and keeps them as long as they are true. Safe from any thread."""

    def __init__(self, desired: Desired, store: Store) -> None:
        self._desired = desired
        self._store = store
        self._lock = threading.Lock()
        self._expansion = Expansion()
        self._lent: tuple[DesiredState, tuple[Member, ...], DesiredState] | None = None
        self._moments: dict[str, Moment] = {}
        self._manifests: dict[tuple[str, str], tuple[Object, str, str]] = {}
        self._views: dict[tuple[str, str], tuple[object, View]] = {}

    def moment(self, kind: Kind) -> Moment:
        """How everything of this kind is now.

        Raises:
            DesiredStateError: The desired state is refused.
        """
        store, last = self._store, self._moments.get(kind.name)
        conditions = store.conditions(Subject.VM)
        same = last is not None and last.conditions is conditions
        said = last.said if last is not None and same else {}
        if not same and kind.name != _MACHINE:
            said = _by_object(conditions)
        state = self._with_members() if kind.name == _MACHINE else self._desired.read()
        now = Moment(kind, state, store.statuses(kind.name), conditions, store.retries(), said)
        if last is not None and last.same(now):
            return last
        self._moments[kind.name] = now
        return now

    def _with_members(self) -> DesiredState:
        """The desired state with the machines of pools, which stand in no file."""
        desired, members = self._desired.read(), self._store.members()
        known = self._lent
        if known is None or known[0] is not desired or known[1] is not members:
            with self._lock:
                state = self._expansion.expand(desired, members).desired
            known = self._lent = (desired, members, state)
        return known[2]

    def one(self, moment: Moment, name: str) -> View | None:
        """The object of this name, or None."""
        found = moment.kind.objects(moment.state).get(name)
        return None if found is None else self._view(moment, found)

    def whole(self, moment: Moment, *, status: bool) -> WholeList:
        """All objects of the kind."""
        known = moment.whole.get(status)
        if known is not None:
            return known
        with self._lock:  # several who ask for the same must not all make it
            known = moment.whole.get(status)
            if known is None:
                known = moment.whole[status] = self._all(moment, status=status)
        return known

    def _all(self, moment: Moment, *, status: bool) -> WholeList:
        objects = moment.kind.objects(moment.state)
        names = sorted(objects)
        views = [self._view(moment, objects[name]) for name in names]
        for gone in [key for key in self._views if key[0] == moment.kind.name and key[1] not in objects]:
            self._views.pop(gone, None)
            self._manifests.pop(gone, None)
        told = digest(*(part for view in views for part in (view.version, view.seen if status else "")))
        return WholeList(names, views, ",".join(view.json(status=status) for view in views), told)

    def _view(self, moment: Moment, one: Object) -> View:
        kind, name = moment.kind, one.metadata.name
        if kind.name == _MACHINE:
            said: Said = (("", moment.conditions.get(name, ())),)
        else:
            said = moment.said.get(f"{kind.name}/{name}", ())
        row = moment.statuses.get(name, "")
        retry = moment.retries.get(name) if kind.name == _MACHINE else None
        made_of = (row, said, retry)
        known = self._views.get((kind.name, name))
        manifest, version = self._manifest(kind, one)
        if known is not None and known[0] == made_of and known[1].manifest is manifest:
            return known[1]
        status = _status(row, said, retry)
        view = View(kind.name, name, one.metadata.labels, version, manifest, status, digest(status))
        self._views[kind.name, name] = (made_of, view)
        return view

    def _manifest(self, kind: Kind, one: Object) -> tuple[str, str]:
        """JSON and version of the desired part."""
        key = (kind.name, one.metadata.name)
        known = self._manifests.get(key)
        if known is None or known[0] is not one:
            data = self._plain(key, one)
            known = self._manifests[key] = (one, to_json(data)[:-1], version_of(data))
        return known[1:]

    def _plain(self, key: tuple[str, str], one: Object) -> Mapping[str, Any]:
        """The desired part as it would stand in YAML: `version_of` it is the version that a write must match.

        An image is read with its file's path and digest filled in, which nobody wrote.
        """
        if key[0] == "Image":
            with contextlib.suppress(NotFoundError, DesiredStateError):
                found = decode_text(self._desired.text("/".join(key)), "/".join(key))
                return to_plain(found[0]) if found else to_plain(one)
        return to_plain(one)


def _by_object(conditions: Mapping[str, tuple[Condition, ...]]) -> Mapping[str, Said]:
    """Conditions of what is no machine, which are told host by host, by ``Kind/name``."""
    found: dict[str, list[tuple[str, tuple[Condition, ...]]]] = {}
    for key, said in conditions.items():
        if not is_machine(key):
            kind, name, host = parse_key(key)
            found.setdefault(f"{kind}/{name}", []).append((host, said))
    return {key: tuple(sorted(each, key=lambda one: one[0])) for key, each in found.items()}


def _status(row: str, said: Said, retry: Retry | None) -> str:
    told = to_json([_condition(one, host) for host, conditions in said for one in conditions])
    parts = [row[1:-1]] if row not in ("", "{}") else []
    parts.append(f'"conditions":{told}')
    if retry is not None:
        failed = {
            "attempts": retry.attempts,
            "notBefore": stamp(retry.not_before),
            "terminal": retry.terminal,
            "message": retry.message,
        }
        parts.append(f'"retry":{to_json(failed)}')
    return "{" + ",".join(parts) + "}"


def _condition(one: Condition, host: str) -> dict[str, Any]:
    told = {
        "type": one.type,
        "status": str(one.status),
        "reason": one.reason,
        "message": one.message,
        "lastTransitionTime": stamp(one.last_transition_time),
        "observedGeneration": one.observed_generation,
    }
    return {"host": host, **told} if host else told
