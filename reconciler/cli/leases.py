"""`reconciler checkout`, `checkin`, `extend` and `leases`: machines of pools, lent for a time."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.ask import asker
from reconciler.cli.completion import installation
from reconciler.cli.listing import Item, Listing, Row, print_list
from reconciler.cli.server import remotely
from reconciler.errors import NotFoundError, ReconcilerError, UsageError
from reconciler.leasing import Leasing, Ticket, Wish
from reconciler.leasing.shown import show_lease
from reconciler.model.pool import Lease
from reconciler.model.units import parse_duration

_API = "/api/v1"
_LEAVING = 2.0
"""Seconds in which a place in line is given up, for whoever stands behind."""


def complete_pool(ctx: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of pools that begin as typed. A mistake anywhere completes nothing."""
    try:
        names = installation(ctx).source.read().machine_pools
    except ReconcilerError:
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(typed)]


def complete_lease(ctx: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Machines that are lent."""
    try:
        leases = installation(ctx).store.leases()
    except ReconcilerError:
        return []
    return [CompletionItem(one.vm, help=one.holder) for one in leases if one.vm.startswith(typed)]


class Span(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """A time such as 2h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog="""\b
Examples:
  reconciler checkout runners --ttl 2h --purpose "build 4711"
  reconciler checkout runners --wait 10m -o json"""
)
@click.argument("pool", shell_complete=complete_pool)
@click.option("--ttl", type=Span(), help="For how long [the pool's lease.timeout].")
@click.option("--purpose", default="", metavar="TEXT", help="Why, for people.")
@click.option("--holder", default="", metavar="NAME", help="For whom [you].")
@click.option("--wait", type=Span(), default=0, help="Wait in line for so long, if there is none.")
@output_option
@options
@remotely
def checkout(app: App, pool: str, output: str, wait: int, **about: Any) -> None:
    """Take a machine of a pool: it is yours alone until you check it in, or its time is over."""
    if app.remote is not None:
        shown = _ask_for(app, pool, wait, about)
    else:
        leasing = Leasing(app.store, app.kept.read)
        wish = Wish(pool, asker(), about["holder"], about["purpose"], about["ttl"])
        shown = _show(app, _in_line(leasing, wish, wait) if wait else leasing.checkout(wish))
    if output == "json":
        print_json(shown)
        return
    places = ", ".join(shown["addresses"]) or "no address known yet"
    click.echo(f"{shown['vm']} ({places}) is {shown['holder']}'s until {shown['expires']}")
    click.echo(f"To give it back: reconciler checkin {shown['vm']}", err=True)


@click.command(
    epilog="""\b
Examples:
  reconciler checkin runners-3
  reconciler checkin 0c9e1f0a7be2d94b5a0f8d11"""
)
@click.argument("lease", metavar="LEASE|VM", shell_complete=complete_lease)
@options
@remotely
def checkin(app: App, lease: str) -> None:
    """Give a machine back: it is made ready for the next one."""
    if app.remote is not None:
        found = _remote_lease(app, lease)
        app.remote.client.checkin(found["id"])
    else:
        leasing = Leasing(app.store, app.kept.read)
        found = _show(app, leasing.checkin(_local_lease(leasing, lease).id, asker()))
    click.echo(f"{found['vm']} was {found['holder']}'s, and is made ready for the next one.")


@click.command(
    epilog="""\b
Example:
  reconciler extend runners-3 --ttl 1h"""
)
@click.argument("lease", metavar="LEASE|VM", shell_complete=complete_lease)
@click.option("--ttl", type=Span(), required=True, help="For how long from now on.")
@output_option
@options
@remotely
def extend(app: App, lease: str, ttl: int, output: str) -> None:
    """Keep a machine for so long from now on, within what its pool lends in all."""
    if app.remote is not None:
        found = _remote_lease(app, lease)
        shown = dict(app.remote.client.extend(found["id"], f"{ttl}s").data)
    else:
        leasing = Leasing(app.store, app.kept.read)
        shown = _show(app, leasing.extend(_local_lease(leasing, lease).id, ttl, asker()))
    if output == "json":
        print_json(shown)
        return
    click.echo(f"{shown['vm']} is {shown['holder']}'s until {shown['expires']}")


@click.command(
    epilog="""\b
Examples:
  reconciler leases
  reconciler leases --pool runners --holder ann -o json"""
)
@click.option("--pool", metavar="NAME", shell_complete=complete_pool, help="Only of this pool.")
@click.option("--holder", metavar="NAME", help="Only of this holder.")
@output_option
@options
@remotely
def leases(app: App, pool: str | None, holder: str | None, output: str) -> None:
    """List who has which machine, and until when; who is due first stands first."""
    if app.remote is not None:
        found: list[Mapping[str, Any]] = [one.data for one in app.remote.client.leases(pool or "")]
        found.sort(key=lambda one: (one["expires"], one["vm"]))
    else:
        found = [_show(app, one) for one in Leasing(app.store, app.kept.read).leases(pool)]
    print_list([one for one in found if holder in (None, one["holder"])], _LEASES, output)


def _row(one: Item) -> Row:
    return (one["vm"], one["pool"], one["holder"], one["expires"], one["id"], one["purpose"] or "-")


_LEASES = Listing(("VM", "POOL", "HOLDER", "EXPIRES", "LEASE", "PURPOSE"), _row, "no machine is leased")


def _show(app: App, lease: Lease) -> dict[str, Any]:
    return show_lease(app.store, lease, time.time(), machine=True)


def _in_line(leasing: Leasing, wish: Wish, seconds: int) -> Lease:
    """Wait in line; whoever interrupts this leaves it."""
    ticket = leasing.wait(wish, seconds)
    if not ticket.future.done():
        click.echo(f"waiting in line for a machine of {wish.pool} …", err=True)
    try:
        return ticket.future.result()
    except KeyboardInterrupt:
        _leave(leasing, ticket)
        raise


def _leave(leasing: Leasing, ticket: Ticket) -> None:
    leasing.leave(ticket)
    concurrent.futures.wait([ticket.future], _LEAVING)


def _local_lease(leasing: Leasing, named: str) -> Lease:
    """The lease of an id, or of a machine."""
    try:
        return leasing.lease(named)
    except NotFoundError:
        return leasing.lease_of(named)


def _remote_lease(app: App, named: str) -> Mapping[str, Any]:
    """Likewise, as the server tells it."""
    assert app.remote is not None  # noqa: S101 (the caller looked)
    client = app.remote.client
    for one in client.ask("GET", f"{_API}/leases", query={"vm": named}).data["items"]:
        return dict(one)
    try:
        return dict(client.ask("GET", f"{_API}/leases/{quote(named, safe='')}").data)
    except NotFoundError as error:
        raise NotFoundError(f"{named} is not leased", hint="see: reconciler leases") from error


def _ask_for(app: App, pool: str, wait: int, about: Mapping[str, Any]) -> dict[str, Any]:
    assert app.remote is not None  # noqa: S101 (the caller looked)
    if about["ttl"] == 0:
        raise UsageError("ttl is more than nothing, for example 2h")
    ttl = f"{about['ttl']}s" if about["ttl"] is not None else ""
    taken = app.remote.client.checkout(
        pool, ttl=ttl, holder=about["holder"], purpose=about["purpose"], wait=float(wait)
    )
    return dict(taken.data)
