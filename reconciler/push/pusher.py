"""Carries a plan out: one ansible-runner run for a batch of hosts, exactly one result for each action."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.errors import PushError, SecretError
from reconciler.model.config import HooksConfig, PushConfig
from reconciler.model.guest import SecretRef
from reconciler.model.host import Fleet, Host
from reconciler.model.operations import PutSeed
from reconciler.model.plan import Action, ActionResult, Plan
from reconciler.push.ansible import AnsibleRun, command
from reconciler.push.host_plan import HostPlanner, waves, without
from reconciler.push.results import OnProgress, Results, Trouble, one_line
from reconciler.push.run_dir import RunDirectory, new_path, prune, runs_folder, workers_lock
from reconciler.push.seed import ReadSecret, Resolved, resolve
from reconciler.push.seed_server import served

_TAIL_SECONDS = 0.05
"""How often progress is looked at."""


def _no_secrets(ref: SecretRef) -> str:
    raise SecretError(f"{ref} cannot be read: nobody said how")


def _refuse(actions: Iterable[Action], seeds: Resolved, results: Results) -> None:
    """A machine whose secrets cannot be read is not touched at all; others are."""
    for vm, message in seeds.refused.items():
        mine = [action for action in actions if action.vm == vm]
        writing = [action for action in mine if isinstance(action.operation, PutSeed)]
        results.settle(writing, Trouble("SecretMissing", message))
        results.settle(mine, Trouble("SecretMissing", message, failed=False))


_CANCELLED = Trouble("Cancelled", "the run was asked to stop", failed=False)


class Pusher:
    """Pushes plans to hosts.

    Args:
        config: Forks, batches, time limits, how many runs are kept.
        owner: Name of this installation in the mark of its domains.
        inventory: Ansible inventories.
        state_dir: The runs' folders are made in ``runs`` below it.
        hooks: Playbooks before and after; their paths are absolute.
        read_secret: Gives the text of a secret that a manifest refers to.
    """

    def __init__(
        self,
        config: PushConfig,
        owner: str,
        inventory: Sequence[Path],
        state_dir: Path,
        hooks: HooksConfig | None = None,
        read_secret: ReadSecret | None = None,
    ) -> None:
        self._config = config
        self._owner = owner
        self._inventory = tuple(inventory)
        self._state_dir = state_dir
        self._hooks = hooks or HooksConfig()
        self._read_secret = read_secret or _no_secrets
        self._cancelled = False
        self._current: RunDirectory | None = None

    def cancel(self) -> None:
        """Finish the steps in hand and skip the rest, for good. Safe in a signal handler."""
        self._cancelled = True
        if self._current is not None:
            self._current.cancel()

    def push(
        self,
        plan: Plan,
        hosts: Mapping[str, Host],
        fleet: Fleet,
        templates: Mapping[str, str],
        on_progress: OnProgress = lambda _: None,
    ) -> tuple[ActionResult, ...]:
        """Carry `plan` out.

        Args:
            plan: What to do.
            hosts: The inventory.
            fleet: What was observed.
            templates: Text of the users' XML templates, by path.
            on_progress: Called, in this thread, with each result as it comes, and with sentences.

        Returns:
            One result for each action, in the plan's order.

        Raises:
            PushError: Nothing can be run at all.
        """
        results = Results(plan.actions, on_progress)
        planner = self._planner(hosts, fleet, templates, workers_lock(self._state_dir))
        seeds = resolve(plan.actions, self._read_secret)
        _refuse(plan.actions, seeds, results)
        for wave in waves(plan):
            strangers = [action for action in wave if action.host not in hosts]
            results.settle(strangers, Trouble("HostUnknown", "the host is not in the inventory"))
            for batch in self._batches(results.outstanding(wave)):
                self._push_batch(batch, planner, results, seeds, on_progress)
        return results.all()

    def bundle(
        self,
        plan: Plan,
        hosts: Mapping[str, Host],
        fleet: Fleet,
        templates: Mapping[str, str],
        directory: Path,
    ) -> list[str]:
        """Write a run's folder for carrying the plan out by hand.

        Returns:
            The command line that does it.

        Raises:
            PushError: The folder cannot be written, or one run is not enough for this plan.
        """
        if len(waves(plan)) > 1:
            raise PushError(
                "in this plan a host waits for another host, which takes several runs",
                hint="use `reconciler apply`, which makes one after the other",
            )
        planner = self._planner(hosts, fleet, templates, None)
        documents = {host: planner.document(host, actions) for host, actions in plan.by_host().items()}
        run = RunDirectory.create(directory.absolute(), documents)
        return command(run, self._inventory, self._variables(run))

    def _planner(
        self, hosts: Mapping[str, Host], fleet: Fleet, templates: Mapping[str, str], lock: Path | None
    ) -> HostPlanner:
        return HostPlanner(
            self._owner, self._config.parallel, hosts, fleet, templates, str(lock) if lock else None
        )

    def _variables(self, run: RunDirectory) -> dict[str, str]:
        variables = {"reconciler_run": str(run.path)}
        if self._hooks.before:
            variables["reconciler_hook_before"] = self._hooks.before
        if self._hooks.after:
            variables["reconciler_hook_after"] = self._hooks.after
        return variables

    def _batches(self, actions: Iterable[Action]) -> list[dict[str, list[Action]]]:
        by_host: dict[str, list[Action]] = {}
        for action in actions:
            by_host.setdefault(action.host, []).append(action)
        hosts = sorted(by_host)
        size = self._config.batch
        return [{host: by_host[host] for host in hosts[at : at + size]} for at in range(0, len(hosts), size)]

    def _push_batch(
        self,
        batch: Mapping[str, list[Action]],
        planner: HostPlanner,
        results: Results,
        seeds: Resolved,
        on_progress: OnProgress,
    ) -> None:
        everything = list(itertools.chain.from_iterable(batch.values()))
        if self._cancelled:
            results.settle(everything, _CANCELLED)
            return
        done = results.succeeded()
        documents = {
            host: planner.document(host, [without(action, done) for action in actions])
            for host, actions in batch.items()
        }
        runs_folder(self._state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        run = RunDirectory.create(new_path(self._state_dir), documents)
        config = self._config
        ansible = AnsibleRun(run, self._inventory, self._variables(run), config.forks, config.timeout)
        mine = {action.id: seeds.files[action.id] for action in everything if action.id in seeds.files}
        with run.held(), served(run.path, mine):
            self._current = run
            try:
                self._follow(ansible, run, results, on_progress)
            finally:
                self._current = None
        self._settle(batch, ansible, results, on_progress)
        prune(self._state_dir, config.artifacts)

    def _follow(
        self, ansible: AnsibleRun, run: RunDirectory, results: Results, on_progress: OnProgress
    ) -> None:
        """Pass on what the workers report until Ansible ends; Ctrl-C once asks them to stop."""
        worker = threading.Thread(target=ansible.execute, daemon=True, name="ansible")
        worker.start()
        while worker.is_alive():
            try:
                worker.join(_TAIL_SECONDS)
                results.take(run.news())
            except KeyboardInterrupt:
                if self._cancelled:
                    raise
                self.cancel()
                on_progress("stopping after the steps in hand; Ctrl-C again abandons them")
        results.take(run.news())

    def _settle(
        self,
        batch: Mapping[str, list[Action]],
        ansible: AnsibleRun,
        results: Results,
        on_progress: OnProgress,
    ) -> None:
        """Results for what was never reported: Ansible lost the host, or died."""
        died = Trouble("AnsibleFailed", "ansible-playbook ended without a word about this host")
        for host, actions in batch.items():
            trouble = ansible.troubles.get(host)
            if trouble is not None and not results.outstanding(actions):
                on_progress(f"{host}: {one_line(trouble.message)}")
            if self._cancelled:
                trouble = trouble or _CANCELLED
            results.settle(actions, trouble or ansible.whole or died)
