"""Lists as commands print them: the same data as JSON for programs, or as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from reconciler.cli.app import App, print_json
from reconciler.views import show
from reconciler.views.glance import Glance
from reconciler.views.tables import table

Row = tuple[str, ...]
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """How a list looks for people.

    Attributes:
        headings: Of the columns.
        row: Its cells, of one item.
        nothing: Said on standard error where there are no items.
    """

    headings: Row
    row: Callable[[Item], Row]
    nothing: str


def seen(app: App, view: str, about: str = "") -> Any:
    """What a view of `reconciler.views` shows: of this installation's hosts, or as the server tells it."""
    if app.remote is not None:
        return app.remote.view(view, about)
    with app.engine() as engine:
        return show(Glance(engine, engine.look()), view, about)


def print_list(found: Iterable[Item], listing: Listing, output: str) -> None:
    """Print it as JSON, or as a table."""
    items = list(found)
    if output == "json":
        print_json(items)
        return
    if not items:
        click.echo(listing.nothing, err=True)
        return
    for line in table(listing.headings, [listing.row(item) for item in items]):
        click.echo(line)
