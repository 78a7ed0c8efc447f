"""`reconciler apply`: make it so, once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from reconciler.cli import remote_act
from reconciler.cli.app import App, options, output_option, plural, print_json
from reconciler.cli.plan import read_plan, show_plan
from reconciler.cli.progress import Reporter
from reconciler.cli.remote import Remote
from reconciler.cli.remote import check_limits as check_limits_there
from reconciler.cli.server import remotely
from reconciler.cli.wait import wait_until_ready
from reconciler.engine import Engine, Look, Tick
from reconciler.errors import UsageError
from reconciler.model.placement import is_machine
from reconciler.model.plan import ActionResult, Blocked, Outcome, Plan
from reconciler.planner import check_limits

FAILED = 1
BLOCKED = 7
"""Everything that could be done was done, and some machines could not even be planned."""


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
@click.option(
    "--wait", is_flag=True, help="Wait until what was changed is ready, and run playbooks of its machines."
)
@output_option
@options
@remotely
def apply(app: App, plan_file: Path | None, yes: bool, allow_deletions: bool, wait: bool, output: str) -> int:
    """Show the plan, ask, and carry it out.

    With PLAN, a file from `plan --out`, exactly that plan is carried out, or none if the world moved.
    Exits 0 when all is done, 1 when something failed or (with --wait) is not ready in time, 7 when some
    machines are blocked.
    """
    if output == "json" and not yes and plan_file is None:
        raise UsageError("-o json asks no question: give --yes, or the file of a saved plan")
    if app.remote is not None:
        if plan_file is not None:
            raise UsageError("a saved plan is applied only on the machine of the installation itself")
        return _apply_there(app, app.remote, yes=yes, wait=wait, output=output, limited=not allow_deletions)
    with app.store.hold("reconciler apply"), app.engine(guests=wait) as engine:
        engine.recover()
        if plan_file is not None:
            saved = read_plan(plan_file)
            reporter = Reporter(len(saved.actions))
            tick = engine.apply_saved(saved, allow_deletions=allow_deletions, on_progress=reporter)
        else:
            look = engine.look()
            if output == "text":
                show_plan(app, look.plan, output)
            tick = _carry_out(app, engine, look, yes=yes, allow_deletions=allow_deletions)
        after = engine.reconcile_once(push=False) if tick.results else tick
        unready = wait_until_ready(engine, tick.look.plan, _say) if wait else {}
    return _finish(tick, after, output, unready)


def _carry_out(app: App, engine: Engine, look: Look, *, yes: bool, allow_deletions: bool) -> Tick:
    reporter = Reporter(len(look.plan.actions))
    check_limits(look.plan, look.survey, app.loaded.config.limits, allow_deletions)
    if look.plan.empty or yes:
        return engine.carry_out(look, allow_deletions=allow_deletions, on_progress=reporter)
    if not _agreed():
        click.echo("Nothing was done.")
        raise click.exceptions.Exit(1)
    # The answer may have taken an hour: what was shown is applied, or nothing is.
    return engine.apply_saved(look.plan, allow_deletions=allow_deletions, on_progress=reporter)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask: give --yes to apply without a question")
    return click.confirm("\nDo this?")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _finish(tick: Tick, after: Tick, output: str, unready: Mapping[str, str]) -> int:
    counts = outcome_counts(tick.results)
    blocked = [refusal for refusal in after.look.plan.blocked if not refusal.waits]
    left = len(after.look.plan.actions)
    code = FAILED if tick.failed or unready else BLOCKED if blocked else 0
    if output == "json":
        print_json(
            {
                "revision": tick.look.plan.revision,
                **counts,
                "blocked": _blocked_json(blocked),
                "remaining": left,
                "notReady": dict(unready),
                "results": [result_json(result) for result in tick.results],
            }
        )
        return code
    for result in tick.failed:
        click.echo(click.style(f"failed: {result.id} on {result.host}: {result.message}", fg="red"), err=True)
    for vm, why in sorted(unready.items()):
        click.echo(click.style(f"not ready: {vm}: {why}", fg="red"), err=True)
    if tick.results:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        click.echo(f"\nApplied {tick.look.plan.revision[:12]}: {told}.")
    if left and not tick.failed:
        now = plural(left, "more action is", "more actions are")
        click.echo(f"{now} now possible: apply again, or let `reconciler run` do it.")
    if blocked and tick.results:
        machines = all(is_machine(one.vm) for one in blocked)
        words = ("machine is", "machines are") if machines else ("object is", "objects are")
        click.echo(f"{plural(len(blocked), *words)} blocked; see: reconciler plan")
    return code


def _apply_there(app: App, remote: Remote, *, yes: bool, wait: bool, output: str, limited: bool) -> int:
    """Show what the server's daemon would do, ask, and have it look and act now."""
    planned = remote.plan()
    if output == "text":
        show_plan(app, planned, output)
    if limited:
        check_limits_there(planned)
    if planned.empty and not wait:
        return _finish_there(planned, planned, output, {})
    if not yes and not planned.empty and not _agreed():
        click.echo("Nothing was done.")
        raise click.exceptions.Exit(1)
    done = remote.carried_out(remote.client.apply("" if limited else planned.revision)).check()
    if output == "text":
        click.echo(f"\n{done.message}")
    unready = remote_act.wait_until_ready(remote, planned) if wait else {}
    return _finish_there(planned, remote.plan(), output, unready)


def _finish_there(planned: Plan, after: Plan, output: str, unready: Mapping[str, str]) -> int:
    blocked = [refusal for refusal in after.blocked if not refusal.waits]
    if output == "json":
        told = {"revision": planned.revision, "blocked": _blocked_json(blocked)}
        print_json({**told, "remaining": len(after.actions), "notReady": dict(unready)})
    for vm, why in sorted(unready.items()):
        click.echo(click.style(f"not ready: {vm}: {why}", fg="red"), err=True)
    return FAILED if unready else BLOCKED if blocked else 0


def _blocked_json(blocked: Iterable[Blocked]) -> list[dict[str, str]]:
    return [{"vm": one.vm, "reason": one.reason, "message": one.message} for one in blocked]


def outcome_counts(results: Iterable[ActionResult]) -> dict[str, int]:
    """How many ended how, by the outcome's word."""
    found = [result.outcome for result in results]
    return {str(outcome): found.count(outcome) for outcome in Outcome}


def result_json(result: ActionResult) -> dict[str, object]:
    """What became of an action, for programs."""
    return {
        "id": result.id,
        "host": result.host,
        "vm": result.vm,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "message": result.message,
        "seconds": result.seconds,
    }
