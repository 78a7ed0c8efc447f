"""Acts that the daemon is asked for: written by any process, carried out by the one that holds the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.model.request import (
    REQUEST_JSON,
    RESULTS_JSON,
    Request,
    RequestOutcome,
    RequestRecord,
    RequestState,
)
from reconciler.store import schema
from reconciler.store.session import Session

REQUESTS_KEPT = 1000
"""So many are kept; the oldest final ones go."""

_OPEN = (str(RequestState.PENDING), str(RequestState.RUNNING))


class Requests(Session):
    """The part of the store that keeps requests.

    Each step from one state to the next is one UPDATE that names the state before: of two processes that
    want to take (or one to take, one to cancel) the same request, one gets it.
    """

    def add_request(self, request: Request, by: str, now: float) -> int:
        """See `Store.add_request`."""
        row = {
            "what": REQUEST_JSON.dump_json(request).decode(),
            "by": by,
            "asked": now,
            "changed": now,
            "state": str(RequestState.PENDING),
            "message": "",
            "code": 0,
            "results": "[]",
        }
        with self._writing() as connection:
            made = connection.execute(insert(schema.requests).values(row)).inserted_primary_key
            assert made is not None  # noqa: S101 (one row was inserted)
            _prune(connection, int(made[0]))
            self._forget("open_requests")
            return int(made[0])

    def request(self, number: int) -> RequestRecord | None:
        """See `Store.request`."""
        with self._reading() as connection:
            found = connection.execute(select(schema.requests).where(schema.requests.c.id == number)).first()
        return _record(found._mapping) if found is not None else None

    def requests(self, *, vm: str | None = None, limit: int = 100) -> tuple[RequestRecord, ...]:
        """See `Store.requests`."""
        query = select(schema.requests).order_by(schema.requests.c.id.desc())
        with self._reading() as connection:
            found = map(_record, (row._mapping for row in connection.execute(query)))
            return tuple(one for one in found if vm is None or one.request.vm == vm)[:limit]

    def open_requests(self) -> tuple[RequestRecord, ...]:
        """See `Store.open_requests`."""
        return self._snapshot("open_requests", _load_open)

    def begin_request(self, number: int, now: float) -> bool:
        """See `Store.begin_request`."""
        return self._step(number, RequestState.PENDING, {"state": str(RequestState.RUNNING), "changed": now})

    def cancel_request(self, number: int, message: str, now: float) -> bool:
        """See `Store.cancel_request`."""
        values = {"state": str(RequestState.CANCELLED), "message": message, "changed": now, "code": 1}
        return self._step(number, RequestState.PENDING, values)

    def end_request(self, number: int, outcome: RequestOutcome, now: float) -> bool:
        """See `Store.end_request`."""
        values = {
            "state": str(outcome.state),
            "message": outcome.message,
            "code": outcome.code,
            "results": RESULTS_JSON.dump_json(outcome.results).decode(),
            "changed": now,
        }
        return self._step(number, RequestState.RUNNING, values)

    def _step(self, number: int, before: RequestState, values: Mapping[str, Any]) -> bool:
        columns = schema.requests.c
        with self._writing() as connection:
            found = connection.execute(
                update(schema.requests)
                .where(columns.id == number, columns.state == str(before))
                .values(dict(values))
            )
            self._forget("open_requests")
            return found.rowcount == 1


def _load_open(connection: Connection) -> tuple[RequestRecord, ...]:
    columns = schema.requests.c
    query = select(schema.requests).where(columns.state.in_(_OPEN)).order_by(columns.id)
    return tuple(_record(row._mapping) for row in connection.execute(query))


def _record(row: Mapping[Any, Any]) -> RequestRecord:
    return RequestRecord(
        id=row["id"],
        request=REQUEST_JSON.validate_json(row["what"]),
        by=row["by"],
        asked=row["asked"],
        changed=row["changed"],
        state=RequestState(row["state"]),
        message=row["message"],
        code=row["code"],
        results=RESULTS_JSON.validate_json(row["results"]),
    )


def _prune(connection: Connection, newest: int) -> None:
    columns = schema.requests.c
    old = columns.id <= newest - REQUESTS_KEPT
    connection.execute(delete(schema.requests).where(old, columns.state.not_in(_OPEN)))
