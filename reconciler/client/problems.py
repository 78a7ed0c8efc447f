"""Problems of the API (RFC 9457) as the errors that a command here would have had."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from reconciler.errors import (
    BusyError,
    ConflictError,
    DesiredStateError,
    ForbiddenError,
    InventoryError,
    LimitError,
    NotFoundError,
    PreconditionError,
    Problem,
    ReconcilerError,
    StalePlanError,
    UnauthenticatedError,
    UnavailableError,
    UsageError,
)

_BY_REASON: Mapping[str, type[ReconcilerError]] = {
    "Limit": LimitError,
    "StalePlan": StalePlanError,
    "Busy": BusyError,
    "Usage": UsageError,
    "Inventory": InventoryError,
}
_BY_STATUS: Mapping[int, type[ReconcilerError]] = {
    400: UsageError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: UsageError,
    406: UsageError,
    412: PreconditionError,
    413: UsageError,
    415: UsageError,
}
_NOT_NOW = (429, 502, 503, 504)
_LASTING = frozenset({"Reconciler", "Push", "Secret", "Allocator"})
"""Troubles for which the API says 503, and that are not over in a second."""

BLOCKED = 7
"""Exit code of what is refused because its machine must be left alone now."""


def error_of(status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> ReconcilerError:
    """The error that an answer is.

    Args:
        status: HTTP status, 400 or more.
        problem: The body; empty if it was none.
        retry_after: Seconds of the header, or None.
    """
    detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    hint, reason = str(problem.get("hint", "")), str(problem.get("reason", ""))
    mistakes = tuple(_mistakes(problem))
    if mistakes and status == 422:
        return DesiredStateError(mistakes, hint=hint)
    if mistakes:
        detail += "".join(f"\n  {one.path}: {one.message}" for one in mistakes)
    if reason in _BY_REASON:
        return _BY_REASON[reason](detail, hint=hint)
    if status == 409:
        return _conflict(detail, hint, problem)
    if status in _NOT_NOW and reason not in _LASTING:
        return UnavailableError(detail, hint=hint, retry_after=retry_after or 1.0)
    if status == 500:
        return ReconcilerError(detail, hint=f"request id {problem.get('requestId', 'unknown')}")
    return _BY_STATUS.get(status, ReconcilerError)(detail, hint=hint)


def _conflict(detail: str, hint: str, problem: Mapping[str, Any]) -> ReconcilerError:
    if problem.get("reason") == "Blocked":
        blocked = ReconcilerError(detail, hint=hint)
        blocked.exit_code = BLOCKED  # type: ignore[misc]  # this one error, not its class
        return blocked
    line = problem.get("line", 0)
    file = str(problem.get("file", ""))
    return ConflictError(detail, hint=hint, file=file, line=line if isinstance(line, int) else 0)


def _mistakes(problem: Mapping[str, Any]) -> list[Problem]:
    """The mistakes that are listed; a list of another form is passed over."""
    found = []
    errors = problem.get("errors")
    for one in errors if isinstance(errors, list) else ():
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            found.append(
                Problem(
                    str(one.get("file", "")),
                    int(one.get("line") or 0),
                    int(one.get("column") or 0),
                    str(one.get("path", "")),
                    str(one.get("message", "")),
                    str(one.get("object", "")),
                )
            )
    return found
