"""`reconciler hosts`: what an operator vouches for about a host that does not answer."""

from __future__ import annotations

import click

from reconciler import operators
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_host
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.observed.fleet import Observer

_SEE_HOSTS = "see: reconciler get hosts"


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
@click.argument("host", shell_complete=complete_host)
@options
@remotely
def assume_empty(app: App, host: str) -> None:
    """HOST never carried a machine of ours: it no longer holds up new machines."""
    if app.remote is not None:
        click.echo(app.remote.vouch(host, "assume-empty"))
        return
    if host not in app.hosts():
        raise UsageError(f"{host!r} is not in the inventory", hint=_SEE_HOSTS)
    _refuse_living(app, host)
    click.echo(operators.assume_empty(app.store, host))


@hosts.command(
    "declare-dead",
    epilog="""\b
Example:
  reconciler hosts declare-dead rack3-host7 --yes""",
)
@click.argument("host", shell_complete=complete_host)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options
@remotely
def declare_dead(app: App, host: str, yes: bool) -> None:
    """HOST is off and stays off: its machines may be started elsewhere.

    Be sure that it is without power or cut off from its storage. If it still runs, its machines will
    exist twice.
    """
    if app.remote is not None:
        told = app.remote.consequence(host)
    else:
        if host not in app.hosts() and not operators.machines_on(app.store, host):
            raise UsageError(f"{host!r} is neither in the inventory nor on record", hint=_SEE_HOSTS)
        _refuse_living(app, host)
        told = operators.consequence(app.store, host)
    if not yes and not click.confirm(f"{told}. Is {host} surely off?"):
        click.echo("Nothing was done.")
        raise click.exceptions.Exit(1)
    if app.remote is not None:
        click.echo(app.remote.vouch(host, "declare-dead"))
    else:
        click.echo(operators.declare_dead(app.store, host))


@hosts.command("withdraw")
@click.argument("host", shell_complete=complete_host)
@options
@remotely
def withdraw(app: App, host: str) -> None:
    """Take back what was vouched for HOST."""
    click.echo(app.remote.vouch(host, "withdraw") if app.remote else operators.withdraw(app.store, host))


def _refuse_living(app: App, host: str) -> None:
    """Refuse for a host that shows a sign of life: what it carries may well run."""
    described = app.hosts().get(host)
    if described is None:
        return
    observer = Observer(app.loaded.config.owner)
    try:
        seen = observer.observe({host: described})[host]
    finally:
        observer.close()
    operators.refuse_living(host, seen.status, seen.message)
