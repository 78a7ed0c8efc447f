"""One ansible-playbook, by ansible-runner. The only importer of ansible_runner."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_runner import Runner, RunnerConfig
from ansible_runner.exceptions import AnsibleRunnerException

from reconciler.errors import PushError
from reconciler.push.results import Trouble
from reconciler.push.run_dir import RunDirectory
from reconciler.settings import bin_dir, data_dir, utf8_locale

_KEPT = re.compile(
    "HOME|LANG|LC_.*|TZ|USER|LOGNAME|TMPDIR|SSH_AUTH_SOCK|KRB5CCNAME|XDG_RUNTIME_DIR|"
    "ANSIBLE_(CALLBACK_PLUGINS|STDOUT_CALLBACK|VAULT_PASSWORD_FILE)|AWX_ISOLATED_DATA_DIR|RUNNER_.*"
)
"""What of the environment Ansible gets. ansible-runner writes it to disk, so it must hold no secret."""

_FAILURES = {"runner_on_failed": "AnsibleFailed", "runner_on_unreachable": "HostUnreachable"}
_HOSTS_FAILED = (2, 4)
"""How ansible-playbook ends when hosts failed or were unreachable: each of them has said so itself."""
_TASK = "reconciler_apply"
_IDENT = "run"
_TAIL = 2000


def command(run: RunDirectory, inventory: Sequence[Path], variables: Mapping[str, str]) -> list[str]:
    """The command line that does the same by hand."""
    words = ["ansible-playbook"]
    for path in inventory:
        words += ["-i", str(path)]
    words += ["--limit", f"@{run.limit}", "-e", json.dumps(dict(variables))]
    return [*words, str(playbook())]


def playbook() -> Path:
    """The playbook that carries a plan out."""
    return data_dir("playbooks") / "apply.yml"


def clean_environment(prepared: Mapping[str, str]) -> dict[str, str]:
    """What Ansible gets of the environment that ansible-runner prepared."""
    kept = {name: value for name, value in prepared.items() if _KEPT.fullmatch(name)}
    ours = {
        "PATH": f"{bin_dir()}:{prepared.get('PATH', '/usr/bin:/bin')}",
        "ANSIBLE_CONFIG": str(data_dir("playbooks") / "ansible.cfg"),
        # ansible-runner would turn the check off unless told; an inventory variable still wins.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
    }
    return kept | utf8_locale() | ours


class AnsibleRun:
    """One run for a batch of hosts.

    Args:
        run: The folder with the hosts' documents.
        inventory: The operator's inventories.
        variables: Extra variables: paths of the operator's, never text from a manifest.
        forks: Hosts side by side.
        timeout: Seconds for the whole run.
    """

    def __init__(
        self,
        run: RunDirectory,
        inventory: Sequence[Path],
        variables: Mapping[str, str],
        forks: int,
        timeout: int,
    ) -> None:
        if not (bin_dir() / "ansible-playbook").exists():
            raise PushError(
                f"there is no ansible-playbook in {bin_dir()}",
                hint="reinstall reconciler with its dependencies",
            )
        self._run = run
        self._config = RunnerConfig(
            private_data_dir=str(run.runner),
            ident=_IDENT,
            playbook=str(playbook()),
            inventory=[str(path) for path in inventory],
            limit=f"@{run.limit}",
            extravars=dict(variables),
            forks=forks,
            timeout=timeout or None,
            quiet=True,
            only_failed_event_data=True,
            fact_cache_type="none",
        )
        self.troubles: dict[str, Trouble] = {}
        self.whole: Trouble | None = None
        self._timeout = timeout
        self._played = False

    def execute(self) -> None:
        """Run to the end. Whatever went wrong is in `troubles` (a host's) and `whole` afterwards."""
        try:
            self._config.prepare()
            self._config.env = clean_environment(self._config.env)
            runner = Runner(self._config, event_handler=self._on_event)
            runner.run()
        except (AnsibleRunnerException, OSError) as error:
            self.whole = Trouble("AnsibleFailed", f"ansible-runner cannot run: {error}")
            return
        if runner.status == "timeout":
            self.whole = Trouble("Timeout", f"the run was stopped after {self._timeout} s")
        elif runner.status != "successful" and not (self._played and runner.rc in _HOSTS_FAILED):
            self.whole = Trouble("AnsibleFailed", f"ansible-playbook ended with {runner.rc}: {self._tail()}")

    def _on_event(self, event: Mapping[str, Any]) -> bool:
        """Remember what a host stumbled over; True keeps the event on disk."""
        kind = event.get("event", "")
        self._played = self._played or kind == "playbook_on_task_start"
        reason = _FAILURES.get(kind)
        if reason is None:
            return False
        data = event.get("event_data", {})
        answer = data.get("res", {})
        if data.get("task_action") == _TASK:
            if "counts" not in answer:  # it failed as a whole; otherwise its progress has told already
                self._remember(data, Trouble("InternalError", _told(answer)))
        else:
            word = reason if reason == "HostUnreachable" else "HookFailed"
            self._remember(data, Trouble(word, f"the task {data.get('task')!r} failed: {_told(answer)}"))
        return True

    def _remember(self, data: Mapping[str, Any], trouble: Trouble) -> None:
        self.troubles.setdefault(str(data.get("host", "")), trouble)

    def _tail(self) -> str:
        """The end of what Ansible printed, where a mistake in an inventory or a hook shows."""
        try:
            text = (self._run.runner / "artifacts" / _IDENT / "stdout").read_text(errors="replace")
        except OSError:
            return "it printed nothing"
        return re.sub(r"\x1b\[[0-9;]*m", "", text)[-_TAIL:].strip()


def _told(answer: Mapping[str, Any]) -> str:
    return str(answer.get("msg") or answer.get("stderr") or "it said nothing").replace("\\n", " ").strip()
