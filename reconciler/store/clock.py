"""Lease time: a clock that people who set the wall clock do not move."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.errors import StoreError
from reconciler.store import schema
from reconciler.store.session import Session

NOTED = 30.0
"""Seconds of lease time that a crash of the machine may take back, if its wall clock is wrong after it."""


class Clocks(Protocol):
    """What the machine knows of time."""

    def wall(self) -> float:
        """Seconds since the epoch, as somebody set it."""

    def uptime(self) -> float:
        """Seconds of this boot, suspended ones included."""

    def boot(self) -> str:
        """Another text in each boot."""


class SystemClocks:
    """This machine's."""

    def wall(self) -> float:
        """See time(7)."""
        return time.time()

    def uptime(self) -> float:
        """See clock_gettime(2)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        """See random(4).

        Raises:
            StoreError: The kernel does not tell.
        """
        path = Path("/proc/sys/kernel/random/boot_id")
        try:
            return path.read_text().strip()
        except OSError as error:
            raise StoreError(f"{path}, which tells boots apart, cannot be read: {error.strerror}") from error


class Clock(Session):
    """The part of the store that keeps lease time.

    What is added to the seconds of this boot stands in the store, written by the first process that asks in a
    boot.  So all processes agree, and each of them asks the store once.
    """

    clocks: Clocks = SystemClocks()
    _offset: float | None = None
    _noted: float = float("-inf")

    def lease_time(self) -> float:
        """See `LeaseStore.lease_time`."""
        known = self._offset
        if known is None:
            with self._lock:
                within = self._current is not None
                with self._writing() as connection:
                    known = _offset(connection, self.clocks)
                if not within:  # else it may be rolled back, and another process choose another one
                    self._offset = known
        return known + self.clocks.uptime()

    def _note_time(self, connection: Connection, now: float) -> None:
        """Remember that it is so late, from time to time: after the next boot it is not earlier."""
        if now >= self._noted + NOTED:
            columns = schema.lease_clock.c
            connection.execute(update(schema.lease_clock).where(columns.newest < now).values(newest=now))
            self._noted = now

    def _time_is_noted(self, now: float) -> bool:
        return now < self._noted + NOTED


def _offset(connection: Connection, clocks: Clocks) -> float:
    boot, uptime = clocks.boot(), clocks.uptime()
    row = connection.execute(select(schema.lease_clock)).first()
    if row is not None and row.boot == boot:
        return float(row.offset)
    now = clocks.wall() if row is None else max(clocks.wall(), row.newest)
    connection.execute(delete(schema.lease_clock))
    connection.execute(insert(schema.lease_clock).values(boot=boot, offset=now - uptime, newest=now))
    return now - uptime
