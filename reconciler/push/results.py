"""Lines of progress, and what Ansible says of a host, into exactly one result for each action."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.plan import Action, ActionResult, Outcome

OnProgress = Callable[[ActionResult | str], None]
"""Takes each result as it comes, and sentences for people."""

_BAD = (Outcome.FAILED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a host, or a whole run, did not finish.

    Attributes:
        reason: CamelCase word.
        message: In words.
        failed: False when nothing went wrong: the run was stopped on purpose.
    """

    reason: str
    message: str
    failed: bool = True


def one_line(text: str) -> str:
    """A message without line breaks: it becomes an event, a condition, a line of the log."""
    return " ".join(text.split())


class Results:
    """Collects the results of a plan's actions.

    Args:
        actions: All of them.
        on_progress: Called once for each result.
    """

    def __init__(self, actions: Iterable[Action], on_progress: OnProgress) -> None:
        self._actions = {action.id: action for action in actions}
        self._done: dict[str, ActionResult] = {}
        self._began: set[str] = set()
        self._on_progress = on_progress

    def all(self) -> tuple[ActionResult, ...]:
        """One for each action, in the plan's order; every one must have been settled."""
        return tuple(self._done[key] for key in self._actions)

    def take(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Read lines of a run's progress."""
        for line in lines:
            if line["event"] == "says":
                self._on_progress(f"{line['host']}: {one_line(line['message'])}")
                continue
            action = self._actions.get(line["id"])
            if action is None:
                continue
            if line["event"] == "began":
                self._began.add(action.id)
            else:
                self._note(_result(action, line))

    def outstanding(self, actions: Iterable[Action]) -> list[Action]:
        """Those of `actions` that may still be done; one whose precondition failed is settled as skipped."""
        still = []
        for action in actions:
            broken = next((before for before in action.after if self._is_bad(before)), None)
            if action.id in self._done:
                continue
            if broken is None:
                still.append(action)
            else:
                self._skip(action, "DependencyFailed", f"{broken} was not done")
        return still

    def succeeded(self) -> frozenset[str]:
        """Ids of the actions that are done."""
        return frozenset(key for key, result in self._done.items() if result.outcome not in _BAD)

    def settle(self, actions: Iterable[Action], trouble: Trouble) -> None:
        """Give a result to each of `actions` that has none, because of `trouble`."""
        for action in actions:
            if action.id in self._done:
                continue
            if action.id in self._began:
                text = f"{trouble.message}; what became of this step is not known"
                self._note(_failed(action, "Interrupted", text))
            elif trouble.failed and not any(self._is_bad(before) for before in action.after):
                self._note(_failed(action, trouble.reason, trouble.message))
            else:
                self._skip(action, trouble.reason, trouble.message)

    def _is_bad(self, action_id: str) -> bool:
        found = self._done.get(action_id)
        return found is not None and found.outcome in _BAD

    def _skip(self, action: Action, reason: str, message: str) -> None:
        told = one_line(message)
        self._note(ActionResult(action.id, action.host, action.vm, Outcome.SKIPPED, told, reason))

    def _note(self, result: ActionResult) -> None:
        if result.id not in self._done:
            self._done[result.id] = result
            self._on_progress(result)


def _result(action: Action, line: Mapping[str, Any]) -> ActionResult:
    return ActionResult(
        id=action.id,
        host=action.host,
        vm=action.vm,
        outcome=Outcome(line["outcome"]),
        message=one_line(line["message"]),
        reason=line["reason"],
        terminal=line["terminal"],
        seconds=line["seconds"],
    )


def _failed(action: Action, reason: str, message: str) -> ActionResult:
    return ActionResult(action.id, action.host, action.vm, Outcome.FAILED, one_line(message), reason)
