"""Hands a seed to the worker that writes it: over a socket in the run's private folder, never as a file.

The worker is another process (Ansible forks it), so the bytes have to travel.  A socket leaves nothing
behind, shows in no list of arguments, and asks the kernel who is at its other end.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.push.seed import iso

SOCKET = "seeds.sock"
_PATIENCE = 30.0
_LONGEST_REQUEST = 1 << 16
_CREDENTIALS = struct.Struct("3i")


@contextmanager
def served(directory: Path, seeds: Mapping[str, Mapping[str, bytes]]) -> Iterator[None]:
    """Serve the seeds, by action id, for this while.

    Args:
        directory: The run's folder, which is ours alone.
        seeds: Name to content of each seed's files, by the id of the action that writes it; none: no socket.
    """
    if not seeds:
        yield
        return
    listener = _listening(directory)
    server = threading.Thread(target=_serve, args=(listener, seeds), daemon=True, name="seeds")
    server.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        server.join(_PATIENCE)
        listener.close()
        (directory / SOCKET).unlink(missing_ok=True)


def _listening(directory: Path) -> socket.socket:
    """By way of the folder: a socket's own path has 107 bytes at most."""
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        (directory / SOCKET).chmod(0o600)
        listener.listen(64)
        return listener
    finally:
        os.close(folder)


def _serve(listener: socket.socket, seeds: Mapping[str, Mapping[str, bytes]]) -> None:
    while True:
        try:
            channel, _ = listener.accept()
        except OSError:
            return  # it was shut down: the run is over
        # One that hangs up early, or says nothing, must not keep the others from being served.
        with channel, suppress(OSError, ValueError):
            channel.settimeout(_PATIENCE)
            _answer(channel, seeds)


def _answer(channel: socket.socket, seeds: Mapping[str, Mapping[str, bytes]]) -> None:
    with channel.makefile("rwb") as stream:
        request = json.loads(stream.readline(_LONGEST_REQUEST))
        files = seeds.get(str(request["id"])) if isinstance(request, dict) and _is_us(channel) else None
        if files is None:
            stream.write(json.dumps({"size": 0, "message": "this run has no such seed"}).encode() + b"\n")
            return
        data = iso(files)
        stream.write(json.dumps({"size": len(data)}).encode() + b"\n")
        stream.write(data)


def _is_us(channel: socket.socket) -> bool:
    """True if our own user is at the other end, or root, who could read our memory anyway."""
    told = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(told)
    return uid in (0, os.geteuid())
