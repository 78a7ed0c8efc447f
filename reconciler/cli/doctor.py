"""`reconciler doctor`: what would stop us on each host."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.completion import complete_host
from reconciler.errors import UsageError
from reconciler.model.host import Host
from reconciler.observed.doctor import Finding, Level, diagnose_all

_SIGNS = {Level.OK: ("✓", "green"), Level.WARN: ("!", "yellow"), Level.FAIL: ("✗", "red")}


@click.command(
    epilog="""\b
Examples:
  reconciler doctor                   every host of the inventory
  reconciler doctor rack3-host7
  reconciler doctor -o json | jq '.hosts[][] | select(.level != "ok")'"""
)
@click.argument("names", metavar="[HOST]...", nargs=-1, shell_complete=complete_host)
@output_option
@options
def doctor(app: App, names: tuple[str, ...], output: str) -> None:
    """What would stop us on each host, and its remedy. Changes nothing; exits 1 if anything fails."""
    diagnoses = diagnose_all(_chosen(app.hosts(), names))
    if app.shipped_inventory:
        click.echo("no inventory is named (-i): this machine alone is looked at", err=True)
    failed = False
    report: dict[str, list[dict[str, str]]] = {}
    for host, findings in diagnoses:
        failed = failed or any(finding.level is Level.FAIL for finding in findings)
        if output == "json":
            report[host.name] = [asdict(finding) for finding in findings]
        else:
            _show(host, findings)
    if output == "json":
        print_json({"hosts": report})
    if failed:
        sys.exit(1)


def _chosen(hosts: Mapping[str, Host], names: Sequence[str]) -> list[Host]:
    """The hosts of these names, or all.

    Raises:
        UsageError: One is not in the inventory, or there is none at all.
    """
    for name in names:
        if name not in hosts:
            near = difflib.get_close_matches(name, hosts, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see: reconciler get hosts"
            raise UsageError(f"{name!r} is not in the inventory", hint=hint)
    if not hosts:
        raise UsageError("the inventory has no hosts", hint="name one with --inventory")
    return [hosts[name] for name in names or sorted(hosts)]


def _show(host: Host, findings: Sequence[Finding]) -> None:
    click.echo(f"{click.style(host.name, bold=True)}  {host.uri.partition('?')[0]}")
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        sign, color = _SIGNS[finding.level]
        click.echo(f"  {click.style(sign, fg=color)} {finding.check.ljust(width)}  {finding.message}")
        if finding.remedy:
            click.echo(f"    {' ' * width}  → {finding.remedy}")
    click.echo()
