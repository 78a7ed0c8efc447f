"""What only a second process can show: kill -9, and two that want to act at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.errors import BusyError
from reconciler.model.placement import Phase, Record
from reconciler.store.sql import SqlStore

COMMIT_FOR_EVER = """
import sys, itertools
from pathlib import Path
from reconciler.model.placement import Phase, Record
from reconciler.store.sql import SqlStore
store = SqlStore(Path(sys.argv[1]))
for batch in itertools.count():
    records = [Record(f"vm-{batch}-{n}", f"uid-{batch}-{n}", "alpha", 1, Phase.INTENDED) for n in range(20)]
    store.commit_intents(records)
    print(batch, flush=True)
"""

HOLD = """
import sys
from pathlib import Path
from reconciler.errors import BusyError
from reconciler.store.sql import SqlStore
store = SqlStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    with store.hold(sys.argv[2]):
        print("held", flush=True)
        sys.stdin.readline()
except BusyError as error:
    print(error.message, flush=True)
"""


@contextmanager
def python(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_whatever_was_told_committed_is_there_after_kill_9(
    folder: Path, open_again: Callable[[], SqlStore]
) -> None:
    with python(COMMIT_FOR_EVER, str(folder)) as process:
        told = [hear(process) for _ in range(10)]
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        told += process.stdout.read().split()
        assert process.wait() == -signal.SIGKILL
    records = open_again().records()
    batches = {int(vm.split("-")[1]) for vm in records}
    assert {int(batch) for batch in told} <= batches
    assert len(records) == 20 * len(batches), "a batch is there whole or not at all"
    open_again().commit_intents([Record("after", "uid", "alpha", 1, Phase.INTENDED)])


def test_of_two_that_want_to_act_one_is_told_who_does(folder: Path) -> None:
    SqlStore(folder).close()
    with python(HOLD, str(folder), "reconciler run") as one, python(HOLD, str(folder), "apply") as two:
        assert (hear(one), hear(two)) == ("ready", "ready")
        say(one)
        say(two)
        answers = {one.pid: hear(one), two.pid: hear(two)}
        (holder,) = (pid for pid, answer in answers.items() if answer == "held")
        (refusal,) = (answer for answer in answers.values() if answer != "held")
        assert f"(pid {holder} on " in refusal
        assert "acts on this store" in refusal


def test_the_hold_dies_with_its_process(store: SqlStore, folder: Path) -> None:
    assert store.holder() is None
    with python(HOLD, str(folder), "reconciler run") as process:
        hear(process)
        say(process)
        assert hear(process) == "held"
        held = store.holder()
        assert held is not None
        assert (held.pid, held.purpose) == (process.pid, "reconciler run")
        with pytest.raises(BusyError, match=rf"^reconciler run \(pid {process.pid} on .*, since 2"):
            store.hold("apply").__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.holder() is None
        with store.hold("apply"):
            held = store.holder()
            assert held is not None
            assert held.pid == os.getpid()


def test_the_same_process_cannot_hold_twice(store: SqlStore) -> None:
    with store.hold("first"), pytest.raises(BusyError, match=r"^first "):
        store.hold("second").__enter__()
    with store.hold("third"):
        pass
    assert store.holder() is None


def test_asking_who_holds_it_never_keeps_anybody_out(store: SqlStore) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            store.holder()
            stop.wait(0.001)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for number in range(200):
            with store.hold(f"purpose {number}"):
                pass
    finally:
        stop.set()
        asker.join()


def test_threads_take_turns(store: SqlStore) -> None:
    def work(name: str) -> None:
        for number in range(20):
            store.commit_intents([Record(f"{name}-{number}", f"{name}-{number}", "a", 1, Phase.INTENDED)])
            store.records()

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.records()) == 80
