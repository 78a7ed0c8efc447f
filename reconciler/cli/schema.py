"""`reconciler schema`: the JSON Schema of the manifests."""

from __future__ import annotations

import click

from reconciler.cli.app import print_json
from reconciler.desired.schema import json_schema


@click.command(
    epilog="""\b
Example, for any editor with a YAML language server:
  reconciler schema > reconciler.schema.json
and as the first line of a manifest:
  # yaml-language-server: $schema=reconciler.schema.json"""
)
def schema() -> None:
    """Print the JSON Schema of the manifests, for editors."""
    print_json(json_schema())
