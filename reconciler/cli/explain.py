"""`reconciler explain VM`: why a machine is where it is, or nowhere."""

from __future__ import annotations

from dataclasses import asdict

import click

from reconciler.allocator.explain import explain_lines
from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.completion import complete_machine
from reconciler.cli.get import domains_by_name
from reconciler.errors import UsageError


@click.command(
    epilog="""\b
Example:
  reconciler explain web-7"""
)
@click.argument("vm", shell_complete=complete_machine)
@output_option
@options
def explain(app: App, vm: str, output: str) -> None:
    """Why VM is placed where it is, or which hosts refuse it and why."""
    with app.engine() as engine:
        look = engine.look()
    if vm not in look.desired.machines:
        raise UsageError(f"no machine {vm!r} is desired", hint="see: reconciler get vms")
    decision = look.decisions.get(vm)
    blocked = next((entry for entry in look.plan.blocked if entry.vm == vm), None)
    domain = domains_by_name(look).get(vm)
    if output == "json":
        print_json(
            {
                "vm": vm,
                "host": domain.host if domain else None,
                "decision": asdict(decision) if decision else None,
                "blocked": {"reason": blocked.reason, "message": blocked.message} if blocked else None,
            }
        )
        return
    if domain is not None:
        click.echo(f"{vm} is on {domain.host}. A machine that exists stays where it is.")
    if blocked is not None:
        click.echo(f"{vm} is blocked: {blocked.reason}: {blocked.message}")
    for line in explain_lines(decision) if decision else ():
        click.echo(line)
