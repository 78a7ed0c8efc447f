"""What the commands that act on one machine share: find it, plan, ask, save, carry out, and tell.

A command either changes the desired state, which is then applied for that machine, or is an act of its own.
Both are plans, and go the way of every plan.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from reconciler.cli import remote_act
from reconciler.cli.app import App, output_option, print_json
from reconciler.cli.apply import BLOCKED, FAILED, outcome_counts, result_json
from reconciler.cli.ask import asker, wait_for
from reconciler.cli.plan import show_plan
from reconciler.cli.progress import Reporter
from reconciler.cli.remote import Remote
from reconciler.cli.remote_change import RemoteDraft
from reconciler.desired.draft import Draft
from reconciler.engine import Engine, Tick
from reconciler.errors import BusyError, ReconcilerError, StalePlanError, UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.plan import ActionResult, Outcome, Plan
from reconciler.model.request import Request, RequestState
from reconciler.model.status import Event
from reconciler.planner.one_off import only, refusal
from reconciler.planner.stale import difference
from reconciler.requests import DAEMON, agreed, daemon_holds, plan_act

Changes = dict[tuple[str | int, ...], object]
"""Fields of an object and what they shall be; see `reconciler.desired.edit`."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command is carried out: the options that all of them have.

    Attributes:
        yes: Do not ask.
        output: ``text`` or ``json``.
        apply: Not only change the desired state, but carry it out at once.
        author: ``Name <mail>`` of a commit, or None.
        wait: If the daemon is asked, wait until it is done.
    """

    yes: bool = False
    output: str = "text"
    apply: bool = True
    author: str | None = None
    wait: bool = True

    def check(self) -> None:
        """Refuse a question that nobody could answer.

        Raises:
            UsageError: JSON without ``--yes``.
        """
        if self.output == "json" and not self.yes and self.apply:
            raise UsageError("-o json asks no question: give --yes")


def asks(command: Command) -> Command:
    """Add ``--yes`` and ``--output``."""
    yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    return yes(output_option(command))


def may_be_asked(command: Command) -> Command:
    """Add ``--no-wait``, for an act that the daemon does while it runs."""
    return click.option(
        "--no-wait", is_flag=True, help="If a daemon runs, only ask it, and do not wait until it is done."
    )(command)


def edits(command: Command) -> Command:
    """Add the options of a command that changes the desired state."""
    later = click.option(
        "--no-apply", is_flag=True, help="Only change the desired state: a daemon, or `apply`, does the rest."
    )
    author = click.option("--author", metavar="'NAME <MAIL>'", help="Of the commit, in a git source.")
    return asks(later(author(command)))


@dataclass
class Change:
    """A change of the desired state that a command makes.

    Attributes:
        vm: The machine that it is about.
        message: What is done, as a person would type it: the commit's message and the event.
        draft: The changed file.
        notes: What a person should know before.
    """

    vm: str
    message: str
    draft: Draft | RemoteDraft
    notes: list[str] = field(default_factory=list)


def draft_of(app: App) -> Draft | RemoteDraft:
    """A change of the desired state, here or behind the server."""
    return RemoteDraft(app.remote) if app.remote is not None else app.draft()


def desired(app: App, vm: str) -> DesiredState:
    """The desired state, of which a server tells only this machine and what it may refer to.

    Raises:
        UsageError: There is no such machine behind the server.
    """
    return app.remote.desired(vm) if app.remote is not None else app.source.read()


def machine_file(app: App, vm: str) -> str:
    """The file in which a machine stands.

    Raises:
        UsageError: It is not desired.
    """
    return origin(app, f"VirtualMachine/{vm}")


def origin(app: App, key: str) -> str:
    """The file in which an object stands.

    Raises:
        UsageError: It is not desired.
    """
    if app.remote is not None:
        return ""  # only the server knows, and need not be told
    found = app.source.read().origins.get(key)
    if found is None:
        kind, _, name = key.partition("/")
        listing = "reconciler get vms" if kind == "VirtualMachine" else "reconciler plan"
        raise UsageError(f"no {kind} {name!r} is desired", hint=f"see: {listing}")
    return found.file


def edited(app: App, vm: str, changes: Changes, message: str) -> Change:
    """A change of some fields of a machine.

    Raises:
        UsageError: It is not desired.
        DesiredStateError: It cannot be edited where it stands.
    """
    draft = draft_of(app)
    draft.edit(machine_file(app, vm), f"VirtualMachine/{vm}", changes)
    return Change(vm, message, draft)


def change(app: App, manner: Manner, wanted: Change) -> int:
    """Save a change of the desired state, and carry it out for its machine. The command's exit code."""
    manner.check()
    for note in wanted.notes:
        click.echo(f"note: {note}", err=True)
    draft = wanted.draft
    if isinstance(draft, RemoteDraft):
        return _left_to_the_server(app, manner, wanted, draft)
    if not manner.apply:
        draft.source().read()  # what is not valid is not saved
        return _saved_only(app, manner, wanted, _save(app, manner, wanted))
    if daemon_holds(app.store):
        return _left_to_the_daemon(app, manner, wanted, draft)
    with (
        _held(app, wanted.message, "with --no-apply only the desired state is changed"),
        app.engine() as engine,
    ):
        engine.recover()
        app.store.clear_retries([wanted.vm])  # who says it anew does not want to wait
        planned = Engine(replace(engine.rooms, source=draft.source()), app.state_dir).look()
        part = only(planned.plan, wanted.vm)
        _require_possible(part, wanted.vm)
        if not _agreed(app, manner, part, saves=not wanted.draft.changes_nothing):
            return FAILED
        saved = _save(app, manner, wanted)
        uids = {made.vm: made.uid for made in part.changes if made.decision is not None}
        look = engine.look(uids=uids)
        now = only(look.plan, wanted.vm)
        moved = difference(part, now)
        if moved:
            raise StalePlanError(
                f"the change is saved ({saved}), but not carried out: the world moved meanwhile: {moved}",
                hint="see `reconciler plan`, then: reconciler apply",
            )
        tick = engine.carry_out_part(look, now, on_progress=Reporter(len(now.actions)))
        return _told(engine, manner, wanted.vm, tick, saved)


def _left_to_the_daemon(app: App, manner: Manner, wanted: Change, draft: Draft) -> int:
    """Show what the change will do, ask, and save it: the daemon looks at the desired state all the time."""
    with app.engine() as engine:
        planned = Engine(replace(engine.rooms, source=draft.source()), app.state_dir).look()
        part = only(planned.plan, wanted.vm)
        _require_possible(part, wanted.vm)
        if not _agreed(app, manner, part, saves=not wanted.draft.changes_nothing):
            return FAILED
        app.store.clear_retries([wanted.vm])  # who says it anew does not want to wait
    return _saved_only(app, manner, wanted, _save(app, manner, wanted))


def _left_to_the_server(app: App, manner: Manner, wanted: Change, draft: RemoteDraft) -> int:
    """Show what the change will do there, ask, and write it: the daemon there does the rest."""
    if manner.apply and not draft.changes_nothing:
        part = remote_act.plan_change(draft, wanted.vm)
        _require_possible(part, wanted.vm)
        if not _agreed(app, manner, part, saves=True):
            return FAILED
    saved = "" if draft.changes_nothing else draft.save(wanted.message, manner.author)
    if saved and manner.output == "text":
        click.echo(f"Saved: {saved}", err=True)
    return _tell_saved(manner, wanted.vm, saved, f"{DAEMON} carries it out")


def act(app: App, manner: Manner, request: Request) -> int:
    """Carry out an act on a machine that is there, or have the daemon do it. The command's exit code.

    Args:
        app: The installation.
        manner: How.
        request: What.
    """
    manner.check()
    if app.remote is not None:
        return _asked_there(app, app.remote, manner, request)
    if daemon_holds(app.store):
        return _asked(app, manner, request)
    with _held(app, request.words, "say it again: it is asked then"), app.engine() as engine:
        engine.recover()
        look = engine.look()
        made = plan_act(look, request)
        if not _agreed(app, manner, made):
            return FAILED
        tick = engine.carry_out_part(look, made, one_off=True, on_progress=Reporter(len(made.actions)))
        return _told(engine, manner, request.vm, tick)


def _asked(app: App, manner: Manner, request: Request) -> int:
    """Show what the daemon would do now, ask, have it done, and tell what came of it."""
    with app.engine() as engine:
        look = engine.look()
        made = plan_act(look, request)
        if not _agreed(app, manner, made):
            return FAILED
        number = app.store.add_request(agreed(look, request), asker(), time.time())
        if not manner.wait:
            _asked_only(manner, request.vm, number)
            return 0
        record = wait_for(app.store, number)
        if record.state is not RequestState.DONE and not record.results:
            error = ReconcilerError(record.message)
            error.exit_code = record.code  # type: ignore[misc]  # this one error, not its class
            raise error
        engine.rooms.observer.refresh(result.host for result in record.results)
        left = [action for action in engine.look().plan.actions if action.vm == request.vm]
    told: dict[str, object] = {"vm": request.vm, "saved": None, "request": number}
    _show(manner, told, record.results, len(left))
    return record.code


def _asked_there(app: App, remote: Remote, manner: Manner, request: Request) -> int:
    """Likewise behind a server."""
    if not _agreed(app, manner, remote_act.plan_act(remote, request)):
        return FAILED
    operation = remote_act.ask(remote, request)
    if not manner.wait:
        _asked_only(manner, request.vm, operation.id)
        return 0
    operation = remote.carried_out(operation)
    results = remote_act.results_of(operation)
    if not results:
        operation.check()
    told: dict[str, object] = {"vm": request.vm, "saved": None, "request": operation.id}
    _show(manner, told, results, remote_act.remaining(remote, request.vm))
    return operation.code


def _asked_only(manner: Manner, vm: str, number: int | str) -> None:
    if manner.output == "json":
        print_json({"vm": vm, "saved": None, "request": number, "results": []})
    else:
        click.echo(f"The daemon is asked (request {number}); see: reconciler events --vm {vm}")


@contextmanager
def _held(app: App, purpose: str, way_out: str) -> Iterator[None]:
    """Be the only one that acts; another is named, with what to do about it."""
    try:
        hold = app.store.hold(purpose)
        hold.__enter__()
    except BusyError as error:
        raise BusyError(
            error.message, hint=f"wait until it is done; or if it is the daemon, {way_out}"
        ) from error
    try:
        yield
    finally:
        hold.__exit__(None, None, None)


def _require_possible(part: Plan, vm: str) -> None:
    blocked = refusal(part, vm)
    if blocked is not None:
        where = f" on {blocked.host}" if blocked.host else ""
        error = ReconcilerError(
            f"nothing was changed: {vm} would be blocked{where}: {blocked.reason}: {blocked.message}"
        )
        error.exit_code = BLOCKED  # type: ignore[misc]  # this one error, not its class
        raise error


def _agreed(app: App, manner: Manner, plan: Plan, *, saves: bool = False) -> bool:
    """Show the plan and ask; a plan without anything to do or save is not worth a question."""
    if manner.output == "text":
        show_plan(app, plan, manner.output)
    if manner.yes or not (plan.actions or saves):
        return True
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask: give --yes to go on without a question")
    if click.confirm("\nDo this?"):
        return True
    click.echo("Nothing was done.")
    return False


def _save(app: App, manner: Manner, wanted: Change) -> str:
    """Where the change is now; empty if there was none to save."""
    if wanted.draft.changes_nothing:
        return ""
    saved = wanted.draft.save(wanted.message, manner.author)
    app.store.add_events([Event(time.time(), "DesiredChanged", f"{wanted.message}: {saved}", wanted.vm)])
    if manner.output == "text":
        click.echo(f"Saved: {saved}", err=True)
    return saved


def _saved_only(app: App, manner: Manner, wanted: Change, saved: str) -> int:
    busy = app.store.holder()
    who = f"{busy.purpose} carries it out" if busy else "`reconciler apply` or the daemon carries it out"
    return _tell_saved(manner, wanted.vm, saved, who)


def _tell_saved(manner: Manner, vm: str, saved: str, who: str) -> int:
    if manner.output == "json":
        print_json({"vm": vm, "saved": saved or None, "results": []})
    elif not saved:
        click.echo(f"{vm} is desired like that already.")
    else:
        click.echo(f"Nothing was done on a host: {who}.")
    return 0


def _told(engine: Engine, manner: Manner, vm: str, tick: Tick, saved: str = "") -> int:
    """Look at the world after it, and tell what came of it. The command's exit code."""
    after = engine.reconcile_once(push=False).look.plan
    left = [action for action in after.actions if action.vm == vm]
    _show(manner, {"vm": vm, "saved": saved or None}, tick.results, len(left))
    return FAILED if tick.failed else 0


def _show(manner: Manner, told: dict[str, object], results: tuple[ActionResult, ...], left: int) -> None:
    """Tell what came of it; `told` begins the JSON, and `left` actions are planned for the machine now."""
    if manner.output == "json":
        found = [result_json(result) for result in results]
        print_json({**told, **outcome_counts(results), "remaining": left, "results": found})
        return
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    for result in failed:
        click.echo(click.style(f"failed: {result.id} on {result.host}: {result.message}", fg="red"), err=True)
    for result in results:
        if result.message and result not in failed:
            click.echo(f"{result.id}: {result.message}")
    if left and not failed:
        click.echo(
            "It differs from what is desired now: `reconciler apply`, or the daemon, goes on from here."
        )
