"""The store on SQL: its parts put together, and how it is opened."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from reconciler.store import holder, schema, sqlite
from reconciler.store.access import Access
from reconciler.store.addresses import Addresses
from reconciler.store.api import ApiAnswers, ApiOperations
from reconciler.store.base import Holder, Store
from reconciler.store.conditions import Conditions
from reconciler.store.deletions import Deletions
from reconciler.store.events import Events, Retention
from reconciler.store.guests import Guests
from reconciler.store.hosts import Hosts
from reconciler.store.ids import Ids
from reconciler.store.images import Images
from reconciler.store.journal import Journal
from reconciler.store.leases import Leases
from reconciler.store.records import Records
from reconciler.store.requests import Requests
from reconciler.store.retries import Retries
from reconciler.store.statuses import Statuses
from reconciler.store.volumes import Volumes
from reconciler.store.watch import Watch, name_store


class SqlStore(
    Records,
    Addresses,
    Journal,
    Events,
    Conditions,
    Retries,
    Hosts,
    Guests,
    Images,
    Volumes,
    Requests,
    Leases,
    ApiAnswers,
    ApiOperations,
    Access,
    Deletions,
    Ids,
    Statuses,
    Watch,
):
    """A store in one SQLite database.

    Args:
        folder: Made, private to its user, where it is missing.
        retention: How many events are kept.

    Raises:
        StoreError: It cannot be opened, or is of a newer version.
    """

    def __init__(self, folder: Path, *, retention: Retention = Events.retention) -> None:
        path = sqlite.prepare_folder(folder)
        super().__init__(sqlite.sqlite_engine(path), sqlite.data_version, sqlite.peek, str(path))
        self.retention = retention
        self._folder = folder
        with self._writing() as connection:
            schema.upgrade(connection)
            name_store(connection)

    def hold(self, purpose: str) -> AbstractContextManager[None]:
        """See `Store.hold`."""
        return holder.hold(self._folder, purpose)

    def holder(self) -> Holder | None:
        """See `Store.holder`."""
        return holder.holder(self._folder)


def open_store(state_dir: Path, *, retention: Retention = Events.retention) -> Store:
    """The store of `state_dir`, made or brought to this version where needed.

    Raises:
        StoreError: It cannot be opened, or is of a newer version.
    """
    return SqlStore(state_dir, retention=retention)
