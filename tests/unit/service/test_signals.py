from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from reconciler.service.signals import stop_on_signals
from reconciler.service.wake import Waker

LOOP = """
import signal, sys
from reconciler.service.signals import stop_on_signals
from reconciler.service.wake import Waker
waker = Waker()
with stop_on_signals(lambda reason: waker.wake(reason, urgent=True)) as stop:
    print("ready", flush=True)
    print(waker.wait(3600, settle=3600), stop.requested, flush=True)
    if sys.argv[1] == "hang":
        waker.wait(3600)
print("clean end", flush=True)
"""


def start(how: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, how], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_ends_the_wait_and_the_loop_ends_cleanly(number: signal.Signals) -> None:
    with start("stop") as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert output == f"('{number.name}',) True\nclean end\n"
    assert process.returncode == 0


def test_the_second_signal_ends_the_process_at_once() -> None:
    with start("hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "('SIGTERM',) True\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert output == ""
    assert process.returncode == 128 + signal.SIGTERM


def test_handlers_are_put_back_and_the_callback_is_called_once() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    waker = Waker()
    with stop_on_signals(lambda reason: waker.wake(reason, urgent=True)) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        stop.request("later")
        assert stop.reason == "SIGINT"
    assert waker.wait(0) == ("SIGINT",)
    assert {number: signal.getsignal(number) for number in before} == before
