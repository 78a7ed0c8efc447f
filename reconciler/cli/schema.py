"""`reconciler schema`: every field of the manifests, for editors and for people."""

from __future__ import annotations

import click

from reconciler.cli.app import print_json
from reconciler.desired.reference import reference
from reconciler.desired.schema import json_schema


@click.command(
    epilog="""\b
Example, for any editor with a YAML language server:
  reconciler schema > reconciler.schema.json
and as the first line of a manifest:
  # yaml-language-server: $schema=reconciler.schema.json"""
)
@click.option("-o", "--output", type=click.Choice(["json", "markdown"]), default="json", show_default=True)
def schema(output: str) -> None:
    """Print the JSON Schema of the manifests for editors, or the reference of every field for people."""
    if output == "markdown":
        click.echo(reference(), nl=False)
        return
    print_json(json_schema())
