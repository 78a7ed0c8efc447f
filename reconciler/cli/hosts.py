"""`reconciler hosts`: what an operator vouches for about a host that does not answer."""

from __future__ import annotations

import time

import click

from reconciler.cli.app import App, options
from reconciler.errors import UsageError
from reconciler.model.status import Event


@click.group()
def hosts() -> None:
    """Vouch for hosts that do not answer (see `get hosts` for the list).

    A host that does not answer is unknown, not empty: what may run there is started nowhere else. Only
    a person can know better.
    """


@hosts.command(
    "assume-empty",
    epilog="""\b
Example:
  reconciler hosts assume-empty rack3-host7""",
)
@click.argument("host")
@options
def assume_empty(app: App, host: str) -> None:
    """HOST never carried a machine of ours: it no longer holds up new machines."""
    _in_inventory(app, host)
    now = time.time()
    app.store.assume_empty(host, now)
    app.store.add_events(
        [Event(now, "HostAssumedEmpty", "an operator says that it carries none of our machines", host=host)]
    )
    click.echo(f"{host} is taken to be empty until it answers.")


@hosts.command(
    "declare-dead",
    epilog="""\b
Example:
  reconciler hosts declare-dead rack3-host7 --yes""",
)
@click.argument("host")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options
def declare_dead(app: App, host: str, yes: bool) -> None:
    """HOST is off and stays off: its machines may be started elsewhere.

    Be sure that it is without power or cut off from its storage. If it still runs, its machines will
    exist twice.
    """
    records = [record.vm for record in app.store.records().values() if record.host == host]
    if host not in app.hosts() and not records:
        raise UsageError(
            f"{host!r} is neither in the inventory nor on record", hint="see: reconciler get hosts"
        )
    if not yes:
        click.confirm(
            f"{len(records)} machines on record there may then start elsewhere. Is {host} surely off?",
            abort=True,
        )
    now = time.time()
    app.store.declare_dead(host, now)
    app.store.add_events(
        [Event(now, "HostDeclaredDead", "an operator says that it is off for good", host=host, warning=True)]
    )
    click.echo(
        f"{host} is taken to be dead until it answers; {len(records)} machines may be placed elsewhere."
    )


@hosts.command("withdraw")
@click.argument("host")
@options
def withdraw(app: App, host: str) -> None:
    """Take back what was vouched for HOST."""
    app.store.withdraw(host)
    click.echo(f"Nothing is vouched for {host} any more.")


def _in_inventory(app: App, host: str) -> None:
    if host not in app.hosts():
        raise UsageError(f"{host!r} is not in the inventory", hint="see: reconciler get hosts")
