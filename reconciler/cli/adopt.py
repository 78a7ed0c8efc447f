"""`reconciler adopt` and `forget`: the one door through which a domain becomes ours, or ceases to be."""

from __future__ import annotations

import re
from pathlib import Path

import click

from reconciler.belongings import adopting, carry_out, forgetting, marking, require_done
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.progress import Reporter
from reconciler.cli.remote import Remote
from reconciler.cli.server import remotely
from reconciler.desired.writer import to_yaml
from reconciler.engine import Engine
from reconciler.errors import UsageError
from reconciler.planner import Adoption


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
@remotely
def adopt(app: App, domain: str, out: Path | None, dry_run: bool) -> None:
    """Take over a domain that exists: write its YAML and mark it. Nothing is restarted or changed.

    From a git source the YAML has to be committed before the domain is marked: a marked domain that
    nobody desires would be deleted. Run the same command again after the commit.
    """
    if app.remote is not None:
        _adopt_there(app.remote, domain, out, dry_run=dry_run)
        return
    with app.engine() as engine:
        look = engine.look()
        owner = app.loaded.config.owner
        adoption = adopting(look, domain, owner)
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
        _mark(engine, domain, adoption, owner)
    click.echo(f"{domain} is now the machine {adoption.vm.name}; nothing about it changed.")


def _adopt_there(remote: Remote, domain: str, out: Path | None, *, dry_run: bool) -> None:
    """Likewise behind a server, which writes the manifest into its own source."""
    if out is not None:
        raise UsageError("--out is for a source here: a server chooses the file itself")
    found = remote.view("adoption", domain)
    for note in found["notes"]:
        click.echo(f"note: {note}", err=True)
    if dry_run:
        click.echo(found["yaml"], nl=False)
        return
    name = found["manifest"]["metadata"]["name"]
    if not found["declared"]:
        saved = remote.client.create(
            "virtualmachines", found["manifest"], message=f"reconciler adopt {domain}"
        )
        click.echo(f"saved {name} as {saved.revision[:12]}")
    elif not found["same"]:
        click.echo(f"note: {name} is declared otherwise than it is: the next plan will change it", err=True)
    remote.own("adopt", domain)
    click.echo(f"{domain} is now the machine {name}; nothing about it changed.")


def _mark(engine: Engine, domain: str, adoption: Adoption, owner: str) -> None:
    """Mark the domain, once the desired state holds its machine."""
    look = engine.look()
    plan = marking(look, domain, owner)
    if look.desired.machines[adoption.vm.name] != adoption.vm:
        click.echo(
            f"note: {adoption.vm.name} is declared otherwise than it is: the next plan will change it",
            err=True,
        )
    require_done(carry_out(engine, look, plan, Reporter(len(plan.actions))))


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
@remotely
def forget(app: App, machine: str) -> None:
    """Let go of a machine: its domain stays as it is, and is nobody's.

    Then remove it from the desired state: until that is done it is blocked, as its name is taken.
    """
    if app.remote is not None:
        for one in app.remote.own("forget", machine).results:
            name = machine.partition("/")[2] or machine
            click.echo(f"{one['host']}/{name} is no longer ours; nothing about it changed.")
        click.echo("Now remove its manifest, if there is one.")
        return
    with app.engine() as engine:
        look = engine.look()
        name, found, plan = forgetting(look, machine)
        require_done(carry_out(engine, look, plan, Reporter(len(plan.actions))))
        engine.rooms.store.delete_records([name])
    origin = look.desired.origins.get(f"VirtualMachine/{name}")
    click.echo(f"{found.host}/{found.name} is no longer ours; nothing about it changed.")
    if origin is not None:
        click.echo(f"Now remove VirtualMachine {name} from {origin.file} (line {origin.line}).")
