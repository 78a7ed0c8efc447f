"""A machine's text console, brought here through libvirt's own connection: nothing is needed on the host.

Bytes go both ways on libvirt's event thread, as in virsh: a send that would wait is taken up again when the
stream has room.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import libvirt

from reconciler.errors import ReconcilerError
from reconciler.model.host import Host
from reconciler.observed import eventloop
from reconciler.observed.ask import open_host

ESCAPE = b"\x1d"
"""Control and ], as everywhere."""

_CHUNK = 4096
_READ, _WRITE = libvirt.VIR_STREAM_EVENT_READABLE, libvirt.VIR_STREAM_EVENT_WRITABLE
_BROKEN = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP
_WOULD_WAIT = -2


class Console:
    """An attached console.

    Args:
        host: The machine's host.
        uid: The machine's uid.
        force: Take it from somebody else who has it.
        write: Called with what the guest prints, from libvirt's event thread; it must not wait for long.

    Raises:
        HostError: The host cannot be reached.
        ReconcilerError: There is no console, the machine does not run, or somebody else has it.
    """

    def __init__(self, host: Host, uid: str, write: Callable[[bytes], None], *, force: bool = False) -> None:
        self._write = write
        self._pending = b""
        self._lock = threading.Lock()
        self._ended, self._end = os.pipe()
        self._over = False
        self._raw = open_host(host)
        try:
            eventloop.keep(self._raw)
            self._stream = self._attach(host, uid, force)
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(libvirt.libvirtError):  # it is over already
            self._stream.eventRemoveCallback()
            self._stream.abort()
        self._let_go()

    def follow(self, keyboard: int) -> str:
        """Send what is typed until ``^]``, the end of the input or of the console. Says which.

        Args:
            keyboard: Descriptor that is read from.
        """
        while True:
            ready, _, _ = select.select([keyboard, self._ended], [], [])
            if self._ended in ready:
                return "the machine closed its console"
            typed = os.read(keyboard, _CHUNK)
            text, escape, _rest = typed.partition(ESCAPE)
            if text:
                self.send(text)
            if escape:
                return "left"
            if not typed:
                return "end of input"

    def send(self, typed: bytes) -> None:
        """Type something."""
        with self._lock:
            self._pending += typed
            if not self._over:
                self._stream.eventUpdateCallback(_READ | _WRITE)

    def _attach(self, host: Host, uid: str, force: bool) -> libvirt.virStream:
        flags = libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else 0
        name = uid
        try:
            domain = self._raw.lookupByUUIDString(uid)
            name = domain.name()
            if not domain.isActive():
                raise ReconcilerError(f"{name} on {host.name} does not run", hint=f"reconciler start {name}")
            stream = self._raw.newStream(libvirt.VIR_STREAM_NONBLOCK)
            domain.openConsole(None, stream, flags)
            stream.eventAddCallback(_READ | _BROKEN, self._happens, None)
        except libvirt.libvirtError as error:
            raise _refusal(name, host.name, str(error)) from error
        return stream

    def _happens(self, stream: libvirt.virStream, events: int, _opaque: object) -> None:
        """Something can be read or written, or it is over. Runs in libvirt's event thread."""
        try:
            if events & _READ:
                self._receive(stream)
            if events & _WRITE:
                self._flush(stream)
        except libvirt.libvirtError:
            self._finish()
        if events & _BROKEN:
            self._finish()

    def _receive(self, stream: libvirt.virStream) -> None:
        got = stream.recv(_CHUNK)
        if got == b"":
            self._finish()
        elif got != _WOULD_WAIT:
            self._write(got)

    def _flush(self, stream: libvirt.virStream) -> None:
        with self._lock:
            if self._pending:
                sent = stream.send(self._pending)
                self._pending = self._pending[max(sent, 0) :]
            if not self._pending and not self._over:
                stream.eventUpdateCallback(_READ)

    def _finish(self) -> None:
        # Under the lock: a descriptor that was closed may be somebody else's file by now.
        with self._lock:
            if not self._over:
                self._over = True
                os.write(self._end, b"x")

    def _let_go(self) -> None:
        with self._lock:
            self._over = True
        with contextlib.suppress(libvirt.libvirtError):  # the host is gone
            self._raw.close()
        eventloop.release(self._raw)
        os.close(self._ended)
        os.close(self._end)


def _refusal(name: str, host: str, said: str) -> ReconcilerError:
    if "Active console session exists" in said:
        return ReconcilerError(
            f"somebody else is on the console of {name}", hint="with --force it is taken from them"
        )
    if "cannot find" in said and ("console" in said or "character device" in said):
        return ReconcilerError(f"{name} has no console", hint="set console: serial in its manifest")
    return ReconcilerError(f"the console of {name} on {host} cannot be opened: {said}")
