"""`reconciler start`, `stop` and `restart`."""

from __future__ import annotations

import click

from reconciler.cli.act import Changes, Manner, act, asks, change, edited, edits, may_be_asked
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.model.manifest import RunStrategy
from reconciler.model.request import Act, Request

_RUN_STRATEGY = ("spec", "runStrategy")


@click.command(
    epilog="""\b
Examples:
  reconciler start web-1
  reconciler start web-1 --no-apply    # the daemon does it"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@edits
@may_be_asked
@options
@remotely
def start(  # noqa: PLR0913 - one for each option
    app: App, machine: str, *, yes: bool, output: str, no_apply: bool, author: str | None, no_wait: bool
) -> int:
    """Have a machine run: set its run strategy to Always, and start it.

    A machine of the run strategy Manual is only started, and one of RerunOnFailure stays one.
    """
    manner = Manner(yes, output, not no_apply, author, not no_wait)
    strategy = _strategy(app, machine)
    if strategy in (RunStrategy.MANUAL, RunStrategy.RERUN_ON_FAILURE):
        _refuse_later(no_apply, strategy)
        return act(app, manner, Request(Act.START, machine))
    always: Changes = {_RUN_STRATEGY: str(RunStrategy.ALWAYS)} if strategy is RunStrategy.HALTED else {}
    return change(app, manner, edited(app, machine, always, f"reconciler start {machine}"))


@click.command(
    epilog="""\b
Examples:
  reconciler stop web-1
  reconciler stop web-1 --no-apply    # the daemon does it
  reconciler stop web-1 --author 'Ann Other <ann@example.com>'"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@edits
@may_be_asked
@options
@remotely
def stop(  # noqa: PLR0913 - one for each option
    app: App, machine: str, *, yes: bool, output: str, no_apply: bool, author: str | None, no_wait: bool
) -> int:
    """Have a machine off: set its run strategy to Halted, and shut it down.

    The guest is asked by its agent, then by its power button; after its stopTimeout its plug is pulled. A
    machine of the run strategy Manual is only stopped.
    """
    manner = Manner(yes, output, not no_apply, author, not no_wait)
    strategy = _strategy(app, machine)
    if strategy is RunStrategy.MANUAL:
        _refuse_later(no_apply, strategy)
        return act(app, manner, Request(Act.STOP, machine))
    halted: Changes = {_RUN_STRATEGY: str(RunStrategy.HALTED)}
    return change(app, manner, edited(app, machine, halted, f"reconciler stop {machine}"))


@click.command(
    epilog="""\b
Examples:
  reconciler restart web-1            # gracefully; what waits for a restart is in force then
  reconciler restart web-1 --force    # pull the plug"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@click.option("--force", is_flag=True, help="Pull the plug instead of asking the guest to shut down.")
@asks
@may_be_asked
@options
@remotely
def restart(app: App, machine: str, force: bool, yes: bool, output: str, no_wait: bool) -> int:
    """Stop a machine and start it again. The desired state stays as it is; an event records it."""
    return act(app, Manner(yes, output, wait=not no_wait), Request(Act.RESTART, machine, force=force))


def _strategy(app: App, machine: str) -> RunStrategy:
    found = app.remote.machine(machine) if app.remote else app.source.read().machines.get(machine)
    if found is None:
        raise UsageError(f"no machine {machine!r} is desired", hint="see: reconciler get vms")
    return found.spec.run_strategy


def _refuse_later(no_apply: bool, strategy: RunStrategy) -> None:
    if no_apply:
        raise UsageError(
            f"its run strategy is {strategy}: the desired state says nothing that a daemon could do",
            hint="leave --no-apply out",
        )
