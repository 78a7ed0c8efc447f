from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.service.notify import Notifier, Watchdog


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end of the socket, and what it would put into NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@reconciler-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + address[1:] if address.startswith("@") else address)
        channel.settimeout(10)
        yield channel, address


def test_what_systemd_hears(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    notifier = Notifier(address)
    notifier.ready("3 hosts")
    notifier.status("nothing to do")
    notifier.watchdog()
    notifier.stopping()
    assert [channel.recv(4096) for _ in range(4)] == [
        b"READY=1\nSTATUS=3 hosts",
        b"STATUS=nothing to do",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_name_cannot_become_a_message_of_its_own(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    Notifier(address).status("created web\nMAINPID=1\udc80 ü")
    assert channel.recv(4096) == "STATUS=created web\\x0aMAINPID=1\\udc80 ü".encode()


@pytest.mark.parametrize("address", [None, "", "/nonexistent/notify", "@nobody-listens-here"])
def test_without_systemd_nothing_happens(address: str | None) -> None:
    Notifier(address).ready()


def test_the_watchdog_vouches_only_while_the_promise_holds(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    with Watchdog(Notifier(address), interval=0.02) as watchdog:
        watchdog.promise(3600)
        assert {channel.recv(4096) for _ in range(5)} == {b"WATCHDOG=1"}
        watchdog.promise(-1)
        channel.settimeout(0.3)
        with pytest.raises(TimeoutError):
            [channel.recv(4096) for _ in range(5)]  # one or two may have been on their way
        channel.settimeout(10)
        watchdog.promise(3600)
        assert channel.recv(4096) == b"WATCHDOG=1"


def test_without_an_interval_there_is_no_thread(manager: tuple[socket.socket, str]) -> None:
    channel, address = manager
    channel.setblocking(False)
    with Watchdog(Notifier(address), interval=None) as watchdog:
        watchdog.promise(10)
    with pytest.raises(BlockingIOError):
        channel.recv(4096)
