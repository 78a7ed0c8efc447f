"""`reconciler get machinepools`: how many machines of each pool are in which state."""

from __future__ import annotations

from reconciler.cli.app import App, options, output_option
from reconciler.cli.get import get
from reconciler.cli.listing import Item, Listing, Row, print_list, seen
from reconciler.cli.server import remotely
from reconciler.model.pool import MemberState


@get.command("machinepools")
@output_option
@options
@remotely
def get_machine_pools(app: App, output: str) -> None:
    """Pools of machines that are lent: how many are ready, lent, or on their way."""
    print_list(seen(app, "machinepools"), _POOLS, output)


def _row(one: Item) -> Row:
    size = f"{one['warm']}/{one['max']}" if one["declared"] else "gone"
    return (one["name"], size, *(str(one[str(state)]) for state in MemberState), str(one["waiting"]))


_POOLS = Listing(
    ("NAME", "WARM/MAX", *(str(state).upper() for state in MemberState), "WAITING"),
    _row,
    "no pools of machines are declared",
)
