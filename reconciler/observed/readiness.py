"""Looks whether guests are ready: beside the looks at hosts, which never wait for it.

Each host has one thread at most and a connection of its own, so a guest agent that hangs holds up just the
other guests of that host, and no look at any host.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import libvirt

from reconciler.errors import HostError
from reconciler.model.host import Host
from reconciler.model.readiness import GuestAnswer, GuestCheck
from reconciler.observed.addresses import ask_domain
from reconciler.observed.connection import Connection, Listener, Opener
from reconciler.observed.crew import Crew
from reconciler.observed.guest_agent import answers_ping
from reconciler.observed.guest_port import listens

_log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds between two looks at a guest."""

_WORKERS = 8
_IDLE = 30.0
"""Seconds without anything to look at after which a host's connection is closed."""


@dataclass(slots=True)
class _Watched:
    """A host with guests that are not ready yet.

    Attributes:
        host: Where.
        checks: By machine.
        due: When it is looked at next, monotonic seconds.
        busy: A thread is at it.
        connection: Kept from one look to the next.
        idle_since: When the last check went away.
    """

    host: Host
    checks: dict[str, GuestCheck] = field(default_factory=dict)
    due: float = 0.0
    busy: bool = False
    connection: Connection | None = None
    idle_since: float = 0.0


class Prober:
    """Looks at guests in the background until they are ready.

    Args:
        on_change: Called with a host's name when an answer differs from the last one. From several threads.
        opener: How to connect; for tests.
        pause: Seconds between two looks at a guest.
    """

    def __init__(
        self,
        on_change: Callable[[str], None] | None = None,
        *,
        opener: Opener = Connection.open,
        pause: float = PAUSE,
    ) -> None:
        self._on_change = on_change or (lambda _host: None)
        self._opener = opener
        self._pause = pause
        self._crew = Crew(_WORKERS)
        self._news = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._answers: dict[str, GuestAnswer] = {}
        self._closed = False
        self._running = False

    def attend(
        self, checks: Mapping[str, GuestCheck], hosts: Mapping[str, Host]
    ) -> Mapping[str, GuestAnswer]:
        """Look at these guests from now on, and at no others. What is known of them, at once, by machine."""
        with self._news:
            for watched in self._watched.values():
                watched.checks = {}
            for vm, check in checks.items():
                host = hosts.get(check.host)
                if host is None:
                    continue
                watched = self._watched.setdefault(host.name, _Watched(host))
                if watched.host.uri != host.uri:
                    self._drop(watched)
                    watched = self._watched[host.name] = _Watched(host)
                known = self._answers.get(vm)
                if known is None or known.check != check or known.waits_for:
                    watched.checks[vm] = check
            self._answers = {
                vm: answer for vm, answer in self._answers.items() if checks.get(vm) == answer.check
            }
            if checks and not self._running and not self._closed:
                self._running = True
                threading.Thread(target=self._schedule, daemon=True, name="readiness").start()
            self._news.notify_all()
            return dict(self._answers)

    def close(self) -> None:
        """Look at nothing any more. Does not wait for a thread that is stuck."""
        with self._news:
            self._closed = True
            for watched in self._watched.values():
                self._drop(watched)
            self._watched.clear()
            self._news.notify_all()
        self._crew.dismiss()

    def _schedule(self) -> None:
        """Hand out hosts that are due. Ends when nothing is left to look at."""
        with self._news:
            while not self._closed and self._watched:
                now = time.monotonic()
                for name, watched in list(self._watched.items()):
                    self._consider(name, watched, now)
                self._news.wait(self._sleep(now))
                self._crew.relieve()
            self._running = False

    def _consider(self, name: str, watched: _Watched, now: float) -> None:
        if watched.busy:
            return
        if watched.checks:
            watched.idle_since = now
            if watched.due <= now:
                watched.busy = True
                self._crew.submit([partial(self._visit, watched, tuple(watched.checks.values()))])
        elif now - watched.idle_since > _IDLE:
            self._drop(self._watched.pop(name))

    def _sleep(self, now: float) -> float:
        due = [watched.due for watched in self._watched.values() if watched.checks and not watched.busy]
        return max(0.02, min([self._pause, *(at - now for at in due)]))

    def _drop(self, watched: _Watched) -> None:
        """Close its connection in a thread to spare, unless one is stuck in it."""
        connection, watched.connection = watched.connection, None
        if connection is not None and not watched.busy:
            self._crew.submit([connection.close])

    def _visit(self, watched: _Watched, checks: tuple[GuestCheck, ...]) -> None:
        """Look at a host's guests. Runs in a thread of the crew, and may never come back."""
        try:
            for check in checks:
                self._note(watched, GuestAnswer(check, self._look(watched, check)))
        finally:
            with self._news:
                watched.busy = False
                watched.due = time.monotonic() + self._pause
                gone = self._closed or self._watched.get(watched.host.name) is not watched
                self._news.notify_all()
            if gone and watched.connection is not None:
                watched.connection.close()

    def _look(self, watched: _Watched, check: GuestCheck) -> str:
        """What a guest still lacks; empty when it is ready."""
        try:
            if watched.connection is None or not watched.connection.alive:
                watched.connection = self._opener(watched.host, Listener(lambda: None))
            return missing(watched.connection.raw, watched.host, check)
        except (HostError, libvirt.libvirtError, OSError, subprocess.SubprocessError) as error:
            _log.info("host %s: looking at %s: %s", check.host, check.vm, error)
            connection, watched.connection = watched.connection, None
            if connection is not None:
                with suppress(libvirt.libvirtError):
                    connection.close()
            return f"its host {check.host}, which cannot be asked"

    def _note(self, watched: _Watched, answer: GuestAnswer) -> None:
        check = answer.check
        with self._news:
            if watched.checks.get(check.vm) != check:
                return
            news = self._answers.get(check.vm) != answer
            self._answers[check.vm] = answer
            if not answer.waits_for:
                del watched.checks[check.vm]
        if news:
            self._on_change(check.host)


def missing(raw: libvirt.virConnect, host: Host, check: GuestCheck) -> str:
    """What a guest lacks to be ready, in words; empty when it has everything.

    Raises:
        libvirt.libvirtError: The host does not answer.
    """
    if check.agent and not answers_ping(raw, check.uid):
        return "its guest agent"
    if not check.address and check.tcp_port is None:
        return ""
    addresses = list(dict.fromkeys(entry.address for entry in ask_domain(raw, check.uid)))
    if not addresses:
        return "an address"
    if check.tcp_port is None or any(listens(host.uri, address, check.tcp_port) for address in addresses):
        return ""
    return f"tcp port {check.tcp_port} of {', '.join(addresses[:3])}"
