"""Waiting for the daemon to do what it was asked for."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import click

from reconciler.errors import ReconcilerError
from reconciler.model.request import RequestRecord, RequestState
from reconciler.requests import daemon_holds
from reconciler.store.base import Store

_POLL = 0.2
"""Seconds between looks at the request."""

_GRACE = 15.0
"""Seconds that a daemon may be away: it is restarted within, if at all."""

_NOBODY = 2**32 - 1
"""What the kernel says of a session that nobody logged in to."""


def asker() -> str:
    """Who runs this command: the user, and who they logged in as if that is another (sudo, su)."""
    user = os.geteuid()
    try:
        login = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        login = _NOBODY
    if login in (user, _NOBODY):
        return _name(user)
    return f"{_name(login)} (as {_name(user)})"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def wait_for(store: Store, number: int, *, poll: float = _POLL, grace: float = _GRACE) -> RequestRecord:
    """Wait until a request is final, and tell how far it is.

    Who interrupts this takes the request back if it was not begun; else it goes on.

    Raises:
        ReconcilerError: The daemon ended for good, or the request is on record no more.
    """
    try:
        return _wait(store, number, poll, grace)
    except KeyboardInterrupt:
        if store.cancel_request(number, "taken back by who asked", time.time()):
            click.echo("\nTaken back: nothing was done.", err=True)
        else:
            click.echo(f"\nRequest {number} was begun and goes on; see: reconciler events", err=True)
        raise


def _wait(store: Store, number: int, poll: float, grace: float) -> RequestRecord:
    said = ""
    missing_since = None
    while True:
        record = store.request(number)
        if record is None:
            raise ReconcilerError(f"request {number} is not on record any more", hint="reconciler events")
        if record.state.final:
            return record
        if (now := _how_far(store, record)) != said:
            said = now
            click.echo(f"  {said}", err=True)
        if daemon_holds(store):
            missing_since = None
        else:
            missing_since = missing_since or time.monotonic()
            if time.monotonic() - missing_since >= grace:
                raise _abandoned(store, number)
        time.sleep(poll)


def _how_far(store: Store, record: RequestRecord) -> str:
    if record.state is RequestState.RUNNING:
        return f"the daemon does it (request {record.id})"
    before = sum(other.id < record.id for other in store.open_requests())
    queue = f", {before} before it" if before else ""
    return f"the daemon is asked (request {record.id}{queue})"


def _abandoned(store: Store, number: int) -> ReconcilerError:
    if store.cancel_request(number, "the daemon ended before it was begun", time.time()):
        return ReconcilerError(
            "the daemon ended before it began: nothing was done",
            hint="say it again; without a daemon the command does it itself",
        )
    return ReconcilerError(
        "the daemon ended in the middle of it",
        hint="its next start tells what became of it (reconciler events), and reconciles the machine",
    )
