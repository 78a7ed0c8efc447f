"""The daemon is killed amid what it was asked for, and people change their mind: nothing is done twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import Said, call
from support.scenario import PATIENCE, Stage
from support.world import World

from reconciler.model.request import RequestRecord, RequestState
from reconciler.requests import INTERRUPTED, daemon_holds
from reconciler.store.sql import open_store

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TESTS = Path(__file__).parents[1]
WEB = {
    "image": "tiny",
    "memory": "96Mi",
    "interfaces": [{"network": "default"}],
    "placement": {"host": "lab1"},
}


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(world, tmp_path)
    made.set_up({"machines": {"web": WEB}})
    yield made
    made.end_daemon(signal.SIGKILL)


def _ask(stage: Stage, *words: str) -> Said:
    said = call(*words, "--yes", "--no-wait", "--config", str(stage.config))
    assert said.exit == 0, said.text
    return said


def _dies(stage: Stage, kind: str, at: int, *words: str) -> None:
    """A daemon takes the request and is killed at a step of its push."""
    argv = [sys.executable, "-m", "support.killed", kind, str(at), str(stage.folder / "counts")]
    argv += ["run", "--config", str(stage.config)]
    with (stage.folder / "killed.log").open("w") as log:
        daemon = subprocess.Popen(argv, cwd=TESTS, stdout=log, stderr=log)
    try:
        store = open_store(stage.state)
        deadline = time.monotonic() + PATIENCE
        while not daemon_holds(store) and time.monotonic() < deadline:
            time.sleep(0.1)
        store.close()
        _ask(stage, *words)
        assert daemon.wait(60) == -signal.SIGKILL, (stage.folder / "killed.log").read_text()
    finally:
        daemon.kill()


def _last(stage: Stage) -> RequestRecord:
    store = open_store(stage.state)
    (record,) = store.requests(limit=1)
    store.close()
    return record


def _stop_at_rest(stage: Stage) -> None:
    """Freeze the daemon between two ticks: frozen while it writes, it keeps everybody waiting."""
    assert stage.daemon is not None
    store = open_store(stage.state)
    deadline = time.monotonic() + PATIENCE
    while (tick := store.last_tick()) is None or "as it shall be" not in tick.sentence:
        assert time.monotonic() < deadline, tick
        time.sleep(0.05)
    store.close()
    stage.daemon.send_signal(signal.SIGSTOP)


def _boots(stage: Stage) -> int:
    return int(stage.world.guest("web")["boots"])


def _run_again(stage: Stage) -> None:
    """Another daemon, until all is as it shall be and it had a tick more."""
    stage.do_daemon("start")
    stage.expect({"events": ["RequestFailed .*interrupted"], "plan": "empty"}, PATIENCE)
    stage.expect({"machines": {"web": {"state": "running"}}}, PATIENCE)
    stage.do_daemon("stop")


@pytest.mark.parametrize(("kind", "at"), [("step", 2), ("step", 3), ("worker", 1)])
def test_a_restart_that_was_cut_off_is_not_done_again(stage: Stage, kind: str, at: int) -> None:
    before = _boots(stage)
    _dies(stage, kind, at, "restart", "web", "--force")
    assert _last(stage).state is RequestState.RUNNING
    _run_again(stage)
    record = _last(stage)
    assert (record.state, record.message) == (RequestState.FAILED, INTERRUPTED)
    assert _boots(stage) in (before, before + 1)


@pytest.mark.parametrize("at", [1])
def test_a_snapshot_that_was_cut_off_is_not_taken_again(stage: Stage, at: int) -> None:
    _dies(stage, "worker", at, "snapshot", "web", "--name", "once")
    # Whether it came to be is the host's to say. It is asked before the next daemon, and after it.
    was = stage.world.host_of("web").virsh("snapshot-list", "--domain", "web", "--name").split()
    _run_again(stage)
    now = stage.world.host_of("web").virsh("snapshot-list", "--domain", "web", "--name").split()
    assert now == was
    assert _last(stage).state is RequestState.FAILED


def test_what_nobody_had_begun_waits_for_the_next_daemon(stage: Stage) -> None:
    stage.do_daemon("start")
    _stop_at_rest(stage)
    _ask(stage, "restart", "web", "--force")
    stage.do_daemon("kill")
    assert _last(stage).state is RequestState.PENDING
    before = _boots(stage)
    stage.do_daemon("start")
    stage.expect({"events": ["RequestDone .*restart web"], "plan": "empty"}, PATIENCE)
    assert _boots(stage) == before + 1


def test_who_interrupts_the_command_takes_it_back(stage: Stage) -> None:
    stage.do_daemon("start")
    _stop_at_rest(stage)
    assert stage.daemon is not None
    before = _boots(stage)
    argv = [sys.executable, "-m", "reconciler.cli.main", "restart", "web", "--yes", "--config"]
    command = subprocess.Popen([*argv, str(stage.config)], stderr=subprocess.PIPE, text=True)
    try:
        assert command.stderr is not None
        assert any("the daemon is asked" in line for line in command.stderr)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=PATIENCE)
        assert (command.returncode, "Taken back: nothing was done" in err) == (130, True), err
    finally:
        command.kill()
        stage.daemon.send_signal(signal.SIGCONT)
    assert _last(stage).state is RequestState.CANCELLED
    stage.do_daemon("stop")
    assert _boots(stage) == before
