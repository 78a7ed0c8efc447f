"""`reconciler validate`: is the desired state right? Asks no host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.server import remotely
from reconciler.desired.validation import validation
from reconciler.errors import DesiredStateError, Problem


@click.command(
    epilog="""\b
Examples:
  reconciler validate -s ./machines
  reconciler validate -s ./machines@main -o json"""
)
@output_option
@options
@remotely
def validate(app: App, output: str) -> int:
    """Check every manifest, and what they say of each other.

    Names every mistake with file, line and column. Reads the source only: no host is asked.
    """
    if output == "text" and app.remote is None:
        app.source.read()  # an error as every command tells it, with its hint
    found: dict[str, Any] = app.remote.view("validation") if app.remote else validation(app.source.read)
    if output == "json":
        print_json(found)
    elif found["valid"]:
        click.echo(f"Valid: {_in_words(found)} at {found['revision']}.")
    else:
        raise DesiredStateError([Problem(**one) for one in found["problems"]])
    return 0 if found["valid"] else DesiredStateError.exit_code


_ALWAYS = {"machines": "machine", "instanceTypes": "instance type", "images": "image"}
_RARELY = {
    "storagePools": "pool",
    "volumes": "volume",
    "networks": "network",
    "virtualMachinePools": "machine pool",
}


def _in_words(counts: Mapping[str, Any]) -> str:
    """``6 machines, 2 instance types, 1 image``; of the rarer kinds only those that are there."""
    found = [(counts[key], noun) for key, noun in _ALWAYS.items()]
    found += [(counts[key], noun) for key, noun in _RARELY.items() if counts.get(key)]
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in found)
