"""What the store offers to those who only read along: statuses of objects, and what changed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Changes:
    """What moved in the store so far. The same object as long as nothing was committed by anybody.

    Attributes:
        store: A number of this very store: another one was made anew, and its ids mean something else.
        last_event: Id of the newest event; 0 if there was never one.
        pruned_event: Greatest id of an event that is not kept any more; 0 if all are.
        topics: How often what is read as a whole was written, by name (``statuses of VirtualMachine``,
            ``conditions of vm``, ``open_requests`` ...); a name that was never written is missing.
    """

    store: int
    last_event: int = 0
    pruned_event: int = 0
    topics: Mapping[str, int] = field(default_factory=dict)


def topic_of_statuses(subject: str) -> str:
    """The name under which statuses of a kind stand in `Changes.topics`."""
    return f"statuses of {subject}"


class WatchStore(Protocol):
    """Statuses, and what changed."""

    def changes(self) -> Changes:
        """What moved so far, by this process or another; so cheap that it may be asked often."""

    def on_commit(self, listener: Callable[[], object]) -> None:
        """Call this after each commit of this very object, in the thread that wrote; it returns at once."""

    def statuses(self, subject: str) -> Mapping[str, str]:
        """How the objects of one kind were seen last, as JSON text by name.

        Args:
            subject: Kind: ``VirtualMachine``, ``Host``, ``StoragePool``, ``Network``, ``Volume``, ``Image``.
        """

    def set_statuses(
        self, subject: str, statuses: Mapping[str, str], *, complete: bool = False
    ) -> frozenset[str]:
        """Write how objects were seen; where that is nothing new, nothing is written.

        Args:
            subject: Kind.
            statuses: JSON text by name.
            complete: Those not named are gone.

        Returns:
            The names whose status changed or is gone.
        """
