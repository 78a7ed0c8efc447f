"""What every backend of the store offers, and the small values that only the store speaks of.

The store keeps what must outlive the process and is not desired state.  Losing it loses no ownership:
that travels in the mark on each domain.  Times are seconds since the epoch, UTC, and are always given
by the caller: the store never reads a clock.

Every method may be called from any thread, and raises `StoreError` when the backend cannot do it.
Mappings that are handed out are snapshots: the same object as long as nothing changed, never altered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from reconciler.errors import StoreError
from reconciler.model.placement import AddressRecord, ClaimRecord, ImageKey, Record, VolumeRecord
from reconciler.model.plan import ActionResult
from reconciler.model.readiness import GuestRecord, ProvisionRecord
from reconciler.model.request import Request, RequestOutcome, RequestRecord
from reconciler.model.status import Condition, Event, Retry
from reconciler.store.base_access import AccessStore
from reconciler.store.base_api import ApiStore
from reconciler.store.base_deletions import DeletionStore
from reconciler.store.base_ids import IdStore
from reconciler.store.base_leases import LeaseStore
from reconciler.store.base_watch import WatchStore


class Subject(StrEnum):
    """What a condition is said of."""

    VM = "vm"
    HOST = "host"


class HostWord(StrEnum):
    """What an operator vouched for about a host that does not answer.

    ``EMPTY``: nothing of ours was ever there.  ``DEAD``: whatever was there runs no more, so it may be
    placed elsewhere.  Both end by themselves when the host answers.
    """

    EMPTY = "empty"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Conflict:
    """An intent that would have put a machine, or a domain's uid, in two places."""

    wanted: Record
    existing: Record


class IntentConflictError(StoreError):
    """Intents contradict what is on record; none of the batch was committed. `.conflicts` lists all."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        self.conflicts = tuple(conflicts)
        told = "; ".join(
            f"{c.wanted.vm} on {c.wanted.host} (uid {c.wanted.uid}), "
            f"but {c.existing.vm} is {c.existing.phase} on {c.existing.host} (uid {c.existing.uid})"
            for c in self.conflicts
        )
        super().__init__(f"intents that contradict the store were not committed: {told}")


@dataclass(frozen=True, slots=True)
class Run:
    """An apply that was begun and not finished: its process died, or still works.

    Attributes:
        id: The run.
        started: When.
        plan: The plan as JSON, the text that `Store.begin_run` was given.
        results: What was known of its actions, by action id; one that is missing may have happened.
    """

    id: str
    started: float
    plan: str
    results: Mapping[str, ActionResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tick:
    """What the last tick said of itself."""

    time: float
    sentence: str
    revision: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that alone may act on the store: its id, its machine, since when and what for."""

    pid: int
    machine: str
    since: float
    purpose: str


class Store(AccessStore, ApiStore, DeletionStore, IdStore, LeaseStore, WatchStore, Protocol):
    """State that outlives the process."""

    def close(self) -> None:
        """Let go of the backend. Closing twice is harmless."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, durable: whatever this thread writes inside is committed at its end, or not at all.

        Transactions nest: the outermost commits.  Other threads wait, so keep it short.
        """

    # Exclusive use

    def hold(self, purpose: str) -> AbstractContextManager[None]:
        """Be the only one that acts on this store, for as long as the process lives at most.

        Args:
            purpose: The command, for people: ``reconciler run``.

        Raises:
            BusyError: Another process, or this one, holds it; the message says who.
        """

    def holder(self) -> Holder | None:
        """Who holds the store now."""

    # Whereabouts

    def records(self) -> Mapping[str, Record]:
        """Every machine's record by name."""

    def commit_intents(self, intents: Iterable[Record], *, void: Collection[str] = ()) -> None:
        """Commit where machines are about to be, all or none, durably, before anything is pushed.

        A machine on record keeps its uid and host, and a uid keeps its machine, unless the machine of
        that record is named in `void`: then the caller vouches that the old record means nothing
        any more (its host is declared dead, its uid was never pushed), and it goes.

        Raises:
            IntentConflictError: An intent contradicts a record that is not void.
        """

    def put_records(self, records: Iterable[Record]) -> None:
        """Write down what a host's own mark proves; it wins over whatever is on record."""

    def delete_records(self, vms: Iterable[str]) -> None:
        """Forget machines; those not on record are ignored."""

    # Addresses

    def addresses(self) -> frozenset[AddressRecord]:
        """Every address that a machine has, or may be about to get."""

    def put_addresses(self, records: Iterable[AddressRecord]) -> None:
        """Remember these too; what is known already costs nothing."""

    def drop_addresses(self, records: Iterable[AddressRecord]) -> None:
        """Forget these."""

    # Volumes

    def volumes(self) -> Mapping[str, VolumeRecord]:
        """What is known of volumes with a life of their own, by name."""

    def put_volumes(self, records: Iterable[VolumeRecord]) -> None:
        """Write records, one for each volume; one that is equal costs nothing."""

    def delete_volumes(self, volumes: Iterable[str]) -> None:
        """Forget volumes; those not on record are ignored."""

    def claims(self) -> frozenset[ClaimRecord]:
        """The claims that this installation made."""

    def put_claims(self, records: Iterable[ClaimRecord]) -> None:
        """Remember claims; one that is known costs nothing."""

    def delete_claims(self, records: Iterable[ClaimRecord]) -> None:
        """Forget claims; those not on record are ignored."""

    # The journal of an apply

    def begin_run(self, run: str, plan: str, now: float) -> None:
        """Remember that `plan` (JSON) is about to be carried out."""

    def finish_action(self, run: str, *results: ActionResult) -> None:
        """Remember what became of actions. The last word on an action counts."""

    def finish_run(self, run: str) -> None:
        """Everything that the run did is on record elsewhere: its journal is dropped."""

    def unfinished_runs(self) -> tuple[Run, ...]:
        """Runs that were begun and not finished, oldest first."""

    # Events

    def add_events(self, events: Iterable[Event]) -> None:
        """Append events; their `id` is given here. The oldest go when there are too many."""

    def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        vm: str | None = None,
        host: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> tuple[Event, ...]:
        """The newest events, newest first, or with `oldest_first` the next ones after an id.

        Args:
            after: Only events with a greater id.
            before: Only events with a smaller id.
            vm: Only of this machine.
            host: Only of this host.
            limit: At most so many.
            oldest_first: In the order they happened, for one who follows along.
        """

    # Conditions

    def conditions(self, subject: Subject) -> Mapping[str, tuple[Condition, ...]]:
        """The conditions of every machine, or of every host, by name; each tuple ordered by type."""

    def set_conditions(
        self, subject: Subject, conditions: Mapping[str, Sequence[Condition]], *, complete: bool = False
    ) -> Mapping[str, tuple[Condition, ...]]:
        """Replace the conditions of the subjects named; a condition whose status stays keeps its time.

        Args:
            subject: Machines or hosts.
            conditions: All conditions of each one named.
            complete: Those not named are gone.

        Returns:
            Only the subjects whose conditions changed (gone: an empty tuple).  When it is empty,
            nothing was written.
        """

    # Retries

    def retries(self) -> Mapping[str, Retry]:
        """Machines that failed, by name."""

    def put_retries(self, retries: Iterable[Retry]) -> None:
        """Remember failures, one for each machine."""

    def clear_retries(self, vms: Iterable[str]) -> None:
        """These work again, or are gone."""

    # Hosts

    def seen(self) -> frozenset[str]:
        """Hosts that have answered at least once since this store was made."""

    def mark_seen(self, hosts: Iterable[str], now: float) -> frozenset[str]:
        """These hosts answered, so whatever an operator said of them is over.

        Returns:
            The hosts for which a word ended.
        """

    def words(self) -> Mapping[str, HostWord]:
        """What operators vouched for, by host."""

    def assume_empty(self, host: str, now: float) -> None:
        """An operator vouches that nothing of ours was ever on this host that does not answer."""

    def declare_dead(self, host: str, now: float) -> None:
        """An operator vouches that this host is off for good: its machines may be placed elsewhere."""

    def withdraw(self, host: str) -> None:
        """The operator takes it back."""

    # Images

    def image_uses(self) -> Mapping[ImageKey, float]:
        """When each version of an image that we brought was needed last."""

    def note_image_uses(self, keys: Iterable[ImageKey], now: float) -> None:
        """These are needed now."""

    def forget_images(self, keys: Iterable[ImageKey]) -> None:
        """These are gone; those not on record are ignored."""

    # Guests

    def guests(self) -> Mapping[str, GuestRecord]:
        """What is known of the readiness of running machines, by uid."""

    def set_guests(self, records: Iterable[GuestRecord]) -> None:
        """These are all that is known; when that is nothing new, nothing is written."""

    def provisions(self) -> Mapping[tuple[str, str], ProvisionRecord]:
        """What became of playbooks that are run once, by uid and the digest of the playbook's path."""

    def put_provisions(self, records: Iterable[ProvisionRecord]) -> None:
        """Remember these, durably."""

    def forget_provisions(self, keys: Iterable[tuple[str, str]]) -> None:
        """These are to be run again, or their machines are gone; those not on record are ignored."""

    # Requests

    def add_request(self, request: Request, by: str, now: float) -> int:
        """Ask the daemon for an act, durably; its id. The caller need not hold the store."""

    def request(self, number: int) -> RequestRecord | None:
        """The request of this id, or None if there is none any more."""

    def requests(self, *, vm: str | None = None, limit: int = 100) -> tuple[RequestRecord, ...]:
        """The newest requests, newest first; with `vm` only those for this machine."""

    def open_requests(self) -> tuple[RequestRecord, ...]:
        """Those that are not final, in the order in which they were asked."""

    def begin_request(self, number: int, now: float) -> bool:
        """Take a pending request, durably. False: it is none any more, and must not be carried out."""

    def cancel_request(self, number: int, message: str, now: float) -> bool:
        """Take a pending request back. False: it is none any more, so it goes on."""

    def end_request(self, number: int, outcome: RequestOutcome, now: float) -> bool:
        """Write what became of a running request, durably. False: it does not run."""

    # The last tick

    def last_tick(self) -> Tick | None:
        """What the last tick said."""

    def put_tick(self, tick: Tick) -> None:
        """Remember what this tick said."""
