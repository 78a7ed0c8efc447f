"""A whole installation behind the API, with a host of libvirt's test driver that has one machine of ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from reconciler.cli.app import App
from reconciler.cli.serving import services
from reconciler.model.domain import CONFIG_JSON, DomainConfig

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"

MANIFESTS = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 64Mi}
---
apiVersion: reconciler/v1
kind: Volume
metadata: {name: data}
spec: {pool: default-pool, size: 1Gi}
---
# the shop's first machine
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: web-1, labels: {app: shop}}
spec: {cpus: 1, memory: 64Mi}
---
apiVersion: reconciler/v1
kind: VirtualMachinePool
metadata: {name: runners}
spec: {size: {max: 3, warm: 1}, template: {spec: {cpus: 1, memory: 64Mi}}}
"""


@dataclass
class World:
    """Where it is.

    Attributes:
        folder: Holds everything; `config` is its configuration file.
        app: As commands open it.
        services: What the API works with.
    """

    folder: Path
    app: App
    services: Any

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "reconciler.yaml"


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make it in an empty folder."""
    lay_out(folder)
    app = App(folder / "reconciler.yaml")
    with services(app) as made:
        yield World(folder, app, made)
    app.store.close()


def lay_out(folder: Path) -> None:
    """Write its files: a configuration, an inventory, a host's state and a git repository."""
    (folder / "source").mkdir(parents=True)
    host = {"reconciler_uri": f"test://{folder}/node.xml", "reconciler_virt_type": "test"}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"kvm1": host}}}))
    (folder / "node.xml").write_text(_node())
    (folder / "reconciler.yaml").write_text(
        "source: {path: source, git: true, ref: main}\ninventory: [hosts.yml]\nstateDir: state\n"
        "api: {anonymous: true, olderApis: {orchestration: true, reservations: runners}}\n"
    )
    (folder / "source" / "site.yaml").write_text(MANIFESTS)
    for words in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("config", "user.name", "Site"),
        ("config", "user.email", "site@example.org"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "begin"),
    ):
        subprocess.run(["git", "-C", str(folder / "source"), *words], check=True)


def _node() -> str:
    config = CONFIG_JSON.dump_json(DomainConfig("web-1", UID)).decode()
    mark = (
        f'<r:vm xmlns:r="urn:reconciler:vm:v1" owner="default" uid="{UID}" '
        f'name={quoteattr("web-1")} generation="1" hash="">{escape(config)}</r:vm>'
    )
    size = "<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
    return f"""<node><memory>67108864</memory>
      <domain type='test'><name>web-1</name><uuid>{UID}</uuid><metadata>{mark}</metadata>{size}</domain>
      <domain type='test'><name>stray</name><uuid>{UID[:-2]}ff</uuid>{size}</domain></node>"""
