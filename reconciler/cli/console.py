"""`reconciler console`: the serial console of a machine, on this terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import time
import tty
from collections.abc import Iterator

import click

from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.model.status import Event
from reconciler.observed.console import Console
from reconciler.requests import domain_of


@click.command(
    epilog="""\b
Examples:
  reconciler console web-1           # ^] leaves
  reconciler console web-1 --force   # even if somebody else is on it
  echo uptime | reconciler console web-1 --linger 3"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@click.option("--force", is_flag=True, help="Take the console from whoever has it.")
@click.option(
    "--linger",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="After the end of the input, go on printing for so long [0].",
)
@options
def console(app: App, machine: str, force: bool, linger: float) -> None:
    """Attach this terminal to the serial console of a machine, through the connection to its host.

    Press ^] (control and the closing bracket) to leave. Nothing has to be installed on the host.
    """
    with app.engine() as engine:
        look = engine.look()
    domain = domain_of(look, machine)

    def show(text: bytes) -> None:
        _all(sys.stdout.fileno(), text)

    with Console(look.hosts[domain.host], domain.uuid, show, force=force) as attached:
        app.store.add_events(
            [Event(time.time(), "ConsoleOpened", "a console was attached", machine, domain.host)]
        )
        click.echo(f"Attached to the console of {machine} on {domain.host}. Leave with ^]", err=True)
        with _raw(sys.stdin.fileno()):
            end = attached.follow(sys.stdin.fileno())
        if end == "end of input":
            time.sleep(linger)
    click.echo(f"\n{machine}: {end}", err=True)


def _all(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Give every key to the guest, and the terminal back as it was; what is no terminal stays as it is."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        yield
        return
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
