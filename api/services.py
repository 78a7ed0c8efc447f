"""Everything that the app works with, injected: no resource finds a room by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from reconciler.model.access import Caller
from reconciler.model.api_config import ApiConfig
from reconciler.model.desired import DesiredState
from reconciler.model.plan import Plan
from reconciler.model.write import Write, Written
from reconciler.store.base import Store

P = ParamSpec("P")
T = TypeVar("T")


class Desired(Protocol):
    """The desired-state repository; see `reconciler.desired.writes.Repository`. Safe from any thread."""

    def read(self) -> DesiredState:
        """The newest desired state; what did not change is the identical object.

        Raises:
            DesiredStateError: It is refused.
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


class Planner(Protocol):
    """Looks at the hosts and plans, and changes nothing. Safe from any thread."""

    def plan(self, source: object | None = None) -> Plan:
        """What would be done now, or with another desired state (of `Desired.source_with`)."""


class Authenticator(Protocol):
    """Finds out who asks; see `api.auth`."""

    def authenticate(self, headers: Any, scope: Any) -> Caller:
        """Who asks.

        Raises:
            UnauthenticatedError: Nobody knows, or the credential is wrong.
            UnavailableError: Too many wrong ones came from there.
        """


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
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=32, thread_name_prefix="api")
    )

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))
