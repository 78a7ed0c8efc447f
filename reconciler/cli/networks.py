"""`reconciler get networks`: where they are, of what mode, and whose."""

from __future__ import annotations

from reconciler.cli.app import App, options, output_option
from reconciler.cli.get import get
from reconciler.cli.listing import Item, Listing, Row, print_list, seen
from reconciler.cli.server import remotely


@get.command("networks")
@output_option
@options
@remotely
def get_networks(app: App, output: str) -> None:
    """Networks of the hosts that answer: of what mode, whose, and with which subnet."""
    print_list(seen(app, "networks"), _NETWORKS, output)


def _row(one: Item) -> Row:
    return (
        one["name"],
        one["host"],
        str(one["mode"]),
        "yes" if one["active"] else "no",
        "yes" if one["ours"] else "no",
        str(one["bridge"] or "-"),
        str(one["subnet"] or "-"),
        str(one["vlan"] or "-"),
        str(len(one["reservations"])),
    )


_NETWORKS = Listing(
    ("NAME", "HOST", "MODE", "ACTIVE", "OURS", "BRIDGE", "SUBNET", "VLAN", "RESERVED"),
    _row,
    "no host that answers has a network",
)
