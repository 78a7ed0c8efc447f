"""The Ansible inventory -> hosts. Whatever Ansible can read, because Ansible reads it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.desired.host_vars import make_host
from reconciler.desired.tree import file_version
from reconciler.errors import InventoryError
from reconciler.model.host import Host
from reconciler.settings import READS_INVENTORY, bin_dir, child_environment, utf8_locale

_DEADLINE = 120.0
_DYNAMIC_INTERVAL = 60.0
_ENVIRONMENT = {
    # Else an inventory that Ansible cannot read is a warning, and its hosts would seem to be gone.
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_INVENTORY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_DEPRECATION_WARNINGS": "0",
    "ANSIBLE_VERBOSITY": "0",
    READS_INVENTORY: "1",
}
_PLUGIN = re.compile(rb"^plugin\s*:", re.MULTILINE)


class Inventory:
    """The hosts of one or more Ansible inventories.

    Ansible takes most of a second, so the answer is kept until a file of the inventory changes, or (for a
    script or an inventory plugin, whose answer changes by itself) a minute has passed.

    Args:
        paths: Inventory files, folders and scripts.
        state_dir: Where scripts that stand in for ssh are kept.
        pattern: Which of its hosts are ours: an Ansible pattern such as ``libvirt:!lent``.
        deadline: Seconds that Ansible may take.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        state_dir: Path,
        pattern: str = "all",
        deadline: float = _DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(paths)
        self._state_dir = state_dir
        self._pattern = pattern
        self._deadline = deadline
        self._clock = clock
        self._fingerprint: Hashable = None
        self._read_at = 0.0
        self._dynamic = False
        self._hosts: Mapping[str, Host] | None = None

    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name; the same object as before if nothing changed.

        Raises:
            InventoryError: Ansible cannot read the inventory, a host variable is wrong (all of them are
                named), or there is no host at all.
        """
        now = self._clock()
        fingerprint = self._look()
        stale = self._dynamic and now - self._read_at >= _DYNAMIC_INTERVAL
        if self._hosts is not None and fingerprint == self._fingerprint and not stale:
            return self._hosts
        hosts = self._make(self._ask_ansible())
        known = self._hosts or {}
        kept = {name: known[name] if known.get(name) == host else host for name, host in hosts.items()}
        if self._hosts is None or kept != self._hosts:
            self._hosts = kept
        self._fingerprint, self._read_at = fingerprint, now
        self._dynamic = any(_is_dynamic(file) for path in self._paths for file in _files(path))
        return self._hosts

    def _look(self) -> Hashable:
        """What changes when a file of the inventory does."""
        now = time.time_ns()
        seen: list[Hashable] = []
        for path in self._paths:
            if not path.exists():
                raise InventoryError(f"the inventory {path} does not exist", hint="name it with -i PATH")
            for file in _files(path):
                try:
                    seen.append((str(file), file_version(file.stat(), now)))
                except OSError:
                    seen.append((str(file), None))
        return tuple(seen)

    def _ask_ansible(self) -> Mapping[str, Any]:
        inventories = [word for path in self._paths for word in ("-i", str(path.absolute()))]
        with subprocess.Popen(
            [str(bin_dir() / "ansible-inventory"), *inventories, "--limit", self._pattern, "--list"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(_ENVIRONMENT | utf8_locale()),
            start_new_session=True,  # so that a script that hangs can be ended together with Ansible
        ) as process:
            try:
                output, said = process.communicate(timeout=self._deadline)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                raise InventoryError(
                    f"ansible-inventory gave no answer within {self._deadline:.0f} seconds",
                    hint="does a dynamic inventory wait for something? try ansible-inventory --list by hand",
                ) from error
        if process.returncode:
            raise InventoryError(f"Ansible cannot read the inventory:\n{_last_lines(said)}")
        try:
            answer = json.loads(output)
        except ValueError as error:
            raise InventoryError(f"ansible-inventory did not answer in JSON: {error}") from error
        if not isinstance(answer, dict):
            raise InventoryError("ansible-inventory did not answer with a mapping")
        return answer

    def _make(self, answer: Mapping[str, Any]) -> Mapping[str, Host]:
        variables = answer.get("_meta", {}).get("hostvars", {})
        names = sorted(
            {name for group in answer.values() for name in group.get("hosts", ())} | set(variables)
        )
        if not names:
            shown = ", ".join(map(str, self._paths))
            which = "" if self._pattern == "all" else f" that match {self._pattern!r}"
            raise InventoryError(f"the inventory {shown} has no hosts{which}")
        hosts: dict[str, Host] = {}
        mistakes: list[str] = []
        for name in names:
            host, wrapper, wrong = make_host(name, variables.get(name, {}), self._state_dir)
            mistakes += [f"  host {name}: {each}" for each in wrong]
            if host is not None:
                hosts[name] = host
            if wrapper is not None:
                try:
                    wrapper.write()
                except OSError as error:
                    mistakes.append(f"  host {name}: cannot write {wrapper.path}: {error.strerror}")
        if mistakes:
            noun = "mistake" if len(mistakes) == 1 else "mistakes"
            raise InventoryError("\n".join([f"the inventory has {len(mistakes)} {noun}:", *mistakes]))
        return hosts


def _files(path: Path) -> Iterator[Path]:
    """Every file that Ansible may read for this inventory, and the folders that tell of new ones."""
    folders = [path] if path.is_dir() else [path.parent / "host_vars", path.parent / "group_vars"]
    if not path.is_dir():
        yield path
    for folder in folders:
        for parent, _, names in os.walk(folder, followlinks=True):
            yield Path(parent)
            yield from (Path(parent) / name for name in sorted(names))


def _is_dynamic(file: Path) -> bool:
    """A script, or the configuration of an inventory plugin: its answer changes without a file changing."""
    if not file.is_file():
        return False
    if file.suffix in (".yml", ".yaml"):
        return _PLUGIN.search(file.read_bytes()) is not None
    return os.access(file, os.X_OK)


def _last_lines(said: bytes, count: int = 8) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-count:])
