"""Looking at guests: over libvirt's test driver, and at ports of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.model.host import Host
from reconciler.model.readiness import GuestAnswer, GuestCheck
from reconciler.observed.connection import Connection, Listener
from reconciler.observed.guest_port import listens
from reconciler.observed.readiness import Prober

HOST = Host("h1", "test:///default")
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
"""Of the one domain that libvirt's test driver begins with; its address is 192.168.122.3."""

CHECK = GuestCheck("test", UUID, "h1", 1, agent=False, address=True, tcp_port=None, timeout=60)


class Told:
    """Waits for word of a host."""

    def __init__(self) -> None:
        self.news = threading.Event()

    def __call__(self, _host: str) -> None:
        self.news.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def prober(told: Told) -> Iterator[Prober]:
    made = Prober(told, pause=0.02)
    yield made
    made.close()


def answers(prober: Prober, told: Told, *checks: GuestCheck, host: Host = HOST) -> dict[str, str]:
    wanted = {check.vm: check for check in checks}
    while True:
        told.news.clear()
        found = prober.attend(wanted, {host.name: host})
        if found.keys() == wanted.keys():
            return {vm: answer.waits_for for vm, answer in found.items()}
        assert told.news.wait(20)


def test_an_address_makes_ready(prober: Prober, told: Told) -> None:
    assert answers(prober, told, CHECK) == {"test": ""}


def test_every_wish_counts_and_the_first_that_is_missing_is_told(prober: Prober, told: Told) -> None:
    agent = replace(CHECK, vm="agent", agent=True)
    gone = replace(CHECK, vm="gone", uid="00000000-0000-4000-8000-000000000000")
    assert answers(prober, told, agent, gone) == {"agent": "its guest agent", "gone": "an address"}


def test_an_answer_to_another_question_does_not_count(prober: Prober, told: Told) -> None:
    assert answers(prober, told, CHECK) == {"test": ""}
    restarted = replace(CHECK, run=2)
    assert prober.attend({"test": restarted}, {"h1": HOST}) == {}
    assert answers(prober, told, restarted) == {"test": ""}


def test_nobody_is_looked_at_twice_who_is_ready(told: Told) -> None:
    opened = []

    def count(host: Host, listener: Listener) -> Connection:
        opened.append(host.name)
        return Connection.open(host, listener)

    prober = Prober(told, opener=count, pause=0.02)
    try:
        assert answers(prober, told, CHECK) == {"test": ""}
        told.news.clear()
        assert prober.attend({"test": CHECK}, {"h1": HOST}) == {"test": GuestAnswer(CHECK, "")}
        assert not told.news.wait(0.2)
        assert opened == ["h1"]
    finally:
        prober.close()


def test_a_host_that_hangs_holds_up_no_other(told: Told) -> None:
    stuck, stay = threading.Event(), threading.Event()

    def open_(host: Host, listener: Listener) -> Connection:
        if host.name == "hung":
            stuck.set()
            stay.wait(30)
        return Connection.open(host, listener)

    prober = Prober(told, opener=open_, pause=0.02)
    try:
        hosts = {"h1": HOST, "hung": replace(HOST, name="hung")}
        wanted = {"x": replace(CHECK, vm="x", host="hung"), "test": CHECK}
        prober.attend(wanted, hosts)
        assert stuck.wait(20)
        assert told.news.wait(20)
        assert prober.attend(wanted, hosts).keys() == {"test"}
    finally:
        stay.set()
        prober.close()


def test_a_host_that_cannot_be_asked_is_what_is_waited_for(prober: Prober, told: Told) -> None:
    gone = Host("h1", "qemu+unix:///system?socket=/nonexistent/socket")
    assert answers(prober, told, CHECK, host=gone) == {"test": "its host h1, which cannot be asked"}


def test_a_port_of_a_guest_on_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens("qemu:///system", "127.0.0.1", port)
    assert not listens("qemu:///system", "127.0.0.1", port)


def test_a_port_seen_through_ssh(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ssh says decides; a program in its place says so or not."""
    folder = tmp_path_factory.mktemp("ssh")
    seen = folder / "seen"
    for word, found in (("channel 0: open confirm rwindow 0 rmax 0", True), ("open failed: refused", False)):
        ssh = folder / "ssh"
        ssh.write_text(f'#!/bin/sh\necho "$@" > {seen}\necho "debug2: {word}" >&2\nsleep 0.1\n')
        ssh.chmod(0o700)
        uri = f"qemu+ssh://root@h1:2222/system?command={ssh}"
        assert listens(uri, "10.0.0.1", 80) is found
        assert "-W [10.0.0.1]:80" in seen.read_text()
        assert seen.read_text().split()[-2:] == ["--", "h1"]
