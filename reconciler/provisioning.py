"""Playbooks that are run once, when a machine is ready for the first time: when, and what became of them.

They run in threads of their own, a few at a time, so that no tick waits for one.  That one was begun is on
record before it begins: whatever dies, it is not run a second time unless somebody asks for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Host
from reconciler.model.manifest import VirtualMachine
from reconciler.model.readiness import Guests, ProvisionRecord
from reconciler.model.status import Event
from reconciler.planner import Survey
from reconciler.planner.readiness import playbook_digest
from reconciler.store.base import Store

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True, slots=True)
class ProvisionTask:
    """A playbook to be run for a machine.

    Attributes:
        vm: The machine.
        domain: Its domain, which runs.
        host: Where.
        playbook: Path in the state repository.
        revision: The desired state that says so.
        timeout: Seconds.
    """

    vm: VirtualMachine
    domain: ObservedDomain
    host: Host
    playbook: str
    revision: str
    timeout: int

    @property
    def key(self) -> tuple[str, str]:
        """What it is remembered by."""
        return self.domain.uuid, playbook_digest(self.playbook)


@dataclass(frozen=True, slots=True)
class ProvisionResult:
    """How it went: `reason` is a CamelCase word, the message names the task that failed."""

    ok: bool
    reason: str
    message: str


class RunsPlaybooks(Protocol):
    """Runs one playbook for one machine; `push.provision.Provisioner` does, given an inventory."""

    def __call__(self, task: ProvisionTask) -> ProvisionResult:
        """Run it to its end, or to its time limit. Never raises."""


def due(
    survey: Survey, guests: Guests, begun: Container[tuple[str, str]], revision: str
) -> Iterator[ProvisionTask]:
    """Machines that are ready and whose playbook is not among those that were `begun`."""
    hosts = survey.situation.hosts
    for name, record in guests.records.items():
        vm, domain = survey.situation.desired.machines[name], survey.located.get(name)
        wish = vm.spec.provision
        if wish is None or domain is None or record.ready is None:
            continue
        task = ProvisionTask(vm, domain, hosts[domain.host], wish.playbook, revision, wish.timeout)
        if task.key not in begun:
            yield task


def interrupt(store: Store, now: float) -> None:
    """What a process that is gone was running was interrupted; nobody knows how far it came.

    Call it only while holding the store.
    """
    lost = [record for record in store.provisions().values() if record.state == RUNNING]
    told = "it was interrupted: the process that ran it ended; `reconciler retry` runs it again"
    store.put_provisions(
        replace(one, state=FAILED, reason="Interrupted", message=told, at=now) for one in lost
    )
    store.add_events(Event(now, "ProvisionFailed", told, one.vm, "", True) for one in lost)


class Provisioning:
    """Begins playbooks and remembers how they went.

    Args:
        store: Where it is remembered.
        run: Runs one.
        parallel: Side by side.
        on_change: Called with a host's name when one ended. From another thread.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        store: Store,
        run: RunsPlaybooks,
        parallel: int = 2,
        on_change: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._run = run
        self._on_change = on_change or (lambda _host: None)
        self._clock = clock
        self._places = threading.Semaphore(parallel)
        self._lock = threading.Lock()
        self._open = 0
        self._closed = False

    def begin(self, tasks: Iterable[ProvisionTask]) -> None:
        """Begin these in the background."""
        for task in tasks:
            self._note(task, RUNNING, "Running", f"{task.playbook} is being run")
            with self._lock:
                self._open += 1
            # A daemon thread: a playbook that takes an hour must not keep the process from ending.
            threading.Thread(
                target=self._carry_out, args=(task,), daemon=True, name=f"provision {task.vm.name}"
            ).start()

    @property
    def busy(self) -> bool:
        """One is being run, or waits for its turn."""
        with self._lock:
            return self._open > 0

    def close(self) -> None:
        """Begin no more. What is being run goes on to its end, or to the end of the process."""
        self._closed = True

    def _carry_out(self, task: ProvisionTask) -> None:
        result = ProvisionResult(False, "InternalError", "a mistake in reconciler: its log tells more")
        try:
            with self._places:
                if not self._closed:
                    result = self._run(task)
        finally:  # whatever happened: without a word about it everybody would wait for ever
            if not self._closed:
                self._ended(task, result)
            with self._lock:
                self._open -= 1
        self._on_change(task.domain.host)

    def _ended(self, task: ProvisionTask, result: ProvisionResult) -> None:
        if result.ok:
            self._note(task, DONE, result.reason, result.message)
        else:
            told = f"{result.message}; `reconciler retry {task.vm.name}` runs it again"
            self._note(task, FAILED, result.reason, told)

    def _note(self, task: ProvisionTask, state: str, reason: str, message: str) -> None:
        now, name = self._clock(), task.vm.name
        uid, playbook = task.key
        word = {RUNNING: "Provisioning", DONE: "Provisioned", FAILED: "ProvisionFailed"}[state]
        event = Event(now, word, message, name, task.domain.host, state == FAILED, task.revision)
        with self._store.transaction():
            self._store.put_provisions([ProvisionRecord(uid, playbook, name, state, reason, message, now)])
            self._store.add_events([event])
