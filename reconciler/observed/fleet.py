"""All hosts side by side: whatever one of them does, the others are read at full speed.

A call that a host never answers holds its thread for ever.  The host is then reported as too slow, and
no second question is put to it before the first returned; when that happens, the host is back.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import libvirt

from reconciler.errors import HostError
from reconciler.model.domain import GuestAddress
from reconciler.model.host import Fleet, Host, HostStatus, ObservedHost
from reconciler.model.network_config import Lease
from reconciler.observed.addresses import Leases, ask_domain, known_addresses
from reconciler.observed.connection import Connection, Listener, Opener
from reconciler.observed.crew import Crew
from reconciler.observed.reader import HostReader, unknown
from reconciler.observed.trouble import slow

_log = logging.getLogger(__name__)

GRACE = 0.5
"""Seconds that a host which was not ready last time may hold up a look; its answer may come later."""

_CLOSING = 2.0
_NO_LEASES: Leases = {}
_WORKERS = 64


@dataclass(slots=True)
class _Watch:
    """A host with its reader and the question that is put to it, if any.

    Attributes:
        reader: Used by the thread that carries the question.
        last: What was last reported.
        asked: A question is on its way, or waits for a thread.
        started: When a thread took the question up; None while it waits.
        late: Nobody waits for the answer any more.
        gone: Close the connection once the answer is in.
        answer: The last answer, good or bad.
        seconds: How long it took.
    """

    reader: HostReader
    last: ObservedHost | None = None
    asked: bool = False
    started: float | None = None
    late: bool = False
    gone: bool = False
    answer: ObservedHost | None = None
    seconds: float = 0.0

    @property
    def host(self) -> Host:
        return self.reader.host

    @property
    def patience(self) -> float:
        """Seconds that a look waits for the answer: a host known to be in trouble gets less."""
        ready = self.answer is None or self.answer.known
        return self.host.deadline if ready else min(GRACE, self.host.deadline)

    def waited(self, seconds: float) -> bool:
        """True if the host has had the question for that long, without an answer."""
        return self.asked and self.started is not None and time.monotonic() - self.started >= seconds


class Observer:
    """Looks at all hosts.

    Args:
        owner: The installation whose marks count as ours.
        on_change: Called with a host's name when it has news: an event, a broken connection, an answer
            that came too late. From several threads; it must return at once.
        workers: Threads side by side, not counting those that are stuck.
        opener: How to connect; for tests.
    """

    def __init__(
        self,
        owner: str,
        on_change: Callable[[str], None] | None = None,
        *,
        workers: int = _WORKERS,
        opener: Opener = Connection.open,
    ) -> None:
        self._owner = owner
        self._on_change = on_change or _nobody
        self._opener = opener
        self._crew = Crew(workers)
        self._watches: dict[str, _Watch] = {}
        self._one_look = threading.Lock()
        self._news = threading.Condition()
        self._open_questions = 0
        self._fleet: Fleet = {}
        self._addresses: dict[str, tuple[ObservedHost, Leases, Mapping[str, tuple[GuestAddress, ...]]]] = {}
        self._told_addresses: Mapping[str, Mapping[str, tuple[GuestAddress, ...]]] = {}

    def observe(self, hosts: Mapping[str, Host]) -> Fleet:
        """Every host's state, each within its own deadline; the same objects for what did not change.

        A host that was in trouble last time is asked again but waited for only briefly; `on_change`
        tells when it answers after all.
        """
        with self._one_look:
            self._attend(hosts)
            asking = [watch for watch in self._watches.values() if not watch.asked]
            self._ask(asking)
            self._wait(asking)
            fleet = {name: self._report(self._watches[name]) for name in hosts}
            if len(fleet) != len(self._fleet) or any(
                self._fleet.get(name) is not host for name, host in fleet.items()
            ):
                self._fleet = fleet
            return self._fleet

    def refresh(self, names: Iterable[str] | None = None) -> None:
        """Read these hosts (or all) from scratch at the next look, for instance after changing them.

        Events tell of most changes anyway, but neither at once nor of every one.
        """
        for name in list(self._watches) if names is None else names:
            if name in self._watches:
                self._watches[name].reader.distrust()

    def addresses(self, fleet: Fleet) -> Mapping[str, tuple[GuestAddress, ...]]:
        """What is known of the addresses of domains, by UUID, from reservations and leases; asks nobody."""
        known: dict[str, tuple[GuestAddress, ...]] = {}
        for found in self.addresses_by_host(fleet).values():
            known |= found
        return known

    def addresses_by_host(self, fleet: Fleet) -> Mapping[str, Mapping[str, tuple[GuestAddress, ...]]]:
        """The same by host; the same objects as long as neither the host nor its leases changed."""
        found = {}
        for name, host in fleet.items():
            watch = self._watches.get(name)
            leases = watch.reader.leases if watch is not None else _NO_LEASES
            last = self._addresses.get(name)
            if last is None or last[0] is not host or last[1] is not leases:
                last = self._addresses[name] = (host, leases, known_addresses(host, leases))
            found[name] = last[2]
        before = self._told_addresses
        if len(before) == len(found) and all(before.get(name) is one for name, one in found.items()):
            return before
        self._told_addresses = found
        return found

    def leases(self, fleet: Fleet) -> frozenset[Lease]:
        """What the DHCP of the hosts that answer gave away, as last read; asks nobody."""
        watches = (self._watches.get(name) for name, host in fleet.items() if host.known)
        return frozenset().union(*(watch.reader.leased for watch in watches if watch is not None))

    def ask_addresses(self, host: Host, uuid: str, seconds: float = 10.0) -> tuple[GuestAddress, ...]:
        """Ask one host now for a domain's addresses: the agent, DHCP and the ARP table.

        Over a connection of its own and for at most `seconds`; nothing where it cannot tell.
        """
        answer: queue.SimpleQueue[tuple[GuestAddress, ...]] = queue.SimpleQueue()

        def ask() -> None:
            found: tuple[GuestAddress, ...] = ()
            try:
                connection = self._opener(host, Listener(lambda: None))
                try:
                    found = ask_domain(connection.raw, uuid)
                finally:
                    connection.close()
            except (HostError, libvirt.libvirtError) as error:
                _log.info("host %s: addresses of %s: %s", host.name, uuid, error)
            finally:
                answer.put(found)

        self._crew.submit([ask])
        try:
            return answer.get(timeout=seconds)
        except queue.Empty:
            return ()

    def seconds(self) -> Mapping[str, float]:
        """How long each host's last answer took."""
        return {name: watch.seconds for name, watch in self._watches.items()}

    @property
    def threads(self) -> int:
        """Threads alive, those stuck in a call included."""
        return self._crew.members

    def close(self) -> None:
        """Close the connections, as far as the hosts let us within two seconds."""
        with self._one_look:
            closing = [self._dismiss(watch) for watch in self._watches.values()]
            self._watches.clear()
            until = time.monotonic() + _CLOSING
            for closed in closing:
                if closed is not None:
                    closed.wait(max(0.0, until - time.monotonic()))
            self._crew.dismiss()

    def _attend(self, hosts: Mapping[str, Host]) -> None:
        """One watch for each host of the inventory, and none for any other."""
        for name, watch in list(self._watches.items()):
            host = hosts.get(name)
            if host is None or host.uri != watch.host.uri:
                self._dismiss(self._watches.pop(name))
                self._addresses.pop(name, None)
            else:
                watch.reader.host = host
        for name, host in hosts.items():
            if name not in self._watches:
                reader = HostReader(
                    host, self._owner, partial(self._on_change, name), self._opener, time.monotonic
                )
                self._watches[name] = _Watch(reader)

    def _dismiss(self, watch: _Watch) -> threading.Event | None:
        """Close the watch's connection in a thread to spare; None if one is stuck in it already."""
        with self._news:
            watch.gone = True
            if watch.asked:
                return None
        closed = threading.Event()

        def close() -> None:
            watch.reader.close()
            closed.set()

        self._crew.submit([close])
        return closed

    def _ask(self, watches: list[_Watch]) -> None:
        with self._news:
            self._open_questions = len(watches)
            for watch in watches:
                watch.asked, watch.started, watch.late = True, None, False
        self._crew.submit([partial(self._carry, watch) for watch in watches])

    def _carry(self, watch: _Watch) -> None:
        """Put the question to the host. Runs in a thread of the crew."""
        watch.started = started = time.monotonic()
        answer = self._answer(watch)
        with self._news:
            watch.seconds = time.monotonic() - started
            news = watch.late and answer is not watch.last
            watch.answer = answer
            if watch.late:
                # Nobody waits for it, but it is the latest word should the next question hang.
                watch.last = answer
            watch.asked = False
            gone = watch.gone
            if not watch.late:
                self._open_questions -= 1
                if not self._open_questions:
                    self._news.notify_all()
        if gone:
            watch.reader.close()
        elif news:
            self._on_change(watch.host.name)

    @staticmethod
    def _answer(watch: _Watch) -> ObservedHost:
        try:
            return watch.reader.read()
        except HostError as error:
            return unknown(watch.host, error, watch.last)
        except Exception as error:  # noqa: BLE001 - the thread's outer edge: one odd host must not end the look
            words = f"reading it failed unexpectedly ({type(error).__name__}: {error})"
            failure = HostError(watch.host.name, HostStatus.NO_LIBVIRT.value, words, hint="see the log")
            answer = unknown(watch.host, failure, watch.last)
            if answer is not watch.last:
                _log.exception("host %s: unexpected error while reading it", watch.host.name)
            return answer

    def _wait(self, watches: list[_Watch]) -> None:
        """Wait until every question is answered or its time is up, and give up the latter."""
        with self._news:
            while self._open_questions:
                self._news.wait(self._crew.patience)
                self._crew.relieve()
                for watch in watches:
                    if not watch.late and watch.waited(watch.patience):
                        watch.late = True
                        self._open_questions -= 1

    @staticmethod
    def _report(watch: _Watch) -> ObservedHost:
        """What this look says of the host."""
        if not watch.asked and watch.answer is not None:
            watch.last = watch.answer
        elif watch.last is None or watch.last.known or watch.waited(watch.host.deadline):
            watch.last = unknown(watch.host, slow(watch.host), watch.last)
        return watch.last


def _nobody(_host: str) -> None:
    return None
