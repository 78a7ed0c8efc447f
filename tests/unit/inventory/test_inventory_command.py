"""The command, and what Ansible makes of it: as a script and through the plugin."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from support.command import Said, call

from reconciler.desired.inventory import Inventory
from reconciler.model.domain import CONFIG_JSON, DomainConfig
from reconciler.settings import READS_INVENTORY, bin_dir, data_dir
from reconciler.views.ansible import view

from .test_view import guest, never

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
HOST_ONLY = "all: {{hosts: {{kvm1: {{reconciler_uri: 'test://{node}', reconciler_virt_type: test}}}}}}\n"


class Installation:
    """A source with one machine that exists on a host of libvirt's test driver."""

    def __init__(self, folder: Path, name: str, label: str) -> None:
        self.folder = folder
        (folder / "source").mkdir(parents=True)
        (folder / "hosts.yml").write_text(HOST_ONLY.format(node=folder / "node.xml"))
        (folder / "node.xml").write_text(self._node(name))
        self.config = folder / "reconciler.yaml"
        self.config.write_text("source: {path: source}\ninventory: [hosts.yml]\nstateDir: state\n")
        manifest = {
            "apiVersion": "reconciler/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "labels": {"app": label}},
            "spec": {"cpus": 1, "memory": "64Mi"},
        }
        (folder / "source" / "vm.yaml").write_text(json.dumps(manifest))

    @staticmethod
    def _node(name: str) -> str:
        config = CONFIG_JSON.dump_json(DomainConfig(name, UID)).decode()
        mark = (
            f'<r:vm xmlns:r="urn:reconciler:vm:v1" owner="default" uid="{UID}" '
            f'name={quoteattr(name)} generation="1" hash="">{escape(config)}</r:vm>'
        )
        return f"""<node><memory>67108864</memory>
          <domain type='test'><name>{escape(name)}</name><uuid>{UID}</uuid><metadata>{mark}</metadata>
          <memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain></node>"""

    def inventory(self, *words: str) -> Said:
        """Run the command here."""
        return call("inventory", *words, "--config", str(self.config))


@pytest.fixture
def web(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "web", "web 1", "shop")


def test_list_and_host(web: Installation) -> None:
    said = web.inventory("--list")
    assert said.exit == 0, said.text
    listing = json.loads(said.out)
    assert listing["label_app_shop"] == {"hosts": ["web%201"]}
    assert json.loads(web.inventory("--host", "web 1").out) == listing["_meta"]["hostvars"]["web%201"]


def test_who_is_not_there_is_an_error(web: Installation) -> None:
    assert web.inventory("--host", "other").exit == 64
    assert web.inventory("--host", "web 1", "--list").exit == 64


def test_it_does_not_ask_itself(web: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READS_INVENTORY, "1")
    said = web.inventory("--list")
    assert said.exit == 64
    assert "it would ask itself" in said.err


def test_the_ansible_that_reads_our_hosts_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "hosts"
    script.write_text(
        f'#!/bin/sh\necho "${READS_INVENTORY}" >{tmp_path}/seen\necho \'{{"all": {{"hosts": ["a"]}}}}\'\n'
    )
    script.chmod(0o755)
    Inventory([script], tmp_path).hosts()
    assert (tmp_path / "seen").read_text() == "1\n"


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - debug: {msg: "SEEN {{ reconciler.labels.app }} {{ reconciler.name }} {{ inventory_hostname }}"}
    - debug: {msg: "TWICE {{ twice }} KEYED {{ groups.keyed_kvm1[0] }}"}
      when: twice is defined
"""


def test_ansible_takes_no_text_of_a_manifest_for_a_template(tmp_path: Path) -> None:
    """Three inventories: our script, our plugin, and a script as careless as ours must not be."""
    hostile = {
        which: "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / f"pwned-{which}")
        for which in ("script", "plugin", "careless")
    }
    folder = tmp_path / "inventories"
    folder.mkdir()
    for which, place in (("script", folder / "a-script"), ("plugin", tmp_path / "program")):
        one = guest(f"{which} {{{{ 7*7 }}}}", labels={"app": hostile[which]})
        _prints(place, view([one], never).listing)
    (folder / "reconciler.yml").write_text(
        "plugin: reconciler\ncommand: [../program]\nkeyed_groups: [{key: reconciler.host, prefix: keyed}]\n"
        "compose: {twice: reconciler.labels.app}\n"
    )
    variables = {"reconciler": {"labels": {"app": hostile["careless"]}, "name": "c"}}
    _prints(folder / "z-careless", {"_meta": {"hostvars": {"c": variables}}, "all": {"hosts": ["c"]}})
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    done = subprocess.run(
        [bin_dir() / "ansible-playbook", "-i", folder, tmp_path / "site.yml"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_INVENTORY_PLUGINS": str(data_dir("playbooks") / "inventory_plugins"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for which in ("script", "plugin"):
        name = f"{which}%20%7B%7B%207%2A7%20%7D%7D"
        assert f"SEEN {hostile[which]} {which} {{{{ 7*7 }}}} {name}" in done.stdout
    assert f"TWICE {hostile['plugin']}" in done.stdout
    assert "KEYED plugin" in done.stdout
    # The text would have been a command, had it not been marked.
    assert [path.name for path in tmp_path.glob("pwned-*")] == ["pwned-careless"]


def _prints(path: Path, listing: Mapping[str, Any]) -> None:
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{json.dumps(listing)}\nEOF\n")
    path.chmod(0o755)


def test_the_plugin_is_where_the_command_says() -> None:
    said = call("inventory", "--plugin-path")
    assert (Path(said.out.strip()) / "reconciler.py").is_file()
