"""`reconciler import`: what is there already, as manifests."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import click

from reconciler.cli.app import App, options, output_option, plural, print_json
from reconciler.cli.completion import complete_host
from reconciler.cli.import_files import write_files
from reconciler.cli.import_seed import seed
from reconciler.desired.writer import to_yaml
from reconciler.errors import HostError, ReconcilerError, UsageError
from reconciler.imports.unmodelled import unmodelled
from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Fleet, Host
from reconciler.observed.domain_text import domain_texts
from reconciler.planner import Adoption, Place, adopt


@click.group(
    name="import",
    epilog="""\b
Examples:
  reconciler import virsh kvm1 --out machines
  reconciler import seed --hosts hosts.txt --images images.txt --types types.json --out state""",
)
def import_() -> None:
    """Write manifests for what is there already. Changes no host."""


import_.add_command(seed)


@dataclass
class _Found:
    """What an import of domains comes to.

    Attributes:
        adoptions: Host and domain, as ``kvm1/db``, to what a manifest makes of it.
        refused: Likewise to the reason why there is none.
        kept: Likewise to what its manifest does not say.
    """

    adoptions: dict[str, Adoption] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)


@import_.command(
    epilog="""\b
Examples:
  reconciler import virsh kvm1                   # every domain of a host, into the source
  reconciler import virsh kvm1/db kvm2 --out machines
  reconciler import virsh kvm1 --dry-run | less
\b
Then look at the files, and for each of them:
  reconciler adopt kvm1/db"""
)
@click.argument("what", metavar="HOST[/DOMAIN]…", nargs=-1, required=True, shell_complete=complete_host)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files, one a domain [the source].",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--dry-run", is_flag=True, help="Print the YAML; write nothing.")
@output_option
@options
def virsh(app: App, what: Sequence[str], out: Path | None, force: bool, dry_run: bool, output: str) -> int:
    """Describe domains that exist as YAML, all of a HOST or the named ones.

    No domain is marked or changed: that is what `adopt` is for, and after it the plan is empty. What a
    manifest does not say of a domain is named in its file, and adoption keeps it as it is.
    """
    with app.engine() as engine:
        hosts = engine.rooms.inventory.hosts()
        asked = _asked(what, hosts)
        fleet = engine.rooms.observer.observe({name: hosts[name] for name in asked})
    found = _find(asked, hosts, fleet, app.loaded.config.owner)
    texts = {
        f"{quote(adoption.vm.name, safe=' ')}.yaml": _text(where, adoption, found.kept[where])
        for where, adoption in found.adoptions.items()
    }
    written = [] if dry_run else write_files(out or app.source_folder, texts, force=force)
    if output == "json":
        print_json(_json(found, written))
    elif dry_run:
        click.echo("---\n".join(texts.values()), nl=False)
    _tell(found, written if output == "text" else [])
    return 1 if found.refused else 0


def _asked(what: Sequence[str], hosts: Mapping[str, Host]) -> dict[str, list[str]]:
    """Domains by host; none means all."""
    asked: dict[str, list[str]] = {}
    whole = set()
    for each in what:
        host, slash, name = each.partition("/")
        if host not in hosts:
            raise UsageError(f"the inventory has no host {host!r}", hint="see: reconciler get hosts")
        asked.setdefault(host, [])
        if slash:
            asked[host].append(name)
        else:
            whole.add(host)
    return {host: [] if host in whole else names for host, names in asked.items()}


def _find(asked: Mapping[str, list[str]], hosts: Mapping[str, Host], fleet: Fleet, owner: str) -> _Found:
    found = _Found()
    for name, names in asked.items():
        seen = fleet[name]
        if not seen.known:
            found.refused[name] = f"it does not answer: {seen.message}"
            continue
        place = Place(hosts[name], seen)
        for domain in _chosen(name, names, seen.domains.values(), found):
            try:
                found.adoptions[f"{name}/{domain.name}"] = adopt(domain, place, owner)
            except ReconcilerError as error:
                found.refused[f"{name}/{domain.name}"] = error.message
        _read_texts(hosts[name], found)
    _refuse_twins(found)
    return found


def _chosen(
    host: str, names: Sequence[str], domains: Iterable[ObservedDomain], found: _Found
) -> Iterator[ObservedDomain]:
    """The domains that are asked for; those that are ours already only if they are named."""
    by_name = {key: domain for domain in domains for key in (domain.uuid, domain.name)}
    if names:
        for name in names:
            if name in by_name:
                yield by_name[name]
            else:
                found.refused[f"{host}/{name}"] = "there is no such domain"
        return
    yield from (
        domain for _, domain in sorted({d.name: d for d in by_name.values() if not d.applied}.items())
    )


def _read_texts(host: Host, found: _Found) -> None:
    """Look up what the manifests of a host's domains do not say."""
    mine = {where: each for where, each in found.adoptions.items() if where.startswith(f"{host.name}/")}
    try:
        texts = domain_texts(host, [each.applied.uid for each in mine.values()])
    except HostError as error:
        for where in mine:
            del found.adoptions[where]
        found.refused[host.name] = error.message
        return
    for where, each in mine.items():
        found.kept[where] = unmodelled(texts.get(each.applied.uid, ""), each.vm.spec)


def _refuse_twins(found: _Found) -> None:
    """A name or a MAC stands in a desired state once: the first domain with it wins."""
    first: dict[str, str] = {}
    for where, adoption in list(found.adoptions.items()):
        macs = [nic.mac for nic in adoption.applied.config.interfaces or ()]
        for key, word in [(adoption.vm.name, "name"), *((mac, f"MAC {mac}") for mac in macs)]:
            other = first.setdefault(f"{word[:3]} {key}", where)
            if other != where:
                found.refused[where] = f"its {word} is that of {other} too: import it on its own"
                found.adoptions.pop(where, None)


def _text(where: str, adoption: Adoption, kept: Sequence[str]) -> str:
    lines = [f"# {_comment(where)}, as it was found."]
    if kept:
        lines.append("# Not modelled, and kept as it is by adoption:")
        lines += [f"#   {_comment(each)}" for each in kept]
    lines += [f"# {_comment(note)}" for note in adoption.notes]
    return "\n".join([*lines, to_yaml(adoption.vm)])


def _comment(text: str) -> str:
    """Text that cannot end a comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _json(found: _Found, written: Sequence[Path]) -> dict[str, object]:
    return {
        "written": [str(path) for path in written],
        "machines": [
            {
                "domain": where,
                "name": adoption.vm.name,
                "kept": list(found.kept[where]),
                "notes": list(adoption.notes),
            }
            for where, adoption in found.adoptions.items()
        ],
        "refused": [{"what": what, "reason": reason} for what, reason in found.refused.items()],
    }


def _tell(found: _Found, written: Sequence[Path]) -> None:
    for where, adoption in found.adoptions.items():
        if found.kept[where]:
            click.echo(
                f"note: {where} has more than is modelled, adopt keeps it: {', '.join(found.kept[where])}",
                err=True,
            )
        for note in adoption.notes:
            click.echo(f"note: {where}: {note}", err=True)
    for what, reason in found.refused.items():
        click.echo(f"not imported: {what}: {reason}", err=True)
    for path in written:
        click.echo(f"wrote {path}")
    if written:
        domains = " ".join(map(shlex.quote, found.adoptions))
        click.echo(
            f"{plural(len(written), 'machine is', 'machines are')} described, and none is ours yet: "
            "look at the files, then run `reconciler adopt` for each of " + domains
        )
