"""`reconciler retry`: try again now what failed."""

from __future__ import annotations

import click

from reconciler.cli.app import App, options, plural
from reconciler.cli.completion import complete_machine
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.operators import retry as retry_now


@click.command(
    epilog="""\b
Examples:
  reconciler retry web-7
  reconciler retry --all"""
)
@click.argument("machines", nargs=-1, metavar="[VM]...", shell_complete=complete_machine)
@click.option("--all", "everything", is_flag=True, help="Every machine that waits.")
@options
@remotely
def retry(app: App, machines: tuple[str, ...], everything: bool) -> None:
    """Forget the failures of machines, so that the next tick or apply tries them at once.

    A playbook of spec.provision that failed is run again only after this.
    """
    if not machines and not everything:
        raise UsageError("name a machine, or give --all", hint="see: reconciler get vms")
    if app.remote is not None:
        chosen = app.remote.retry(None if everything else machines)
    else:
        chosen = retry_now(app.store, None if everything else machines)
    tried = plural(len(chosen), "machine is", "machines are")
    click.echo(f"{tried} tried again at the next tick or apply.")
