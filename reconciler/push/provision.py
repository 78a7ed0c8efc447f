"""Runs the playbook of ``spec.provision`` for one machine, by ansible-runner.

What a manifest says gets there by one way only: its inventory, whose texts are marked as no templates.  The
playbook is the state repository's own, at the commit that is desired.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_runner import Runner, RunnerConfig
from ansible_runner.exceptions import AnsibleRunnerException

from reconciler.model.config import ProvisionConfig
from reconciler.push.ansible import clean_environment
from reconciler.push.results import Trouble, one_line
from reconciler.push.run_dir import new_path

_IDENT = "provision"
_LONGEST = 500


class Provisioner:
    """Runs playbooks that are meant for one machine each.

    Args:
        config: How to log in.
        base: Folder that relative paths of the configuration start at.
        state_dir: Private folders are made in ``provision`` below it, and removed again.
        vault_password_file: For playbooks with vaulted variables, or None.
    """

    def __init__(
        self, config: ProvisionConfig, base: Path, state_dir: Path, vault_password_file: str | None = None
    ) -> None:
        self._config = config
        self._base = base
        self._folder = state_dir / "provision"
        self._vault = str(base / vault_password_file) if vault_password_file else None

    def run(
        self,
        playbook: str,
        inventory: Mapping[str, Any],
        uid: str,
        timeout: int,
        lay_out: Callable[[Path], Path],
    ) -> Trouble | None:
        """Run a playbook to its end.

        Args:
            playbook: Its path in the state repository.
            inventory: The machine and no other, as an inventory script answers ``--list``.
            uid: The machine's; its ssh host key is remembered under it.
            timeout: Seconds.
            lay_out: Gives a folder with the state repository's files; a new one goes to the path given.

        Returns:
            What went wrong, or None.
        """
        try:
            with self._workspace() as work:
                root = lay_out(work / "source").resolve()
                path = (root / playbook).resolve()
                if not path.is_relative_to(root) or not path.is_file():
                    return Trouble("PlaybookMissing", f"the state repository has no playbook {playbook}")
                return self._play(work, root, path, (inventory, uid, timeout))
        except (AnsibleRunnerException, OSError) as error:
            return Trouble("AnsibleFailed", f"ansible-runner cannot run: {error}")

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = self._folder / new_path(self._folder).name
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _play(
        self, work: Path, root: Path, playbook: Path, task: tuple[Mapping[str, Any], str, int]
    ) -> Trouble | None:
        inventory, uid, timeout = task
        config = RunnerConfig(
            private_data_dir=str(work / "ansible"),
            project_dir=str(root),
            ident=_IDENT,
            playbook=str(playbook),
            inventory=str(self._inventory(work, inventory)),
            timeout=timeout or None,
            cmdline=shlex.join(self._login(uid)),
            quiet=True,
            only_failed_event_data=True,
            fact_cache_type="none",
        )
        config.prepare()
        config.env = self._environment(config.env)
        failures: list[str] = []
        runner = Runner(config, event_handler=lambda event: _remember(event, failures))
        runner.run()
        if runner.status == "successful":
            return None
        if runner.status == "timeout":
            return Trouble("Timeout", f"it was stopped after {timeout} s{_during(failures)}")
        told = failures[0] if failures else f"ansible-playbook ended with {runner.rc}: {_tail(work)}"
        return Trouble("Failed", one_line(told)[:_LONGEST])

    def _inventory(self, work: Path, inventory: Mapping[str, Any]) -> Path:
        """A script, since only of a script's answer Ansible takes the marks for what is no template."""
        answer = work / "inventory.json"
        answer.write_text(json.dumps(inventory))
        script = work / "inventory"
        script.write_text(f"#!/bin/sh\nexec cat -- {shlex.quote(str(answer))}\n")
        script.chmod(0o700)
        return script

    def _login(self, uid: str) -> list[str]:
        """Options of ansible-playbook. A new machine's host key is taken once, and held to ever after."""
        known = self._folder / "known_hosts" / uid
        known.parent.mkdir(mode=0o700, exist_ok=True)
        options = ["-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={known}"]
        words = ["--ssh-extra-args", shlex.join(options)]
        if self._config.user:
            words += ["--user", self._config.user]
        if self._config.private_key_file:
            words += ["--private-key", str(self._base / self._config.private_key_file)]
        return words

    def _environment(self, prepared: Mapping[str, str]) -> dict[str, str]:
        environment = clean_environment(prepared)
        # The playbook is people's own, and so is its ansible.cfg: ours gathers no facts.
        del environment["ANSIBLE_CONFIG"]
        if self._vault is not None:
            environment["ANSIBLE_VAULT_PASSWORD_FILE"] = self._vault
        return environment


def _remember(event: Mapping[str, Any], failures: list[str]) -> bool:
    """Note the tasks that failed, and keep no event on disk: what a task says may be anything."""
    data = event.get("event_data", {})
    if event.get("event") == "runner_on_unreachable":
        failures.append(f"the machine cannot be reached: {_message(data)}")
    elif event.get("event") == "runner_on_failed" and not data.get("ignore_errors"):
        failures.append(f"the task {data.get('task')!r} failed: {_message(data)}")
    return False


def _message(data: Mapping[str, Any]) -> str:
    answer = data.get("res", {})
    if answer.get("censored") or answer.get("_ansible_no_log"):
        return "it may not say why (no_log)"
    return str(answer.get("msg") or answer.get("stderr") or "it said nothing")


def _during(failures: list[str]) -> str:
    return f"; {failures[0]}" if failures else ""


def _tail(work: Path) -> str:
    try:
        text = (work / "ansible" / "artifacts" / _IDENT / "stdout").read_text(errors="replace")
    except OSError:
        return "it printed nothing"
    return text[-_LONGEST:].strip()
