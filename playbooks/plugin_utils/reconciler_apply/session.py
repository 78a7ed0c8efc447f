# SPDX-License-Identifier: GPL-3.0-or-later
"""One host while its plan is carried out: the connection, who owns what, check mode and waiting."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import libvirt

from . import mark
from .guard import Guard
from .outcome import Step, StepError, WouldChange
from .trouble import failure, is_code
from .turns import Turns

_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT = 5, 5
_POLL_SECONDS = (0.05, 1.0)
"""First and longest pause between two looks at a domain that we wait for."""
_REFRESH_ATTEMPTS, _REFRESH_PAUSE = 80, 0.25


class Session:
    """An open host.

    Args:
        conn: The libvirt connection; its calls release the interpreter, so threads may share it.
        owner: Name of the installation whose marks count as ours.
        guard: Tells whether anybody still waits.
        check: Say what would be done, and do nothing.
        parallel: Operations side by side; a step that waits for a guest does not count.
        announce: Takes a sentence before something that may take minutes.
    """

    def __init__(
        self,
        conn: libvirt.virConnect,
        owner: str,
        guard: Guard,
        *,
        check: bool = False,
        parallel: int = 4,
        announce: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.conn = conn
        self.owner = owner
        self.guard = guard
        self.check = check
        self._announce = announce
        self.lane = threading.Semaphore(parallel)
        self._refreshed: set[str] = set()
        self._turns: dict[str, Turns] = {}
        self._book = threading.Lock()

    def find(self, uid: str) -> libvirt.virDomain | None:
        """The domain with this UUID, whoever owns it."""
        try:
            return self.conn.lookupByUUIDString(uid)
        except libvirt.libvirtError as error:
            if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                return None
            raise

    def ours(self, step: Step) -> libvirt.virDomain:
        """The step's domain, which carries our mark with its uid.

        Raises:
            StepError: It is not there (DomainMissing) or not ours (NotOurs); nothing was touched.
        """
        domain = self.find(step["uid"])
        if domain is None:
            raise StepError("DomainMissing", f"there is no domain with the UUID {step['uid']} on this host")
        self.require_ours(domain, step)
        return domain

    def require_ours(self, domain: libvirt.virDomain, step: Step) -> None:
        """Refuse a domain without our mark.

        Raises:
            StepError: NotOurs.
        """
        found = self.ownership(domain)
        if found == mark.Ownership(self.owner, step["uid"]):
            return
        whose = (
            f"it belongs to {found.owner!r}"
            if found and found.owner != self.owner
            else "it carries no mark of ours"
        )
        raise StepError("NotOurs", f"the domain {domain.name()!r} is left alone: {whose}")

    def ownership(self, domain: libvirt.virDomain) -> mark.Ownership | None:
        """What the mark in the domain's persistent configuration says."""
        where = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else libvirt.VIR_DOMAIN_AFFECT_LIVE
        try:
            return mark.parse(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark.NAMESPACE, where))
        except libvirt.libvirtError as error:
            if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
                return None
            raise

    def about_to(self, what: str, *, slow: bool = False) -> None:
        """The one gate before every change: all that came before only looked.

        Args:
            what: In the imperative.
            slow: It may take minutes.

        Raises:
            WouldChange: In check mode.
            Interrupted: Nobody waits any more.
        """
        if self.check:
            raise WouldChange(f"would {what}")
        self.guard.check()
        if slow:
            self._announce(what)

    def say(self, sentence: str) -> None:
        """Tell people how something that takes long gets on."""
        self._announce(sentence)

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Look until `done`, at most so many seconds, without holding up other steps.

        Raises:
            Interrupted: Nobody waits any more.
        """
        end = time.monotonic() + seconds
        pause, longest = _POLL_SECONDS
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.lane.release()
            try:
                time.sleep(min(pause, left))
            finally:
                self.lane.acquire()
            pause = min(pause * 1.5, longest)
            self.guard.check()
        return True

    def pool(self, name: str) -> libvirt.virStoragePool:
        """An active storage pool.

        Raises:
            StepError: PoolMissing or PoolInactive.
        """
        try:
            pool = self.conn.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
                raise StepError("PoolMissing", f"this host has no storage pool {name!r}") from error
            raise
        if not pool.isActive():
            raise StepError("PoolInactive", f"the storage pool {name!r} is not active")
        return pool

    def volume(self, pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
        """A volume by name; a pool is looked at anew once a run before a file counts as missing."""
        found = _volume(pool, name)
        if found is not None:
            return found
        with self._turns_in(pool).looking():
            if pool.name() not in self._refreshed:
                self._refresh(pool)
        return _volume(pool, name)

    def building(self, pool: libvirt.virStoragePool) -> contextlib.AbstractContextManager[None]:
        """To be entered around whatever makes a volume in the pool, and only around that."""
        return self._turns_in(pool).building()

    def refresh(self, pool: libvirt.virStoragePool) -> None:
        """Look at a pool anew, after ours that work in it; for others we wait a while."""
        with self._turns_in(pool).looking():
            self._refresh(pool)

    def _turns_in(self, pool: libvirt.virStoragePool) -> Turns:
        with self._book:
            return self._turns.setdefault(str(pool.name()), Turns())

    def _refresh(self, pool: libvirt.virStoragePool) -> None:
        for attempt in range(_REFRESH_ATTEMPTS):
            try:
                pool.refresh(0)
                break
            except libvirt.libvirtError as error:
                busy = "asynchronous jobs" in str(error)
                if not busy or attempt == _REFRESH_ATTEMPTS - 1:
                    raise
            time.sleep(_REFRESH_PAUSE)
        self._refreshed.add(pool.name())


def _volume(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            return None
        raise


def open_host(uri: str, deadline: float) -> libvirt.virConnect:
    """Connect, within `deadline` seconds, and have a connection that dies with its host.

    The opening thread of a host that hangs is left behind: it cannot be interrupted, and ends with
    this worker.

    Raises:
        StepError: HostUnreachable, or what libvirt says.
    """
    _silence()
    _ensure_event_loop()
    answer: list[Any] = []

    def connect() -> None:
        try:
            answer.append(libvirt.open(uri))
        except libvirt.libvirtError as error:
            answer.append(error)

    opener = threading.Thread(target=connect, daemon=True, name="open")
    opener.start()
    opener.join(deadline)
    if not answer:
        raise StepError("HostUnreachable", f"libvirt at {uri} does not answer within {deadline:g} s")
    if isinstance(answer[0], libvirt.libvirtError):
        told = failure(answer[0])
        raise StepError("HostUnreachable", told.message) from answer[0]
    conn = answer[0]
    with contextlib.suppress(libvirt.libvirtError):  # drivers in process have no keepalive, and need none
        conn.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
    return conn


def _silence() -> None:
    """Errors are exceptions; printed to stderr as well they would only confuse."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)


_loop_started = threading.Lock()


def _ensure_event_loop() -> None:
    if not _loop_started.acquire(blocking=False):
        return
    libvirt.virEventRegisterDefaultImpl()

    def turn() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=turn, daemon=True, name="libvirt-events").start()
