"""Waiting until a change is true: ``?wait=30s&waitFor=Ready``.

A change is looked for in two steps.  First a tick must have seen it: one of a revision that has the commit.
Only then the conditions speak of it, and not of what was before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from api.kinds import ALL
from api.operation import BadQueryError, Query
from api.services import Services
from api.views import View, Views
from reconciler.errors import Problem
from reconciler.model.request import RequestState
from reconciler.model.status import Retry

LONGEST = 3600
"""Seconds that a request may wait."""

WAIT = Query(
    "wait",
    {"type": "string", "format": "duration", "maxLength": 40},
    "Wait for so long (`30s`, at most `1h`) until it is done. If it is not by then, the answer is 202 with "
    "an operation that goes on.",
)
WAIT_FOR = Query(
    "waitFor",
    {"type": "string", "pattern": "^[A-Za-z]{1,40}(=(True|False|Unknown))?$", "maxLength": 60},
    "The condition to wait for: `Ready`, `Synced`, `RestartRequired=False` …",
    default="Ready",
)

GONE = "gone"
"""What a deletion waits for."""

_SILENT = frozenset({"InstanceType", "Image", "VirtualMachinePool"})
"""Of these nothing is said host by host: a tick that saw them is all there is to wait for."""

PAUSE = 0.1
"""Seconds between looks at the store, which cost next to nothing as long as nothing changed."""


def seconds(wait: int | None) -> float:
    """How long to wait.

    Raises:
        BadQueryError: Longer than a request may last.
    """
    if wait is not None and wait > LONGEST:
        raise BadQueryError([Problem("query", 0, 0, "wait", "at most 1h; ask again after it")])
    return float(wait or 0)


async def until(done: Callable[[], Awaitable[bool]], longest: float) -> bool:
    """Look until it is done, or the time is over. True if it is done.

    Args:
        done: Looks once.
        longest: Seconds; 0 looks once.
    """
    deadline = time.monotonic() + longest
    pause = PAUSE
    while not await done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.2, 1.0)
    return True


@dataclass(frozen=True, slots=True)
class Aim:
    """What is waited for.

    Attributes:
        kind: Kind of the object.
        name: Its name.
        revision: The desired state's revision that has the change.
        wanted: A condition, perhaps with its status: ``Ready``, ``Synced=True``; or `GONE`.
    """

    kind: str
    name: str
    revision: str
    wanted: str

    @property
    def key(self) -> str:
        """``Kind/name``."""
        return f"{self.kind}/{self.name}"

    def to_json(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Aim:
        """What `to_json` gave."""
        return Aim(**json.loads(text))


Verdict = tuple[RequestState, str]
"""How far it is, and a sentence for people."""


def judge(services: Services, views: Views, aim: Aim) -> Verdict:
    """Whether it is true now."""
    tick = services.store.last_tick()
    moment = views.moment(ALL[aim.kind])
    if tick is None or not _seen(services, tick.revision, aim.revision, moment.state.revision):
        told = f"; the last tick said: {tick.sentence}" if tick is not None else ""
        return RequestState.RUNNING, f"no tick has seen it yet{told}"
    view = views.one(moment, aim.name)
    if aim.wanted == GONE:
        return _gone(services, views, aim, view)
    if view is None:
        return RequestState.FAILED, "it was deleted meanwhile"
    retry = services.store.retries().get(aim.name) if aim.kind == "VirtualMachine" else None
    return _condition(aim, view, retry)


def _condition(aim: Aim, view: View, retry: Retry | None) -> Verdict:
    """What is said of the condition, on every host that says something of it."""
    wanted, _, status = aim.wanted.partition("=")
    found = [one for one in view.conditions if one["type"] == wanted]
    wrong = next((one for one in found if one["status"] != (status or "True")), None)
    if found and wrong is None:
        return RequestState.DONE, found[0]["message"] or found[0]["reason"]
    if aim.kind in _SILENT:
        return RequestState.DONE, "a tick has seen it"
    if retry is not None and retry.terminal:
        return RequestState.FAILED, retry.message
    told = f"{wrong['reason']}: {wrong['message']}" if wrong else f"nothing is said of {wanted} yet"
    return RequestState.RUNNING, told


def _seen(services: Services, ticked: str, revision: str, newest: str) -> bool:
    """True if a tick of the revision `ticked` saw the change: what is newest now has it in any case."""
    return bool(ticked) and (ticked in (revision, newest) or services.contains(ticked, revision))


def _gone(services: Services, views: Views, aim: Aim, view: View | None) -> Verdict:
    if view is not None:
        return RequestState.FAILED, "it was made again meanwhile"
    moment = views.moment(ALL[aim.kind])
    said: Any = moment.said.get(aim.key, ())
    if aim.kind == "VirtualMachine":
        said = moment.conditions.get(aim.name, ())
    if said or aim.name in services.store.statuses(aim.kind):
        return RequestState.RUNNING, "it is still there"
    return RequestState.DONE, "it is gone"
