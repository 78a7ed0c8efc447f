"""`reconciler validate`: is the desired state right? Asks no host."""

from __future__ import annotations

from collections.abc import Sequence

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.desired import DesiredState


@click.command(
    epilog="""\b
Examples:
  reconciler validate -s ./machines
  reconciler validate -s ./machines@main -o json"""
)
@output_option
@options
def validate(app: App, output: str) -> int:
    """Check every manifest, and what they say of each other.

    Names every mistake with file, line and column. Reads the source only: no host is asked.
    """
    try:
        state = app.source.read()
    except DesiredStateError as error:
        if output != "json":
            raise
        print_json({"valid": False, "problems": _problems(error.problems)})
        return error.exit_code
    if output == "json":
        print_json({"valid": True, "problems": [], "revision": state.revision, **_counts(state)})
    else:
        click.echo(f"Valid: {_in_words(state)} at {state.revision}.")
    return 0


def _counts(state: DesiredState) -> dict[str, int]:
    return {
        "machines": len(state.machines),
        "instanceTypes": len(state.instance_types),
        "images": len(state.images),
        "storagePools": len(state.pools),
        "volumes": len(state.volumes),
        "networks": len(state.networks),
    }


def _in_words(state: DesiredState) -> str:
    """``6 machines, 2 instance types, 1 image``; of the rarer kinds only those that are there."""
    always = ((len(state.machines), "machine"), (len(state.instance_types), "instance type"))
    rarely = ((len(state.pools), "pool"), (len(state.volumes), "volume"), (len(state.networks), "network"))
    counts = (*always, (len(state.images), "image"), *(one for one in rarely if one[0]))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def _problems(problems: Sequence[Problem]) -> list[dict[str, object]]:
    fields = ("file", "line", "column", "path", "message", "object")
    return [{field: getattr(problem, field) for field in fields} for problem in problems]
