"""`reconciler run`: the daemon."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from reconciler.cli.app import App, options
from reconciler.daemon import Daemon
from reconciler.requests import DAEMON
from reconciler.service import logs
from reconciler.service.api_metrics import ApiMetrics
from reconciler.service.metrics import Endpoint, Metrics
from reconciler.service.notify import Notifier, Watchdog
from reconciler.service.signals import stop_on_signals
from reconciler.service.wake import Waker


@click.command(
    epilog="""\b
Examples:
  reconciler run -s /srv/machines@main -i /etc/ansible/hosts
  reconciler run --period 10s --log-format json
See docs/systemd.md for the unit."""
)
@click.option("--period", metavar="DURATION", help="Time between ticks when nothing happens [60s].")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Form of the log [text].")
@click.option("--metrics", metavar="ADDRESS:PORT", help="Serve Prometheus metrics here.")
@options
def run(app: App, period: str | None, log_format: str | None, metrics: str | None) -> None:
    """Keep the machines as they are desired, until SIGTERM.

    Ticks when libvirt reports an event, when the desired state changes, and each period. SIGTERM lets the
    current action finish; a second one ends at once. Everything is safe to kill.
    """
    app.override_daemon(period=period, log_format=log_format, metrics=metrics)
    config = app.loaded.config.daemon
    logs.set_up(config.log_format)
    waker = Waker()
    notifier = Notifier(app.environment.notify_socket)
    interval = app.environment.watchdog_usec
    counted = Metrics()
    with ExitStack() as stack:
        stack.enter_context(app.store.hold(DAEMON))
        if config.metrics:
            stack.enter_context(Endpoint(counted, config.metrics))
        watchdog = stack.enter_context(Watchdog(notifier, interval / 1e6 if interval else None))
        engine = stack.enter_context(app.engine(on_change=lambda host: waker.wake(f"event:{host}")))

        def asked_to_stop(signal: str) -> None:
            engine.rooms.pusher.cancel()
            waker.wake(signal, urgent=True)

        stop = stack.enter_context(stop_on_signals(asked_to_stop))
        address, share = app.loaded.config.api.listen, app.loaded.config.api.reuse_port
        if address is not None:
            from reconciler.cli.serving import serving  # noqa: PLC0415 - only where it is served

            stack.enter_context(
                serving(app, address, waker.wake, metrics=ApiMetrics(counted.registry), reuse_port=share)
            )
        Daemon(engine, waker, notifier, watchdog, counted).run(stop)
    sys.stdout.flush()
