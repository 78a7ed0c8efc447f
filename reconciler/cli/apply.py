"""`reconciler apply`: make it so, once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.plan import read_plan, show_plan
from reconciler.cli.progress import Reporter
from reconciler.engine import Engine, Tick
from reconciler.model.plan import ActionResult, Outcome
from reconciler.planner import check_limits


@click.command(
    epilog="""\b
Examples:
  reconciler apply -s ./machines -i ./hosts.yml
  reconciler apply --yes
  reconciler apply today.plan"""
)
@click.argument(
    "plan_file", required=False, type=click.Path(dir_okay=False, path_type=Path), metavar="[PLAN]"
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--allow-deletions", is_flag=True, help="Go on although more machines go than the limits allow."
)
@output_option
@options
def apply(app: App, plan_file: Path | None, yes: bool, allow_deletions: bool, output: str) -> int:
    """Show the plan, ask, and carry it out.

    With PLAN, a file from `plan --out`, exactly that plan is carried out, or none if the world moved.
    """
    with app.store.hold("reconciler apply"), app.engine() as engine:
        engine.recover()
        if plan_file is not None:
            saved = read_plan(plan_file)
            tick = engine.apply_saved(
                saved, allow_deletions=allow_deletions, on_progress=Reporter(len(saved.actions))
            )
        else:
            tick = _plan_and_apply(app, engine, yes=yes or output == "json", allow_deletions=allow_deletions)
        after = engine.reconcile_once(push=False) if tick.results else tick
    return _finish(tick, after, output)


def _plan_and_apply(app: App, engine: Engine, *, yes: bool, allow_deletions: bool) -> Tick:
    look = engine.look()
    show_plan(app, look.plan, "text")
    reporter = Reporter(len(look.plan.actions))
    check_limits(look.plan, look.survey, app.loaded.config.limits, allow_deletions)
    if look.plan.empty or yes:
        return engine.carry_out(look, allow_deletions=allow_deletions, on_progress=reporter)
    _ask()
    # The answer may have taken an hour: what was shown is applied, or nothing is.
    return engine.apply_saved(look.plan, allow_deletions=allow_deletions, on_progress=reporter)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: give --yes to apply without a question")
    click.confirm("\nDo this?", abort=True)


def _finish(tick: Tick, after: Tick, output: str) -> int:
    counts = {outcome: sum(result.outcome is outcome for result in tick.results) for outcome in Outcome}
    left = len(after.look.plan.actions)
    if output == "json":
        print_json(
            {
                "revision": tick.look.plan.revision,
                **{str(outcome): count for outcome, count in counts.items()},
                "blocked": len(after.look.plan.blocked),
                "remaining": left,
                "results": [_result(result) for result in tick.results],
            }
        )
        return 1 if tick.failed else 0
    for result in tick.failed:
        click.echo(click.style(f"failed: {result.id} on {result.host}: {result.message}", fg="red"), err=True)
    if tick.results:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        click.echo(f"\nApplied {tick.look.plan.revision[:12]}: {told}.")
    if left and not tick.failed:
        click.echo(f"{left} more actions are now possible: apply again, or let `reconciler run` do it.")
    return 1 if tick.failed else 0


def _result(result: ActionResult) -> dict[str, object]:
    return {
        "id": result.id,
        "host": result.host,
        "vm": result.vm,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "message": result.message,
        "seconds": result.seconds,
    }
