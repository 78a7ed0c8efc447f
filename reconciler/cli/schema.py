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
@click.option(
    "-o", "--output", type=click.Choice(["json", "markdown", "openapi"]), default="json", show_default=True
)
def schema(output: str) -> None:
    """Print the JSON Schema of the manifests for editors, or the reference of every field for people.

    With `-o openapi` the description of the REST API, as the server has it at /openapi.json.
    """
    if output == "openapi":
        from api.openapi.offline import offline  # noqa: PLC0415 - no other command needs a web framework here

        print_json(offline())
        return
    if output == "markdown":
        click.echo(reference(), nl=False)
        return
    print_json(json_schema())
