"""What the API is made of, and how it is served: by `reconciler run` too, or by `reconciler api` alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from api.access import AccessLog
from api.app import create_app
from api.auth.gate import Gate
from api.auth.policy import check_start
from api.listening import listen
from api.server import Server
from api.services import Services
from api.tls import server_context
from reconciler.cli.app import App
from reconciler.cli.host_test import HostTest
from reconciler.desired.history import History
from reconciler.desired.last_good import LastGood
from reconciler.desired.writes import Repository
from reconciler.preview import Preview
from reconciler.service.api_metrics import ApiMetrics
from reconciler.store.sql import open_store

_log = logging.getLogger(__name__)


@contextmanager
def serving(
    app: App,
    address: str,
    wake: Callable[[str], object] = lambda _reason: None,
    *,
    reuse_port: bool = False,
    metrics: ApiMetrics | None = None,
    alive: Callable[[], object] = lambda: None,
) -> Iterator[Server]:
    """Serve the API within the block.

    Args:
        app: The installation.
        address: ``address:port``.
        wake: Tells a daemon in this process that there is something to do.
        reuse_port: Share the port with other processes.
        metrics: Where requests are counted, if there are others in this process.
        alive: Called every few seconds as long as the server's loop turns.

    Raises:
        UsageError: It must not be served there, or cannot be.
    """
    config = app.loaded.config.api
    for warning in check_start(config, address):
        _log.warning(warning)
    tls = server_context(config.tls, app.loaded.base) if config.tls is not None else None
    # A store of its own: whoever reads does not wait for a daemon's transaction in the same process.
    with services(app, wake) as made, closing(open_store(app.state_dir)) as store:
        guarded = replace(
            made, store=store, authenticator=Gate(store, config), metrics=metrics or made.metrics
        )
        if isinstance(made.desired, Repository):
            made.desired.on_group = guarded.metrics.grouped
        for one in (store, app.store):
            one.on_commit(guarded.hub.wake)
            one.on_commit(guarded.feeds.wake)
        sockets = listen(address, reuse_port=reuse_port)
        served = AccessLog(create_app(guarded), guarded.metrics)
        with Server(served, sockets, tls=tls, on_stop=guarded.stop_streams, alive=alive) as server:
            yield server


@contextmanager
def services(app: App, wake: Callable[[str], object] = lambda _reason: None) -> Iterator[Services]:
    """Everything that the API works with; connections are closed at the end.

    Args:
        app: The installation.
        wake: Tells a daemon in this process that there is something to do.
    """
    config = app.loaded.config
    history = History(*app.source_place)
    desired = repository(app)
    with app.engine() as engine:
        # While the newest is refused, plans are made of what everything else is answered from.
        engine.rooms = replace(engine.rooms, source=LastGood(app.source, desired.read))
        made = Services(
            config=config.api,
            owner=config.owner,
            store=app.store,
            desired=desired,
            planner=Preview(engine),
            wake=wake,
            committed=history.committed,
            contains=history.contains,
            test_host=HostTest(app),
        )
        try:
            yield made
        finally:
            made.threads.shutdown(wait=False, cancel_futures=True)


def repository(app: App) -> Repository:
    """The desired state, to be read and written."""
    config, base = app.source_place
    digests = app.state_dir / "image-digests.json"
    return Repository(config, base, app.loaded.config.api, digests, app.inventory_paths)
