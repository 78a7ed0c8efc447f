"""Everything that the app works with, injected: no resource finds a room by itself."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from api.feeds import Feeds
from api.hub import Hub
from api.views import Views
from reconciler.errors import DesiredStateError
from reconciler.leasing import Leasing
from reconciler.model.access import Caller
from reconciler.model.api_config import ApiConfig
from reconciler.model.desired import DesiredState
from reconciler.model.plan import Plan
from reconciler.model.snapshot import Snapshot
from reconciler.model.write import Data, Write, Written
from reconciler.service.api_metrics import ApiMetrics
from reconciler.store.base import Store
from reconciler.store.base_access import SessionRecord

P = ParamSpec("P")
T = TypeVar("T")


class Desired(Protocol):
    """The desired-state repository; see `reconciler.desired.writes.Repository`. Safe from any thread."""

    def read(self) -> DesiredState:
        """The newest desired state that is right: the last good one while a newer one is refused.

        What did not change is the identical object.

        Raises:
            DesiredStateError: It is refused, and none was right before.
        """

    def read_newest(self) -> DesiredState:
        """The newest desired state.

        Raises:
            DesiredStateError: It is refused.
        """

    @property
    def trouble(self) -> DesiredStateError | None:
        """Why the newest desired state was refused when it was looked at last; None if it was right."""

    def standing(self, key: str) -> Data | None:
        """An object as it stands in its file now, right or wrong. None: there is none.

        Raises:
            ConflictError: Nobody knows: a file that may have to do with it cannot be read.
        """

    def write(self, wish: Write) -> Written:
        """Commit one change. Wishes of many threads are committed together, each in a commit of its own.

        Raises:
            DesiredStateError: The body is refused, with every mistake in it.
            NotFoundError: There is no such object.
            ConflictError: It is there already, or its file must not be changed here.
            PreconditionError: It has another version.
        """

    def source_with(self, wish: Write) -> object:
        """The desired state with the change, not committed, for `Planner.plan`; raises as `write` does."""

    def text(self, key: str) -> str:
        """The object as it stands in its file, comments included.

        Raises:
            NotFoundError: There is no such object.
        """

    def host(self, name: str) -> Data:
        """A host's own variables as they stand in the inventory.

        Raises:
            NotFoundError: It stands in no inventory file that can be changed here.
            ConflictError: There is no such file.
        """

    def write_host(self, wish: Write) -> Written:
        """Change a host of the inventory; raises as `write` does."""


class Planner(Protocol):
    """Looks at the hosts and plans, and changes nothing. Safe from any thread."""

    def plan(self, source: object | None = None) -> Plan:
        """What would be done now, or with another desired state (of `Desired.source_with`)."""

    def snapshots(self, vm: str) -> Sequence[Snapshot]:
        """The snapshots that a machine has now.

        Raises:
            ReconcilerError: There is no such machine, or its host does not answer.
        """

    def show(self, view: str, about: str = "") -> object:
        """What a command shows, as plain data; see `reconciler.views`. Raises as `snapshots` does."""

    def host(self, name: str) -> tuple[str, str] | None:
        """How a host is now (a word of `HostStatus`), and what it said; None: the inventory has none."""


class Authenticator(Protocol):
    """Finds out who asks; see `api.auth`."""

    def authenticate(self, headers: Any, scope: Any) -> Caller:
        """Who asks.

        Raises:
            UnauthenticatedError: Nobody knows, or the credential is wrong.
            UnavailableError: Too many wrong ones came from there.
        """

    def begin_session(self, text: str, scope: Any) -> tuple[str, SessionRecord, Caller]:
        """Begin a browser's session with a token: the cookie's secret, its record, and whose it is."""

    def end_session(self, headers: Any, scope: Any) -> None:
        """End the session of this request, if it has one."""


@dataclass(frozen=True)
class Services:
    """What `create_app` is given.

    Attributes:
        config: The ``api`` part of the configuration.
        owner: Name of this installation.
        store: What outlives the process.
        desired: The desired-state repository.
        planner: For plans and dry runs.
        authenticator: Who asks; None lets everybody in as an admin, which only the loopback address may.
        clock: Epoch seconds.
        wake: Tells a daemon in this process that there is something to do.
        committed: Looks for a commit whose message has this line: its revision, or None.
        contains: Whether the first revision has everything of the second one.
        test_host: Connects to a host of that name with these variables, and says what stands in the way.
        metrics: Where requests are counted.
        threads: Blocking work runs here, never in the event loop.
    """

    config: ApiConfig
    owner: str
    store: Store
    desired: Desired
    planner: Planner
    authenticator: Authenticator | None = None
    clock: Callable[[], float] = time.time
    wake: Callable[[str], object] = lambda _reason: None
    committed: Callable[[str], str | None] = lambda _line: None
    contains: Callable[[str, str], bool] = lambda revision, other: revision == other
    metrics: ApiMetrics = field(default_factory=ApiMetrics)
    test_host: Callable[[str, Data], Sequence[str]] = lambda _name, _variables: ()
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=64, thread_name_prefix="api")
    )

    @functools.cached_property
    def leasing(self) -> Leasing:
        """Lends machines of pools: one for the process, so that many wishes share a commit."""
        return Leasing(self.store, self.desired.read, self.clock)

    @functools.cached_property
    def feeds(self) -> Feeds:
        """Tells those who watch how objects change."""
        return Feeds(self.views)

    def stop_streams(self) -> None:
        """End what would never end by itself, when the server stops."""
        self.hub.stop()
        self.feeds.stop()

    @functools.cached_property
    def hub(self) -> Hub:
        """Tells those who watch what happens."""
        return Hub(self.store)

    @functools.cached_property
    def views(self) -> Views:
        """Objects as they are answered, each written once."""
        return Views(self.desired, self.store)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))
