"""`reconciler completion SHELL`: tab completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="""\b
Examples:
  reconciler completion bash > /etc/bash_completion.d/reconciler
  source <(reconciler completion zsh)"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that gives SHELL tab completion."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    root = ctx.find_root()
    click.echo(found(root.command, {}, "reconciler", "_RECONCILER_COMPLETE").source())
