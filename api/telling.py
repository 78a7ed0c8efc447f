"""Events as they are told: as JSON, to whom, and under which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api import sse
from api.cursor import Cursor, Gap
from api.hub import Told
from api.kinds import ALL
from api.services import Services
from api.views import stamp
from reconciler.errors import DesiredStateError
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.placement import parse_key
from reconciler.model.status import Event


def event_data(event: Event) -> dict[str, object]:
    """An event as JSON."""
    return {
        "id": event.id,
        "time": stamp(event.time),
        "reason": event.reason,
        "message": event.message,
        "vm": event.vm,
        "host": event.host,
        "warning": event.warning,
        "revision": event.revision,
    }


def thing_of(event: Event, labels: Mapping[str, str]) -> Thing:
    """What an event is about: its machine or other object, else its host, else nothing in particular."""
    if event.vm:
        kind, name, _host = parse_key(event.vm)
        return Thing(kind, name, labels)
    return Thing("Host", event.host, labels) if event.host else Thing("Event")


class Teller:
    """Writes events for watchers. Safe from any thread."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def event(self, event: Event, cursor: Cursor) -> bytes:
        """An event."""
        return sse.message(event_data(event), id_=str(cursor))

    def gap(self, missing: Gap, cursor: Cursor) -> bytes:
        """That some are missing."""
        return sse.message(missing.as_data(), event="gap", id_=str(cursor))

    def labels(self, event: Event) -> Mapping[str, str]:
        """Labels of the object that an event is about; none for one that is not there any more. Blocks."""
        if not event.vm:
            return {}
        kind, name, _host = parse_key(event.vm)
        try:
            found = ALL[kind].objects(self._services.desired.read()).get(name) if kind in ALL else None
        except DesiredStateError:
            return {}
        return found.metadata.labels if found is not None else {}


@dataclass(frozen=True, slots=True)
class Wants:
    """Which events one caller wants, and may see.

    Attributes:
        caller: Who asks.
        vm: Only of this machine, or other object.
        host: Only of this host.
        warning: Only warnings, or only others; None for both.
    """

    caller: Caller
    vm: str | None = None
    host: str | None = None
    warning: bool | None = None
    everything: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", self.caller.may(Role.VIEWER))

    @property
    def labelled(self) -> bool:
        """Whether the caller may see an event depends on labels."""
        return not self.everything and any(grant.labels for grant in self.caller.grants)

    def __call__(self, told: Told) -> bool:
        """Whether this is for them. Everybody learns that something is missing."""
        return told.event is None or self.takes(told.event, told.labels)

    def takes(self, event: Event, labels: Mapping[str, str]) -> bool:
        """Whether this event is for them."""
        return (
            (self.vm is None or event.vm == self.vm)
            and (self.host is None or event.host == self.host)
            and (self.warning is None or event.warning is self.warning)
            and (self.everything or self.caller.may(Role.VIEWER, thing_of(event, labels)))
        )
