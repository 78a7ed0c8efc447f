"""`reconciler api`: the REST API alone, beside a daemon or others of its kind."""

from __future__ import annotations

from typing import Literal

import click

from reconciler.cli.app import App, options
from reconciler.errors import UsageError
from reconciler.service import logs
from reconciler.service.notify import Notifier, Watchdog
from reconciler.service.signals import stop_on_signals
from reconciler.service.wake import Waker

_LONG = 3600.0

LONGEST_SILENCE = 60.0
"""Seconds without a turn of the server's loop after which systemd's watchdog thinks us dead."""


@click.command(
    epilog="""\b
Examples:
  reconciler api --listen 127.0.0.1:8440
  reconciler api --listen :8440 --reuse-port    # as often as you like, beside `reconciler run`"""
)
@click.option("--listen", metavar="ADDRESS:PORT", help="Serve here [api.listen].")
@click.option(
    "--reuse-port", is_flag=True, help="Share the port with other processes that say so too [api.reusePort]."
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Form of the log [text].")
@options
def api(app: App, listen: str | None, reuse_port: bool, log_format: Literal["text", "json"] | None) -> None:
    """Serve the REST API, until SIGTERM.

    Alone it changes what is desired, and asks for acts; a daemon (`reconciler run`) on the same state
    directory carries them out. Any number of these may run side by side; each may be killed at any moment.
    """
    from reconciler.cli.serving import serving  # noqa: PLC0415 - no other command needs a web framework

    config = app.loaded.config
    address = listen or config.api.listen
    if address is None:
        raise UsageError("nothing says where to serve the API", hint="give --listen, or set api.listen")
    logs.set_up(log_format or config.daemon.log_format)
    waker = Waker()
    notifier = Notifier(app.environment.notify_socket)
    interval = app.environment.watchdog_usec
    with (
        Watchdog(notifier, interval / 1e6 if interval else None) as watchdog,
        stop_on_signals(lambda signal: waker.wake(signal, urgent=True)) as stop,
        serving(
            app,
            address,
            reuse_port=reuse_port or config.api.reuse_port,
            alive=lambda: watchdog.promise(LONGEST_SILENCE),
        ),
    ):
        notifier.ready(f"the API is served on {address}")
        while not stop.requested:
            waker.wait(_LONG)
        notifier.stopping(f"stopping: {stop.reason}")
