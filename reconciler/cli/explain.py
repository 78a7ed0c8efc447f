"""`reconciler explain VM`: why a machine is where it is, or nowhere."""

from __future__ import annotations

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.completion import complete_machine
from reconciler.cli.listing import seen
from reconciler.cli.server import remotely


@click.command(
    epilog="""\b
Example:
  reconciler explain web-7"""
)
@click.argument("vm", shell_complete=complete_machine)
@output_option
@options
@remotely
def explain(app: App, vm: str, output: str) -> None:
    """Why VM is placed where it is, or which hosts refuse it and why."""
    found = seen(app, "explain", vm)
    if output == "json":
        print_json(found["data"])
        return
    for line in found["lines"]:
        click.echo(line)
