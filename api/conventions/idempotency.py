"""``Idempotency-Key``: the same request twice is done once, and answered alike.

The key is recorded before anything is done, and the answer after.  Whoever finds a key without an answer asks
whether its worker still lives: if so, it waits for the answer; if not, it goes on in its place, and looks
first whether the work was done.  A write says in its commit which key it was for; what is only written to the
store is written in one transaction with the answer (`atomically`).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from falcon.asgi import Request, Response

from api.body import read_body
from api.operation import BadQueryError, Operation
from api.services import Services
from reconciler.errors import ConflictError, DesiredStateError, Problem, UnavailableError
from reconciler.store.base_api import Remembered

TRAILER = "Idempotency-Key"
_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PATIENCE = 30.0
_PAUSE = 0.05
_AGAIN = frozenset({401, 403, 408, 413, 429})
"""Of these nothing came, and the same request may well be answered otherwise."""
_KEPT = ("content-type", "etag", "location", "reconciler-revision", "retry-after")


class ReusedKeyError(DesiredStateError):
    """The key belongs to another request."""

    subject = "the request"


@dataclass
class Once:
    """A request that is to be done once.

    Attributes:
        key: Digest of who asks and of their key.
        worker: This process, and this very request in it.
        again: It was begun before, by somebody who is gone: it may have been done.
        kept: Its answer is on record.
    """

    key: str
    worker: str
    again: bool = False
    kept: bool = field(default=False)


class Idempotency:
    """Middleware: answers a request that was made before, and remembers the answers of others."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process_resource(self, req: Request, resp: Response, resource: Any, _params: Any) -> None:
        """Before the responder, once it is known who asks."""
        req.context.once = None
        given = req.get_header("Idempotency-Key")
        if given is None or req.method not in _METHODS or not _declared(req, resource):
            return
        if not 1 <= len(given) <= 255 or not given.isprintable():
            message = "a key has 1 to 255 printable characters"
            raise BadQueryError([Problem("headers", 0, 0, "Idempotency-Key", message)])
        body = await read_body(req)
        caller = req.context.caller
        key = _digest(caller.name, caller.via, given)
        request = _digest(req.method, req.path, req.query_string, body.decode("latin-1"))
        once = Once(key, _worker(req.context.request_id))
        told = await self._begin(once, request)
        if told is None:
            req.context.once = once
        else:
            _replay(resp, told)

    async def _begin(self, once: Once, request: str) -> Mapping[str, Any] | None:
        """Take the request, or find its answer."""
        store, deadline = self._services.store, time.monotonic() + _PATIENCE
        while True:
            known = await self._services.run(
                store.begin_once, once.key, request, once.worker, self._services.clock()
            )
            if known is None:
                return None
            if known.request != request:
                raise ReusedKeyError(
                    [Problem("headers", 0, 0, "Idempotency-Key", "it was used for another request")],
                    hint="take a new key for each new request",
                )
            if known.answer:
                told: Mapping[str, Any] = json.loads(known.answer)
                return told
            if not _lives(known) and await self._services.run(
                store.take_over_once, once.key, known.worker, once.worker
            ):
                once.again = True
                return None
            if time.monotonic() >= deadline:
                raise ConflictError(
                    "the same request is being worked on", hint="ask again with the same key, for its answer"
                )
            await asyncio.sleep(_PAUSE)

    async def process_response(self, req: Request, resp: Response, _resource: Any, _succeeded: bool) -> None:
        """Once the answer is known."""
        once: Once | None = getattr(req.context, "once", None)
        if once is None or once.kept:
            return
        status = resp.status_code
        store = self._services.store
        if status >= 500 or status in _AGAIN:
            await self._services.run(store.leave_once, once.key, once.worker, undone=status in _AGAIN)
            return
        answer = await _recorded(resp)
        await self._services.run(store.finish_once, once.key, once.worker, answer)


def atomically(req: Request, services: Services, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Do work that only writes to the store, in one transaction with the record of its answer.

    Args:
        req: The request.
        services: Where the store is.
        work: Does it, and gives the answer: ``status``, ``headers`` and ``media`` (plain data).

    Returns:
        What `work` gave.
    """
    once: Once | None = getattr(req.context, "once", None)
    with services.store.transaction():
        told = work()
        if once is not None:
            body = json.dumps(told["media"], separators=(",", ":")).encode()
            headers = {"content-type": "application/json", **_lower(told.get("headers", {}))}
            answer = _answer(told["status"], headers, body)
            if not services.store.finish_once(once.key, once.worker, answer):
                raise UnavailableError("another one took this request over", retry_after=1.0)
    if once is not None:
        once.kept = True
    return told


def mark_of(req: Request) -> list[str]:
    """The line in a commit that says for which key it was made, if for any."""
    once: Once | None = getattr(req.context, "once", None)
    return [f"{TRAILER}: {once.key}"] if once is not None else []


def repeated(req: Request, services: Services) -> str | None:
    """The revision that this request made already, before the process that worked on it was killed."""
    once: Once | None = getattr(req.context, "once", None)
    if once is None or not once.again:
        return None
    return services.committed(f"{TRAILER}: {once.key}")


def _declared(req: Request, resource: Any) -> bool:
    """True if the responder says that it takes a key: the answers of others (a new token) are not kept."""
    responder = getattr(resource, f"on_{req.method.lower()}", None)
    declared: Operation | None = getattr(responder, "operation", None)
    if declared is None or declared.minds_key:
        return False
    return any(one.name == TRAILER for one in declared.headers)


async def _recorded(resp: Response) -> str:
    body = await resp.render_body() or b""
    headers = {name: value for name in _KEPT if (value := resp.get_header(name)) is not None}
    return _answer(resp.status_code, headers, body)


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> str:
    return json.dumps({"status": status, "headers": dict(headers), "body": base64.b64encode(body).decode()})


def _replay(resp: Response, told: Mapping[str, Any]) -> None:
    resp.status = told["status"]
    for name, value in told["headers"].items():
        resp.set_header(name, value)
    resp.set_header("Idempotency-Replayed", "true")
    body = base64.b64decode(told["body"])
    if body:
        resp.data = body
    resp.complete = True


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@functools.cache
def _process(pid: int) -> str:
    """This process, told apart from any other that had or gets its number, on this machine or another."""
    return f"{_boot()}:{pid}:{_started(pid)}"


def _worker(request_id: str) -> str:
    return f"{_process(os.getpid())}:{request_id}:{time.monotonic_ns()}"


def _lives(known: Remembered) -> bool:
    """True if the process that works on it is there."""
    boot, _, rest = known.worker.partition(":")
    pid, _, rest = rest.partition(":")
    started, _, _ = rest.partition(":")
    if boot != _boot() or not pid.isdigit():
        return False
    return _started(int(pid)) == started


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _started(pid: int) -> str:
    """When a process began, in ticks since boot; empty if there is none (any more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    words = text.rpartition(")")[2].split()
    return "" if words[0] in "ZX" else words[19]
