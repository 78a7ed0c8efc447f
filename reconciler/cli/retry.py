"""`reconciler retry`: try again now what failed."""

from __future__ import annotations

import click

from reconciler.cli.app import App, options, plural
from reconciler.cli.completion import complete_machine
from reconciler.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  reconciler retry web-7
  reconciler retry --all"""
)
@click.argument("machines", nargs=-1, metavar="[VM]...", shell_complete=complete_machine)
@click.option("--all", "everything", is_flag=True, help="Every machine that waits.")
@options
def retry(app: App, machines: tuple[str, ...], everything: bool) -> None:
    """Forget the failures of machines, so that the next tick or apply tries them at once.

    A playbook of spec.provision that failed is run again only after this.
    """
    failed = {key: record.vm for key, record in app.store.provisions().items() if record.state == "failed"}
    waiting = {*app.store.retries(), *failed.values()}
    chosen = tuple(sorted(waiting)) if everything else machines
    if not chosen and not everything:
        raise UsageError("name a machine, or give --all", hint="see: reconciler get vms")
    unknown = sorted(set(chosen) - waiting)
    if unknown:
        raise UsageError(f"{', '.join(unknown)} did not fail: there is nothing to retry")
    app.store.clear_retries(chosen)
    app.store.forget_provisions([key for key, vm in failed.items() if vm in chosen])
    tried = plural(len(chosen), "machine is", "machines are")
    click.echo(f"{tried} tried again at the next tick or apply.")
