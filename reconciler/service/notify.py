"""Telling systemd that we are ready, alive and stopping: sd_notify(3) and sd_watchdog_enabled(3)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from types import TracebackType
from typing import Self

from reconciler.service.logs import printable

_log = logging.getLogger(__name__)


class Notifier:
    """Sends states to the service manager; without an address it does nothing.

    A service manager that does not listen is no reason to stop, so that is only logged.

    Args:
        address: ``NOTIFY_SOCKET``: a path, or ``@name`` for an abstract socket, or None.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def ready(self, status: str = "") -> None:
        """Start-up is over."""
        self._send("READY=1", status)

    def status(self, status: str) -> None:
        """What ``systemctl status`` shows."""
        self._send("", status)

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._send("STOPPING=1", status)

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def _send(self, state: str, status: str = "") -> None:
        if not self._address:
            return
        # A line break in the status (a machine's name, say) would be a message of its own.
        lines = [state] if state else []
        lines += [f"STATUS={printable(status)}"] if status else []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            _log.warning("the service manager cannot be told: %s", error)


class Watchdog:
    """Vouches for the loop to systemd, as long as the loop keeps its promises.

    The loop says before each stretch of work how long it may take at most.  A thread pings meanwhile,
    and falls silent once the promise is broken, whereupon systemd ends the service.

    Args:
        notifier: Where pings go.
        interval: Seconds within which systemd expects a ping (``WATCHDOG_USEC`` / 1e6), or None: no thread.
    """

    def __init__(self, notifier: Notifier, interval: float | None) -> None:
        self._notifier = notifier
        self._interval = interval
        self._promised = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ping, name="watchdog", daemon=True)

    def promise(self, seconds: float) -> None:
        """The loop will promise again within so many seconds."""
        self._promised = time.monotonic() + seconds

    def __enter__(self) -> Self:
        if self._interval:
            self.promise(self._interval)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _ping(self) -> None:
        # Half the interval, as sd_watchdog_enabled(3) recommends.
        pause = (self._interval or 1.0) / 2
        while True:
            if time.monotonic() <= self._promised:
                self._notifier.watchdog()
            if self._end.wait(pause):
                return
