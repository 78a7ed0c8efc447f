"""Playbooks that are run once: never twice by themselves, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.domain import DomainConfig, DomainState, ObservedDomain
from reconciler.model.host import Host
from reconciler.model.manifest import VirtualMachine
from reconciler.model.readiness import ProvisionRecord
from reconciler.provisioning import Provisioning, ProvisionResult, ProvisionTask, interrupt
from reconciler.store.sql import SqlStore

VM = VirtualMachine.model_validate({"metadata": {"name": "a"}, "spec": {"cpus": 1, "memory": "128Mi"}})
DOMAIN = ObservedDomain("h1", DomainConfig("a", "u1"), None, DomainState.RUNNING)
TASK = ProvisionTask(VM, DOMAIN, Host("h1", "test:///default"), "site.yml", "rev-1", 60)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(tmp_path)
    yield made
    made.close()


def record(store: SqlStore) -> ProvisionRecord:
    (found,) = store.provisions().values()
    return found


def run(store: SqlStore, answer: ProvisionResult) -> ProvisionRecord:
    ended = threading.Event()
    work = Provisioning(store, lambda _task: answer, on_change=lambda _host: ended.set())
    work.begin([TASK])
    assert ended.wait(20)
    return record(store)


def test_how_it_went_is_remembered_and_told(store: SqlStore) -> None:
    done = run(store, ProvisionResult(True, "Done", "site.yml was run"))
    assert (done.uid, done.state, done.reason) == ("u1", "done", "Done")
    assert [event.reason for event in reversed(store.events())] == ["Provisioning", "Provisioned"]


def test_a_failure_says_how_to_go_on(store: SqlStore) -> None:
    failed = run(store, ProvisionResult(False, "Failed", "the task 'x' failed"))
    assert failed.state == "failed"
    assert "`reconciler retry a`" in failed.message
    assert store.events(limit=1)[0].warning


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_leaves_nobody_waiting(store: SqlStore) -> None:
    def broken(_task: ProvisionTask) -> ProvisionResult:
        raise RuntimeError("a mistake")

    ended = threading.Event()
    work = Provisioning(store, broken, on_change=lambda _host: ended.set())
    work.begin([TASK])
    while work.busy:
        ended.wait(0.01)
    assert (record(store).state, record(store).reason) == ("failed", "InternalError")


def test_it_is_on_record_before_it_begins(store: SqlStore) -> None:
    seen: list[str] = []
    ended = threading.Event()

    def look(_task: ProvisionTask) -> ProvisionResult:
        seen.append(record(store).state)
        return ProvisionResult(True, "Done", "")

    Provisioning(store, look, on_change=lambda _host: ended.set()).begin([TASK])
    assert ended.wait(20)
    assert seen == ["running"]


def test_only_so_many_at_once(store: SqlStore) -> None:
    gate, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def wait(_task: ProvisionTask) -> ProvisionResult:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.wait(20)
        with lock:
            running[0] -= 1
        return ProvisionResult(True, "Done", "")

    work = Provisioning(store, wait, parallel=2)
    work.begin([replace(TASK, playbook=f"{at}.yml") for at in range(5)])
    assert work.busy
    gate.set()
    while work.busy:
        threading.Event().wait(0.01)
    assert most[0] <= 2
    assert len(store.provisions()) == 5


def test_what_a_dead_process_was_running_was_interrupted(store: SqlStore) -> None:
    store.put_provisions([ProvisionRecord("u1", "d", "a", "running", "Running", "", 1.0)])
    interrupt(store, 9.0)
    assert (record(store).state, record(store).reason, record(store).at) == ("failed", "Interrupted", 9.0)
    assert store.events(limit=1)[0].warning
    interrupt(store, 10.0)
    assert len(store.events()) == 1
