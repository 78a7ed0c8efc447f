"""`reconciler snapshot`, `snapshots`, `restore` and `delete-snapshot`."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from click.shell_completion import CompletionItem

from reconciler.cli.act import Manner, act, asks, may_be_asked
from reconciler.cli.app import App, options, output_option
from reconciler.cli.completion import complete_machine, installation
from reconciler.cli.listing import Item, Listing, Row, print_list, seen
from reconciler.cli.server import remotely
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.envelope import check_identifier
from reconciler.model.request import Act, Request
from reconciler.requests import known_snapshots


def complete_snapshot(ctx: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of the machine's snapshots that begin as typed. A mistake anywhere completes nothing."""
    try:
        app = installation(ctx)
        with app.engine() as engine:
            look = engine.look()
        known = known_snapshots(look, _key(ctx.params["machine"]))
    except (ReconcilerError, KeyError):
        return []
    return [CompletionItem(one.name) for one in known if one.name.startswith(typed)]


@click.command(
    epilog="""\b
Examples:
  reconciler snapshot web-1
  reconciler snapshot web-1 --name before-upgrade
  reconciler snapshot volume/data --name monday"""
)
@click.argument("machine", metavar="VM|volume/NAME", shell_complete=complete_machine)
@click.option("--name", metavar="NAME", help="Name of the snapshot [the time of day].")
@asks
@may_be_asked
@options
@remotely
def snapshot(app: App, machine: str, name: str | None, yes: bool, output: str, no_wait: bool) -> int:
    """Keep the state of all disks of a machine, and the memory of one that runs, to go back to.

    It lies inside of the machine's own qcow2 disks: it is no backup, and goes with them. A machine with
    any other disk is refused, since half of its state would be of no use; so is one with a Volume, which
    has snapshots of its own: volume/NAME, while nothing has it open.
    """
    chosen = _checked(name) if name else f"at-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    return act(app, Manner(yes, output, wait=not no_wait), Request(Act.SNAPSHOT, _key(machine), chosen))


@click.command(
    epilog="""\b
Example:
  reconciler snapshots web-1"""
)
@click.argument("machine", metavar="VM|volume/NAME", shell_complete=complete_machine)
@output_option
@options
@remotely
def snapshots(app: App, machine: str, output: str) -> None:
    """List the snapshots of a machine or volume, oldest first."""
    nothing = f"{machine} has no snapshots"
    headings = ("NAME", "TAKEN", "STATE", "MEMORY", "CURRENT")
    print_list(seen(app, "snapshots", _key(machine)), Listing(headings, _row, nothing), output)


def _row(one: Item) -> Row:
    memory, current = "yes" if one["memory"] else "no", "*" if one["current"] else ""
    return (one["name"], one["created"], str(one["state"]), memory, current)


@click.command(
    epilog="""\b
Examples:
  reconciler restore web-1 before-upgrade
  reconciler snapshots web-1              # which there are"""
)
@click.argument("machine", metavar="VM|volume/NAME", shell_complete=complete_machine)
@click.argument("name", metavar="SNAPSHOT", shell_complete=complete_snapshot)
@asks
@may_be_asked
@options
@remotely
def restore(app: App, machine: str, name: str, yes: bool, output: str, no_wait: bool) -> int:
    """Put a machine or a volume back to a snapshot. What was written since then is lost.

    The desired state stays as it is: what it says otherwise than the machine of then is put right by the
    next apply or the daemon.
    """
    return act(app, Manner(yes, output, wait=not no_wait), Request(Act.RESTORE, _key(machine), name))


@click.command(
    "delete-snapshot",
    epilog="""\b
Example:
  reconciler delete-snapshot web-1 before-upgrade""",
)
@click.argument("machine", metavar="VM|volume/NAME", shell_complete=complete_machine)
@click.argument("name", metavar="SNAPSHOT", shell_complete=complete_snapshot)
@asks
@may_be_asked
@options
@remotely
def delete_snapshot(app: App, machine: str, name: str, yes: bool, output: str, no_wait: bool) -> int:
    """Delete a snapshot. The machine stays as it is."""
    return act(app, Manner(yes, output, wait=not no_wait), Request(Act.DELETE_SNAPSHOT, _key(machine), name))


def _key(what: str) -> str:
    """``Volume/data`` of ``volume/data``; a machine's name as it is."""
    kind, slash, name = what.partition("/")
    if not slash:
        return what
    if kind.lower() not in ("volume", "virtualmachine") or not name:
        raise UsageError(f"{what!r} has no snapshots", hint="name a machine, or volume/NAME")
    return name if kind.lower() == "virtualmachine" else f"Volume/{name}"


def _checked(name: str) -> str:
    try:
        return check_identifier(name)
    except ValueError as error:
        raise UsageError(f"{name!r} is no name for a snapshot: {error}") from error
