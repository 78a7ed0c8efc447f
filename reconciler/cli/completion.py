"""`reconciler completion SHELL`: tab completion, of the names of machines and hosts too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from reconciler.cli.app import App
from reconciler.errors import ReconcilerError


def complete_machine(ctx: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of desired machines that begin as typed. A mistake anywhere completes nothing."""
    try:
        return _items(installation(ctx).source.read().machines, typed)
    except ReconcilerError:
        return []


def complete_host(ctx: click.Context, _param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of the inventory's hosts that begin as typed."""
    try:
        return _items(installation(ctx).hosts(), typed)
    except ReconcilerError:
        return []


def installation(ctx: click.Context) -> App:
    """The installation that the options typed so far are about."""
    given = ctx.params
    config, state = given.get("config"), given.get("state_dir")
    return App(
        Path(config) if config else None,
        given.get("source"),
        tuple(given.get("inventory") or ()),
        Path(state) if state else None,
    )


def _items(names: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(typed)]


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
