# Copyright: the reconciler project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out one host's whole part of a plan, over libvirt, from the controller.

    - reconciler_apply:      # with the variable reconciler_run: the folder that `reconciler` wrote

The plan is read as data from ``hosts/<host>.json`` in that folder.  Nothing in it is ever a variable or a
template of Ansible's.  A host without a file has nothing to do.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible puts the folders beside a playbook on the path of modules, which run on hosts, but not on that
# of plugins, which run here.
_UTILS = str(Path(__file__).resolve().parent.parent / "plugin_utils")
if _UTILS not in sys.path:
    sys.path.insert(0, _UTILS)

from reconciler_apply.carrier import AnsibleCarrier  # noqa: E402
from reconciler_apply.executor import Executor  # noqa: E402
from reconciler_apply.guard import Guard  # noqa: E402
from reconciler_apply.outcome import CHANGED, FAILED, SKIPPED, Result  # noqa: E402

display = Display()


class ActionModule(ActionBase):
    """One task for one host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Carry the host's document out; one result for each of its actions goes into progress.jsonl."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if not variables.get("reconciler_run"):
            raise AnsibleActionFail(
                "the variable reconciler_run is missing: -e reconciler_run=/path/of/a/run"
            )
        directory = Path(str(variables["reconciler_run"]))
        document = _read(directory, str(variables["inventory_hostname"]))
        if document is None:
            return result | {"changed": False, "counts": {}, "msg": "nothing to do"}
        executor = Executor(
            document,
            directory,
            AnsibleCarrier(self, variables),
            check=self._task.check_mode,
            tell=_show if Guard(directory).by_hand else lambda _: None,
        )
        summary = _summary(executor.run(), diff=self._task.diff)
        # A machine that failed must not keep the hook after an apply from its host.
        hook_follows = "reconciler_hook_after" in variables
        return result | summary | {"failed": summary["counts"].get(FAILED, 0) > 0 and not hook_follows}


def _read(directory: Path, host: str) -> dict[str, Any] | None:
    if not (directory / "hosts").is_dir():
        raise AnsibleActionFail(f"{directory} is not a run of reconciler: it has no folder 'hosts'")
    try:
        text = (directory / "hosts" / f"{quote(host, safe='')}.json").read_text()
    except FileNotFoundError:
        return None
    document: dict[str, Any] = json.loads(text)
    return document


def _summary(results: list[Result], *, diff: bool) -> dict[str, Any]:
    """Ansible's own result. What became of each action is in progress.jsonl, where the daemon reads it."""
    counts = Counter(result.outcome for result in results)
    summary: dict[str, Any] = {
        "changed": counts[CHANGED] > 0,
        "counts": dict(counts),
        "msg": f"{len(results)} actions, {counts[FAILED]} failed, {counts[SKIPPED]} skipped",
    }
    bad = [result for result in results if result.outcome == FAILED]
    if bad:
        told = "; ".join(f"{result.id}: {result.message}" for result in bad)
        summary["msg"] += f": {told}"
    if diff:
        summary["diff"] = [_diff(result) for result in results if result.diff]
    return summary


def _diff(result: Result) -> dict[str, str]:
    before, after = result.diff or ("", "")
    return {"before": before, "after": after, "before_header": result.id, "after_header": result.id}


def _show(result: Result) -> None:
    """For a person at a terminal; the daemon reads progress.jsonl instead."""
    tail = f": {result.message}" if result.message else ""
    display.display(f"  {result.id}: {result.outcome}{tail}")
