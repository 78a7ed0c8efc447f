"""Answers that are remembered under a caller's key, and operations of the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.model.request import RequestState
from reconciler.store import schema
from reconciler.store.base_api import REMEMBERED_FOR, OperationRecord, Remembered
from reconciler.store.session import Session

OPERATIONS_KEPT = 1000
"""So many are kept; the oldest final ones go."""

_OPEN = (str(RequestState.PENDING), str(RequestState.RUNNING))


class ApiAnswers(Session):
    """The part of the store that remembers answers. Each step names the state before it."""

    def begin_once(self, key: str, request: str, worker: str, now: float) -> Remembered | None:
        """See `ApiStore.begin_once`."""
        columns = schema.answers.c
        with self._writing() as connection:
            connection.execute(delete(schema.answers).where(columns.asked < now - REMEMBERED_FOR))
            found = connection.execute(select(schema.answers).where(columns.key == key)).first()
            if found is not None:
                return Remembered(found.request, found.worker, found.answer)
            row = {"key": key, "request": request, "worker": worker, "answer": "", "asked": now}
            connection.execute(insert(schema.answers).values(row))
            return None

    def take_over_once(self, key: str, before: str, worker: str) -> bool:
        """See `ApiStore.take_over_once`."""
        return self._step_answer(key, before, {"worker": worker})

    def finish_once(self, key: str, worker: str, answer: str) -> bool:
        """See `ApiStore.finish_once`."""
        return self._step_answer(key, worker, {"answer": answer})

    def leave_once(self, key: str, worker: str, *, undone: bool) -> None:
        """See `ApiStore.leave_once`."""
        if not undone:
            self._step_answer(key, worker, {"worker": ""})
            return
        columns = schema.answers.c
        mine = (columns.key == key, columns.worker == worker, columns.answer == "")
        with self._writing() as connection:
            connection.execute(delete(schema.answers).where(*mine))

    def _step_answer(self, key: str, worker: str, values: Mapping[str, Any]) -> bool:
        columns = schema.answers.c
        mine = (columns.key == key, columns.worker == worker, columns.answer == "")
        with self._writing() as connection:
            return connection.execute(update(schema.answers).where(*mine).values(dict(values))).rowcount == 1


class ApiOperations(Session):
    """The part of the store that keeps operations."""

    def add_operation(self, kind: str, subject: str, by: str, data: str, now: float) -> int:
        """See `ApiStore.add_operation`."""
        row = {
            "kind": kind,
            "subject": subject,
            "by": by,
            "asked": now,
            "changed": now,
            "state": str(RequestState.PENDING),
            "message": "",
            "data": data,
        }
        with self._writing() as connection:
            made = connection.execute(insert(schema.operations).values(row)).inserted_primary_key
            assert made is not None  # noqa: S101 (one row was inserted)
            columns = schema.operations.c
            old = columns.id <= int(made[0]) - OPERATIONS_KEPT
            connection.execute(delete(schema.operations).where(old, columns.state.not_in(_OPEN)))
            self._forget("open_operations")
            return int(made[0])

    def operation(self, number: int) -> OperationRecord | None:
        """See `ApiStore.operation`."""
        query = select(schema.operations).where(schema.operations.c.id == number)
        with self._reading() as connection:
            found = connection.execute(query).first()
        return _operation(found._mapping) if found is not None else None

    def operations(self, *, limit: int = 100) -> tuple[OperationRecord, ...]:
        """See `ApiStore.operations`."""
        query = select(schema.operations).order_by(schema.operations.c.id.desc()).limit(limit)
        with self._reading() as connection:
            return tuple(_operation(row._mapping) for row in connection.execute(query))

    def open_operations(self) -> tuple[OperationRecord, ...]:
        """See `ApiStore.open_operations`."""
        return self._snapshot("open_operations", _load_open)

    def step_operation(
        self, number: int, before: RequestState, after: RequestState, message: str, now: float
    ) -> bool:
        """See `ApiStore.step_operation`."""
        columns = schema.operations.c
        with self._writing() as connection:
            found = connection.execute(
                update(schema.operations)
                .where(columns.id == number, columns.state == str(before))
                .values(state=str(after), message=message, changed=now)
            )
            self._forget("open_operations")
            return found.rowcount == 1


def _load_open(connection: Connection) -> tuple[OperationRecord, ...]:
    columns = schema.operations.c
    query = select(schema.operations).where(columns.state.in_(_OPEN)).order_by(columns.id)
    return tuple(_operation(row._mapping) for row in connection.execute(query))


def _operation(row: Mapping[Any, Any]) -> OperationRecord:
    return OperationRecord(**{**row, "state": RequestState(row["state"])})
