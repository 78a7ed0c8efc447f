"""libvirt's event loop: one daemon thread for the whole process, started with the first connection."""

from __future__ import annotations

import threading
from typing import Any

import libvirt

_lock = threading.Lock()
_kept: set[Any] | None = None


def keep(connection: libvirt.virConnect) -> None:
    """Hold this connection until `release`, even past the interpreter's end.

    A `virConnect` that Python collects closes itself, with a call to the host.  At exit that would wait
    for a hung host.  What a daemon thread's frame refers to is never collected, so none of these is.
    """
    with _lock:
        _started().add(connection)


def release(connection: libvirt.virConnect) -> None:
    """Let go of a connection that was closed properly."""
    with _lock:
        _started().discard(connection)


def ensure() -> None:
    """Start the loop; needed before the first connection is opened."""
    with _lock:
        _started()


def _started() -> set[Any]:
    global _kept  # noqa: PLW0603 - libvirt's loop is one per process, and so is this
    if _kept is None:
        # Errors come back as exceptions; libvirt would print each of them to stderr as well.
        libvirt.registerErrorHandler(_quiet, None)
        libvirt.virEventRegisterDefaultImpl()
        _kept = set()
        threading.Thread(target=_run, args=(_kept,), name="libvirt-events", daemon=True).start()
    return _kept


def _quiet(_context: object, _error: object) -> None:
    return None


def _run(_kept_alive: set[Any]) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
