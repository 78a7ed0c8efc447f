"""What an apply was about to do and has done, until it is over; and what the last tick said."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from reconciler.model.plan import ActionResult, Outcome
from reconciler.store import schema
from reconciler.store.base import Run, Tick
from reconciler.store.session import Session, as_row, replace_rows


class Journal(Session):
    """The part of the store that a restart reads to learn what was in flight."""

    def begin_run(self, run: str, plan: str, now: float) -> None:
        """See `Store.begin_run`."""
        with self._writing() as connection:
            connection.execute(insert(schema.runs).values(id=run, started=now, plan=plan))

    def finish_action(self, run: str, *results: ActionResult) -> None:
        """See `Store.finish_action`.

        Not synced to the disk: the journal's end may be lost with the power, since a repeated action
        changes nothing, and a sync for each of ten thousand actions would take longer than they do.
        """
        latest = {result.id: result for result in results}
        rows = [{**as_row(result), "run": run, "detail": _to_json(result)} for result in latest.values()]
        with self._writing(durable=False) as connection:
            replace_rows(connection, schema.run_actions, rows)

    def finish_run(self, run: str) -> None:
        """See `Store.finish_run`."""
        with self._writing() as connection:
            connection.execute(delete(schema.runs).where(schema.runs.c.id == run))

    def unfinished_runs(self) -> tuple[Run, ...]:
        """See `Store.unfinished_runs`."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.runs).order_by(schema.runs.c.started, schema.runs.c.id))
            return tuple(Run(row.id, row.started, row.plan, _results(connection, row.id)) for row in rows)

    def last_tick(self) -> Tick | None:
        """See `Store.last_tick`."""
        with self._reading() as connection:
            row = connection.execute(select(schema.last_tick)).first()
            return Tick(**row._mapping) if row else None

    def put_tick(self, tick: Tick) -> None:
        """See `Store.put_tick`. Not synced to the disk: the next tick says it again."""
        with self._writing(durable=False) as connection:
            connection.execute(delete(schema.last_tick))
            connection.execute(insert(schema.last_tick).values(**as_row(tick)))


def _to_json(result: ActionResult) -> str:
    return json.dumps(dict(result.detail), default=str)


def _results(connection: Connection, run: str) -> Mapping[str, ActionResult]:
    rows = connection.execute(select(schema.run_actions).where(schema.run_actions.c.run == run))
    results = {}
    for row in rows:
        values = {**row._mapping, "outcome": Outcome(row.outcome), "detail": json.loads(row.detail)}
        del values["run"]
        results[row.id] = ActionResult(**values)
    return results
