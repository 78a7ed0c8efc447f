"""`reconciler hosts`: what an operator vouches for about a host that does not answer."""

from __future__ import annotations

import time

import click

from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_host
from reconciler.errors import UsageError
from reconciler.model.host import HostStatus
from reconciler.model.placement import Phase
from reconciler.model.status import Event
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
def assume_empty(app: App, host: str) -> None:
    """HOST never carried a machine of ours: it no longer holds up new machines."""
    if host not in app.hosts():
        raise UsageError(f"{host!r} is not in the inventory", hint=_SEE_HOSTS)
    _refuse_living(app, host)
    held = _machines(app, host)
    if held:
        raise UsageError(
            f"{host} carries {_some(held)} on record: it is not empty",
            hint=f"if it is off for good: reconciler hosts declare-dead {host}",
        )
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
@click.argument("host", shell_complete=complete_host)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options
def declare_dead(app: App, host: str, yes: bool) -> None:
    """HOST is off and stays off: its machines may be started elsewhere.

    Be sure that it is without power or cut off from its storage. If it still runs, its machines will
    exist twice.
    """
    held = _machines(app, host)
    if host not in app.hosts() and not held:
        raise UsageError(f"{host!r} is neither in the inventory nor on record", hint=_SEE_HOSTS)
    _refuse_living(app, host)
    told = "nothing is on record there"
    if held:
        told = f"{_some(held)} may start elsewhere, from a fresh disk"
    if not yes and not click.confirm(f"{told}. Is {host} surely off?"):
        click.echo("Nothing was done.")
        raise click.exceptions.Exit(1)
    now = time.time()
    app.store.declare_dead(host, now)
    message = "an operator says that it is off for good"
    app.store.add_events([Event(now, "HostDeclaredDead", message, host=host, warning=True)])
    click.echo(f"{host} is taken to be dead until it answers; {told}.")


@hosts.command("withdraw")
@click.argument("host", shell_complete=complete_host)
@options
def withdraw(app: App, host: str) -> None:
    """Take back what was vouched for HOST."""
    app.store.withdraw(host)
    click.echo(f"Nothing is vouched for {host} any more.")


def _machines(app: App, host: str) -> list[str]:
    """Machines that are on record as running on a host, or about to."""
    living = (Phase.PLACED, Phase.INTENDED)
    return sorted(r.vm for r in app.store.records().values() if r.host == host and r.phase in living)


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
    if seen.known:
        raise UsageError(f"{host} answers: there is nothing to vouch for")
    # A host without power may answer nothing at all, or too late; whatever else it says, it says it alive.
    if seen.status not in (HostStatus.UNREACHABLE, HostStatus.SLOW):
        raise UsageError(
            f"{host} is alive, it just cannot be used ({seen.status}): {seen.message}",
            hint=f"mend it, see: reconciler doctor {host}; or cut its power first",
        )


def _some(machines: list[str]) -> str:
    shown = ", ".join(machines[:5])
    return f"{shown} and {len(machines) - 5} more" if len(machines) > 5 else shown
