"""The audit record: each write, each refused write, and each wrong credential, whatever the resource does.

It is a middleware, so no resource can forget it.  A request is a write if its method is none of the safe
ones, or its operation says so, or asks for more than a viewer: so a GET that changes something (the older
interfaces) is one without anybody remembering to say it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from falcon.asgi import Request, Response

from api.auth.limiter import Limiter, source_key
from api.auth.loopback import peer
from api.operation import Operation
from api.services import Services
from reconciler.errors import ReconcilerError
from reconciler.model.access import Caller, Role, Thing
from reconciler.store.base_access import AuditRecord

_log = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def declared_of(resource: Any, method: str) -> Operation | None:
    """What the responder declares; None if there is none, or it declares nothing."""
    return getattr(getattr(resource, f"on_{method.lower()}", None), "operation", None)


def is_write(method: str, declared: Operation | None) -> bool:
    """True if the request may change something."""
    if declared is not None and declared.writes is not None:
        return declared.writes
    return method not in SAFE or (declared is not None and declared.role in (Role.OPERATOR, Role.ADMIN))


class Audit:
    """Middleware: writes down what was done, before the answer is sent."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._writer = _Writer(services)
        self._failures = Limiter()

    async def process_response(self, req: Request, resp: Response, resource: Any, _succeeded: bool) -> None:
        """After the responder, and after errors became answers."""
        if resource is None:
            return
        caller: Caller | None = getattr(req.context, "caller", None)
        declared = declared_of(resource, req.method)
        status = int(str(resp.status)[:3])
        if caller is None or status == 401:
            if status not in (401, 429) or not self._worth_noting(req):
                return
        elif not is_write(req.method, declared) or status == 405:
            return
        await self._writer.add(_record(req, resp, caller, declared, self._services.clock()))

    def _worth_noting(self, req: Request) -> bool:
        """Wrong credentials could push out of the record what matters: of each source some are kept."""
        key, now = source_key(peer(req.scope)), self._services.clock()
        try:
            self._failures.check(key, now)
        except ReconcilerError:
            return False
        self._failures.fail(key, now)
        return True


class _Writer:
    """Gathers the records that come while one batch is written into the next one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: list[tuple[AuditRecord, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, record: AuditRecord) -> None:
        """Until it is written."""
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._waiting.append((record, written))
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._write())
        await written

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            records = [record for record, _ in batch]
            try:
                await self._services.run(self._services.store.add_audit, records)
            except ReconcilerError as error:
                # What was done is done; the log is where the record is then.
                for record in records:
                    _log.error("the audit record cannot be written (%s): %s", error.message, record)
            finally:
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)


def _record(
    req: Request, resp: Response, caller: Caller | None, declared: Operation | None, now: float
) -> AuditRecord:
    thing: Thing | None = getattr(req.context, "thing", None)
    made = AuditRecord(
        time=now,
        who="",
        via="",
        token="",
        source=peer(req.scope),
        method=req.method,
        path=_printable(req.relative_uri),
        action=declared.id if declared is not None else "",
        object=f"{thing.kind}/{thing.name}" if thing is not None and thing.name else "",
        status=int(str(resp.status)[:3]),
        request=getattr(req.context, "request_id", ""),
        revision=getattr(req.context, "revision", "") or resp.get_header("Reconciler-Revision") or "",
        detail=getattr(resp.context, "refusal", ""),
    )
    return made if caller is None else replace(made, who=caller.name, via=caller.via, token=caller.token)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
