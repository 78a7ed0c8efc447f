"""`reconciler plan` and `reconciler render`: what would happen, without doing it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from reconciler.cli.app import App, options, output_option
from reconciler.cli.plan_view import plan_lines
from reconciler.cli.remote import check_limits as check_limits_there
from reconciler.cli.server import remotely
from reconciler.engine import Look
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.plan import PLAN_JSON, Plan
from reconciler.planner import check_limits

CHANGES = 2


@click.command(
    epilog="""\b
Examples:
  reconciler plan -s ./machines -i ./hosts.yml
  reconciler plan -s ./machines@main --out today.plan && reconciler apply today.plan
  reconciler plan --detailed-exitcode; [ $? = 2 ] && echo "there are changes" """
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan for `reconciler apply FILE`.",
)
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="Exit 0: no changes, 1: an error or a blocked machine, 2: changes.",
)
@click.option(
    "--allow-deletions", is_flag=True, help="Show the plan even if it deletes more than the limits allow."
)
@output_option
@options
@remotely
def plan(app: App, out: Path | None, detailed_exitcode: bool, allow_deletions: bool, output: str) -> int:
    """Show what `apply` would do.

    Reads the desired state and every host, places new machines, and touches nothing.
    """
    try:
        made, look = _made(app)
        show_plan(app, made, output)
        if out is not None:
            out.write_bytes(PLAN_JSON.dump_json(made, indent=2) + b"\n")
            click.echo(
                f"\nSaved to {out}; apply exactly this with: reconciler apply {shlex.quote(str(out))}",
                err=True,
            )
        if look is not None:
            check_limits(look.plan, look.survey, app.loaded.config.limits, allow_deletions)
        elif not allow_deletions:
            check_limits_there(made)
    except ReconcilerError as error:
        if detailed_exitcode:
            error.exit_code = 1  # type: ignore[misc]  # this one error, not its class
        raise
    if not detailed_exitcode:
        return 0
    return 1 if any(not refusal.waits for refusal in made.blocked) else 0 if made.empty else CHANGES


def _made(app: App) -> tuple[Plan, Look | None]:
    """The plan, and the look that it was made from, if that was here."""
    if app.remote is not None:
        return app.remote.plan(), None
    with app.engine() as engine:
        look = engine.look()
    return look.plan, look


def show_plan(app: App, made: Plan, output: str) -> None:
    """Print a plan for people or programs."""
    if output == "json":
        click.echo(PLAN_JSON.dump_json(made, indent=2))
        return
    for line in plan_lines(made, color=app.color):
        click.echo(line)


def read_plan(path: Path) -> Plan:
    """A plan saved by ``plan --out``.

    Raises:
        UsageError: No such file, or not a plan of this version.
    """
    try:
        return PLAN_JSON.validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"{path} is not a plan that this version saved", hint="make it again with plan --out"
        ) from error


@click.command(
    epilog="""\b
Example:
  reconciler render --dir ./run && ansible-playbook -i hosts.yml … --check --diff"""
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="A new folder.",
)
@options
def render(app: App, directory: Path) -> None:
    """Write the plan as the files that Ansible would get, and say how to run them by hand."""
    with app.engine() as engine:
        look = engine.look()
        command = engine.rooms.pusher.bundle(
            look.plan, look.hosts, look.fleet, look.desired.templates, directory
        )
    click.echo(
        f"{len(look.plan.actions)} actions for {len(look.plan.by_host())} hosts are in {directory}. By hand:",
        err=True,
    )
    click.echo(shlex.join(command))
