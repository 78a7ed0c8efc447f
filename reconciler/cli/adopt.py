"""`reconciler adopt` and `forget`: the one door through which a domain becomes ours, or ceases to be."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from reconciler import bookkeeping
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.get import domains_by_name
from reconciler.cli.progress import Reporter
from reconciler.desired.writer import to_yaml
from reconciler.engine import Engine, Look
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.domain import ObservedDomain
from reconciler.model.plan import Outcome, Plan
from reconciler.planner import Adoption, Place
from reconciler.planner import adopt as plan_adoption
from reconciler.planner import forget as plan_forgetting


@click.command(
    epilog="""\b
Examples:
  reconciler adopt kvm1/db                        # writes db.yaml into the source, and marks the domain
  reconciler adopt kvm1/db --out machines/db.yaml
  reconciler adopt kvm1/db --dry-run > db.yaml"""
)
@click.argument("domain", metavar="HOST/DOMAIN")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Where the YAML goes [SOURCE/DOMAIN.yaml]."
)
@click.option("--dry-run", is_flag=True, help="Print the YAML; write and mark nothing.")
@options
def adopt(app: App, domain: str, out: Path | None, dry_run: bool) -> None:
    """Take over a domain that exists: write its YAML and mark it. Nothing is restarted or changed.

    From a git source the YAML has to be committed before the domain is marked: a marked domain that
    nobody desires would be deleted. Run the same command again after the commit.
    """
    with app.engine() as engine:
        look = engine.look()
        found = _find(look, domain)
        adoption = plan_adoption(
            found, Place(look.hosts[found.host], look.fleet[found.host]), app.loaded.config.owner
        )
        for note in adoption.notes:
            click.echo(f"note: {note}", err=True)
        text = to_yaml(adoption.vm)
        if dry_run:
            click.echo(text, nl=False)
            return
        if adoption.vm.name not in look.desired.machines:
            path = out or _file_for(app, adoption.vm.name)
            _write_new(path, text)
            click.echo(f"wrote {path}")
        _mark(engine, adoption)
    click.echo(f"{domain} is now the machine {adoption.vm.name}; nothing about it changed.")


def _mark(engine: Engine, adoption: Adoption) -> None:
    """Mark the domain, once the desired state holds its machine."""
    name = adoption.vm.name
    look = engine.look()
    if name not in look.desired.machines:
        raise UsageError(
            f"{name} is not in the desired state at {look.desired.revision[:12]} yet: "
            "its domain was not marked",
            hint="commit the file, then run the same command again",
        )
    if look.desired.machines[name] != adoption.vm:
        click.echo(f"note: {name} is declared otherwise than it is: the next plan will change it", err=True)
    _carry_out(engine, look, adoption.plan)


def _carry_out(engine: Engine, look: Look, plan: Plan) -> None:
    pusher = engine.rooms.pusher
    results = pusher.push(plan, look.hosts, look.fleet, look.desired.templates, Reporter(len(plan.actions)))
    for result in results:
        if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
            raise ReconcilerError(f"{result.id} on {result.host}: {result.message}")
    engine.rooms.store.add_events(bookkeeping.events_of(plan, results, time.time()))


def _find(look: Look, domain: str) -> ObservedDomain:
    host, slash, name = domain.partition("/")
    if not slash:
        raise UsageError(f"{domain!r} is not HOST/DOMAIN", hint="see: reconciler get hosts -o json")
    if host not in look.fleet:
        raise UsageError(f"the inventory has no host {host!r}", hint="see: reconciler get hosts")
    if not look.fleet[host].known:
        raise ReconcilerError(
            f"host {host} does not answer: {look.fleet[host].message}", hint=f"reconciler doctor {host}"
        )
    for found in look.fleet[host].domains.values():
        if name in (found.name, found.uuid):
            return found
    raise UsageError(
        f"host {host} has no domain {name!r}", hint=f"virsh -c '{look.hosts[host].uri}' list --all"
    )


def _file_for(app: App, name: str) -> Path:
    base = app.source_folder
    return base / (re.sub(r"[^A-Za-z0-9._-]", "-", name) + ".yaml")


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet: what people wrote is never overwritten."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint="give another file with --out") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


@click.command(
    epilog="""\b
Example:
  reconciler forget db && git rm machines/db.yaml"""
)
@click.argument("machine", metavar="VM|HOST/DOMAIN", shell_complete=complete_machine)
@options
def forget(app: App, machine: str) -> None:
    """Let go of a machine: its domain stays as it is, and is nobody's.

    Then remove it from the desired state: until that is done it is blocked, as its name is taken.
    """
    with app.engine() as engine:
        look = engine.look()
        found = _find(look, machine) if "/" in machine else domains_by_name(look).get(machine)
        if found is None:
            raise UsageError(
                f"no domain carries the mark of a machine {machine!r}", hint="see: reconciler get vms"
            )
        name = found.applied.name if found.applied else machine
        _carry_out(engine, look, plan_forgetting(found))
        engine.rooms.store.delete_records([name])
    origin = look.desired.origins.get(f"VirtualMachine/{name}")
    click.echo(f"{found.host}/{found.name} is no longer ours; nothing about it changed.")
    if origin is not None:
        click.echo(f"Now remove VirtualMachine {name} from {origin.file} (line {origin.line}).")
