"""`reconciler get pools`, `get volumes`, `get disks` and `discard`: where bytes are."""

from __future__ import annotations

import click

from reconciler.belongings import carry_out, discarding, require_done
from reconciler.cli.app import App, options, output_option
from reconciler.cli.get import get
from reconciler.cli.listing import Item, Listing, Row, print_list, seen
from reconciler.cli.progress import Reporter
from reconciler.cli.server import remotely
from reconciler.model.units import format_size


@get.command("pools")
@output_option
@options
@remotely
def get_pools(app: App, output: str) -> None:
    """Storage pools of the hosts that answer: where they are, whose, and how full."""
    print_list(seen(app, "pools"), _POOLS, output)


def _pool(one: Item) -> Row:
    return (
        one["name"],
        one["host"],
        str(one["type"]),
        "yes" if one["active"] else "no",
        "yes" if one["ours"] else "no",
        "yes" if one["shared"] else "no",
        _free(one),
        str(one["path"] or one["source"] or "-"),
    )


def _free(pool: Item) -> str:
    return f"{_gib(pool['available'])} of {_gib(pool['capacity'])}" if pool["active"] else "-"


def _gib(size: object) -> str:
    return f"{size / (1 << 30):.1f}Gi" if isinstance(size, int) else "?"


_POOLS = Listing(
    ("NAME", "HOST", "TYPE", "ACTIVE", "OURS", "SHARED", "FREE", "WHERE"),
    _pool,
    "no host that answers has a storage pool",
)


@get.command(
    "volumes",
    epilog="""\b
Examples:
  reconciler get volumes
  reconciler get volumes --kept     # nobody declares them any more; `reconciler discard` deletes them""",
)
@click.option("--kept", is_flag=True, help="Only those that nobody declares any more.")
@output_option
@options
@remotely
def get_volumes(app: App, kept: bool, output: str) -> None:
    """Volumes with a life of their own: where they lie, how large, and who has them."""
    found = [one for one in seen(app, "volumes") if not (kept and one["declared"])]
    print_list(found, _VOLUMES, output)


def _volume(one: Item) -> Row:
    return (
        one["name"],
        one["host"] or "-",
        one["pool"] or "-",
        format_size(one["size"]) if one["size"] is not None else "-",
        ",".join(one["attached"]) or "-",
        one["policy"],
        one["status"],
    )


_VOLUMES = Listing(
    ("NAME", "HOST", "POOL", "SIZE", "ATTACHED", "POLICY", "STATUS"),
    _volume,
    "no volumes are declared, and none were kept",
)


@get.command(
    "disks",
    epilog="""\b
Examples:
  reconciler get disks
  reconciler get disks --kept     # whose machine is gone; `reconciler discard` deletes them""",
)
@click.option("--kept", is_flag=True, help="Only those that no machine has any more.")
@output_option
@options
@remotely
def get_disks(app: App, kept: bool, output: str) -> None:
    """Disks that were made for machines, and those that were kept when their machine went."""
    print_list([one for one in seen(app, "disks") if one["used"] == "no" or not kept], _DISKS, output)


_DISKS = Listing(
    ("MACHINE", "DISK", "HOST", "POOL", "USED", "VOLUME"),
    lambda one: (one["machine"], one["disk"], one["host"], one["pool"], one["used"], one["volume"]),
    "no disks were found",
)


@click.command(
    epilog="""\b
Examples:
  reconciler get disks --kept
  reconciler get volumes --kept
  reconciler discard kvm1/default/db.6a2f41a3-c54c-4cf1-8b3e-0123456789ab.root.qcow2"""
)
@click.argument("volume", metavar="HOST/POOL/NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options
@remotely
def discard(app: App, volume: str, yes: bool) -> None:
    """Delete a disk or volume that was kept, with its data. What any machine has or wants is refused.

    Only what carries our naming can be discarded; NAME is what `get disks` and `get volumes` show.
    """
    if app.remote is not None:
        if not yes:
            click.confirm(f"Delete {volume} and all data in it?", abort=True)
        app.remote.own("discard", volume)
        click.echo(f"{volume} is deleted.")
        return
    with app.engine() as engine:
        look = engine.look()
        plan = discarding(look, volume)
        if not yes:
            click.confirm(f"Delete {volume} and all data in it?", abort=True)
        require_done(carry_out(engine, look, plan, Reporter(len(plan.actions))))
    click.echo(f"{volume} is deleted.")
