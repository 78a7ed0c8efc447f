"""Ansible inventory plugin: the machines of a reconciler installation as hosts.

It asks the program ``reconciler``, which may live in another Python environment than Ansible, and takes
everything that it hears for data: text from manifests and guests is never a template here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.unsafe_proxy import wrap_var

DOCUMENTATION = r"""
name: reconciler
short_description: Virtual machines that reconciler keeps
description:
  - Lists the machines of a reconciler installation, with their addresses, and groups from labels.
  - The configuration is a file called C(reconciler.yml), C(reconciler.yaml), or something that ends in
    C(.reconciler.yml) or C(.reconciler.yaml).
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: Has to be C(reconciler).
    required: true
    choices: [reconciler]
  command:
    description: The program and its first arguments.
    type: list
    elements: str
    default: [reconciler]
  config:
    description: The installation's configuration file. Relative paths start at this file's folder.
    type: str
  source:
    description: Desired state, as C(reconciler --source) has it.
    type: str
  inventories:
    description: The inventories of libvirt hosts, as C(reconciler --inventory) has them.
    type: list
    elements: str
    default: []
  state_dir:
    description: Folder of the store.
    type: str
  jump:
    description: Whether guests are reached through ssh to their hosts.
    type: str
    choices: [auto, always, never]
    default: auto
  timeout:
    description: Seconds that reconciler may take.
    type: int
    default: 120
"""

EXAMPLES = r"""
plugin: reconciler
config: /etc/reconciler/reconciler.yaml
keyed_groups:
  - key: reconciler.labels.tier
    prefix: tier
"""

_ENDINGS = ("reconciler.yml", "reconciler.yaml")
_UNSAFE = "__ansible_unsafe"


class InventoryModule(BaseInventoryPlugin, Constructable):  # type: ignore[misc]
    """See `DOCUMENTATION`."""

    NAME = "reconciler"

    def verify_file(self, path: str) -> bool:
        """True for a file whose name says that it is ours."""
        return bool(super().verify_file(path)) and path.endswith(_ENDINGS)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill Ansible's inventory.

        Raises:
            AnsibleParserError: reconciler cannot be asked, or refuses.
        """
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        listing = self._ask(Path(path).absolute().parent)
        variables = listing.pop("_meta")["hostvars"]
        for group, members in listing.items():
            self.inventory.add_group(group)
            for name in members["hosts"]:
                self.inventory.add_host(name, group=group)
        for name, values in variables.items():
            for key, value in values.items():
                self.inventory.set_variable(name, key, wrap_var(_plain(value)))
            self._construct(name)

    def _construct(self, name: str) -> None:
        """The user's own variables and groups; their templates come from the configuration file."""
        strict = self.get_option("strict")
        values = self.inventory.get_host(name).get_vars()
        self._set_composite_vars(self.get_option("compose"), values, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), values, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), values, name, strict=strict)

    def _ask(self, folder: Path) -> dict[str, Any]:
        """What ``reconciler inventory --list`` says; relative paths start at `folder`."""
        command = [*self.get_option("command"), "inventory", "--list", "--jump", self.get_option("jump")]
        for option in ("config", "source", "state_dir"):
            if self.get_option(option):
                command += [f"--{option.replace('_', '-')}", self.get_option(option)]
        for each in self.get_option("inventories"):
            command += ["--inventory", each]
        words = [str(word) for word in command]
        seconds = self.get_option("timeout")
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
                cwd=folder,
            )
        except OSError as error:
            raise AnsibleParserError(f"cannot run {words[0]}: {error.strerror}; set `command`") from error
        except subprocess.TimeoutExpired as error:
            raise AnsibleParserError(f"{words[0]} gave no answer within {seconds} seconds") from error
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode:
            raise AnsibleParserError(f"{words[0]} inventory failed ({done.returncode}):\n{said}")
        for line in said.splitlines():
            self.display.warning(f"reconciler: {line}")
        answer = json.loads(done.stdout)
        if not isinstance(answer, dict):
            raise AnsibleParserError(f"{words[0]} inventory did not answer with a mapping")
        return answer


def _plain(value: Any) -> Any:
    """`value` without the marks that inventory scripts need: here everything is marked."""
    if isinstance(value, dict):
        return (
            value[_UNSAFE]
            if value.keys() == {_UNSAFE}
            else {key: _plain(each) for key, each in value.items()}
        )
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
