"""Waiting until a change is true: ``?wait=30s&waitFor=Ready``.

A change is looked for in two steps.  First a tick must have seen it: one of a revision that has the commit.
Only then the conditions speak of it, and not of what was before.  What no time will mend is not waited for.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from api.kinds import ALL
from api.operation import BadQueryError, Query
from api.services import Services
from api.views import View, Views
from reconciler.errors import Problem
from reconciler.model.desired import DesiredState
from reconciler.model.pool import MemberState
from reconciler.model.request import RequestState
from reconciler.model.status import ConditionStatus, ConditionType, Retry
from reconciler.planner.lent import pool_conditions
from reconciler.planner.lent.slots import made_from, template_of

LONGEST = 3600
"""Seconds that a request may wait."""

WAIT = Query(
    "wait",
    {"type": "string", "format": "duration", "maxLength": 40},
    "Wait for so long (`30s`, at most `1h`) until it is done. If it is not by then, the answer is 202 with "
    "an operation that goes on.",
)
_BOTH = (str(ConditionType.READY), str(ConditionType.SYNCED))
_KNOWN = {"VirtualMachine": tuple(map(str, ConditionType)), "VirtualMachinePool": _BOTH[:1]}
"""What is said of a kind; of all others it is both."""


def wait_for(kind: str) -> Query:
    """The parameter ``waitFor`` of writes of this kind."""
    known = _KNOWN.get(kind, _BOTH)
    return Query(
        "waitFor",
        {"type": "string", "pattern": f"^({'|'.join(known)})(=(True|False|Unknown))?$", "maxLength": 60},
        f"The condition to wait for, of {', '.join(known)}; with its status, if it shall not be True: "
        f"`{known[-1]}=False`. Without it {' and '.join(default_of(kind).split(','))}.",
    )


def default_of(kind: str) -> str:
    """What a change is waited for by default, as `Aim.wanted`: it must be carried out, too."""
    return ",".join(one for one in _BOTH if one in _KNOWN.get(kind, _BOTH))


GONE = "gone"
"""What a deletion waits for."""

_SILENT = frozenset({"InstanceType", "Image"})
"""Of these nothing is said host by host: a tick that saw them is all there is to wait for."""

_FOR_PEOPLE = frozenset(
    (
        *("AddressUnfit", "AmbiguousDisks", "CloneElsewhere", "DisksElsewhere", "DuplicateDomain"),
        *("DuplicateVolume", "ForeignOwner", "FormatUnsupported", "MarkLost", "NameTaken"),
        *("NetworkNotOurs", "PoolChanged", "PoolConflict", "Protected", "SameHost", "ShrinkRefused"),
        *("SlotsTaken", "SourceUnsupported", "VolumeChanged", "VolumeLost"),
    )
)
"""Reasons that stay until somebody changes the manifest, or something on a host."""

_LEFT_ALONE = frozenset({"ChangesWait", "Drifted", "Suspended"})
"""Reasons for which the rest of a change is not acted on: it goes on as soon as somebody says so."""

_CONSENT = (str(ConditionType.RESTART_REQUIRED), str(ConditionType.REPLACE_REQUIRED))

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
        wanted: Conditions, with commas between, each perhaps with its status: ``Ready,Synced``,
            ``RestartRequired=False``; or `GONE`.
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


class Verdict(NamedTuple):
    """How far it is.

    Attributes:
        state: In a word.
        message: A sentence for people.
        stuck: It goes on, but only once somebody does something.
    """

    state: RequestState
    message: str
    stuck: bool = False

    @property
    def over(self) -> bool:
        """There is no use in waiting."""
        return self.stuck or self.state.final


def judge(services: Services, views: Views, aim: Aim) -> Verdict:
    """Whether it is true now."""
    tick = services.store.last_tick()
    moment = views.moment(ALL[aim.kind])
    view, newest = views.one(moment, aim.name), moment.state.revision
    seen = tick is not None and _seen(services, tick.revision, aim.revision, newest)
    if view is None and aim.wanted != GONE and (seen or services.contains(newest, aim.revision)):
        return Verdict(RequestState.FAILED, "it is desired no more: it was deleted meanwhile")
    if not seen or (view is None and aim.wanted != GONE):
        told = f"; the last tick said: {tick.sentence}" if tick is not None else ""
        return Verdict(RequestState.RUNNING, f"no tick has seen it yet{told}")
    if aim.wanted == GONE or view is None:
        return _gone(services, views, aim, view)
    if aim.kind in _SILENT:
        return Verdict(RequestState.DONE, "a tick has seen it")
    retry = services.store.retries().get(aim.name) if aim.kind == "VirtualMachine" else None
    said = _condition(aim, view, retry)
    if aim.kind == "VirtualMachinePool" and said.state is RequestState.DONE and "=" not in aim.wanted:
        return _pool(services, moment.state, aim.name) or said
    return said


def _condition(aim: Aim, view: View, retry: Retry | None) -> Verdict:
    """What is said of the conditions, on every host that says something of them."""
    wanted = dict(one.partition("=")[::2] for one in aim.wanted.split(","))
    found = [said for said in view.conditions if said["type"] in wanted]
    wrong = [said for said in found if said["status"] != (wanted[said["type"]] or "True")]
    unsaid = sorted(wanted.keys() - {said["type"] for said in found})
    if not wrong and not unsaid:
        return Verdict(RequestState.DONE, found[0]["message"] or found[0]["reason"])
    if retry is not None and retry.terminal:
        return Verdict(RequestState.FAILED, retry.message)
    for said in wrong:
        if said["reason"] in _FOR_PEOPLE:
            return Verdict(RequestState.FAILED, _told(said))
    for said in wrong:
        # RestartRequired=False may well come true by itself: somebody restarts the machine.
        if said["reason"] in _LEFT_ALONE and said["type"] not in _CONSENT:
            how = [one["message"] for one in view.conditions if _asks(one)]
            return Verdict(RequestState.RUNNING, "; ".join([_told(said), *how]), stuck=True)
    return Verdict(RequestState.RUNNING, _told(wrong[0]) if wrong else f"nothing is said of {unsaid[0]} yet")


def _told(said: Mapping[str, Any]) -> str:
    return f"{said['reason']}: {said['message']}"


def _asks(said: Mapping[str, Any]) -> bool:
    """True for a condition that waits for somebody's word, and says how to give it."""
    return said["type"] in _CONSENT and said["status"] == "True"


def _pool(services: Services, state: DesiredState, name: str) -> Verdict | None:
    """Why a pool is not as it shall be although it was ready when it was last looked at, if so.

    A member of an older template counts as ready: better that one than none.
    """
    pool, members = state.machine_pools[name], services.store.members(name)
    template = template_of(state, pool)
    old = [
        member.vm
        for member in members
        if member.state is MemberState.AVAILABLE and member.template != made_from(template, pool, member.slot)
    ]
    if old:
        return Verdict(RequestState.RUNNING, f"of an older template: {', '.join(old[:5])}")
    ready = pool_conditions(pool, members, services.clock())[0]
    if ready.status is not ConditionStatus.TRUE:
        return Verdict(RequestState.RUNNING, f"{ready.reason}: {ready.message}")
    return None


def _seen(services: Services, ticked: str, revision: str, newest: str) -> bool:
    """True if a tick of the revision `ticked` saw the change: what is newest now has it in any case."""
    return bool(ticked) and (ticked in (revision, newest) or services.contains(ticked, revision))


def _gone(services: Services, views: Views, aim: Aim, view: View | None) -> Verdict:
    if view is not None:
        return Verdict(RequestState.FAILED, "it was made again meanwhile")
    moment = views.moment(ALL[aim.kind])
    if aim.kind == "VirtualMachine":
        said = moment.conditions.get(aim.name, ())
    else:
        said = tuple(one for _, each in moment.said.get(aim.key, ()) for one in each)
    refused = next((one for one in said if one.reason in _FOR_PEOPLE), None)
    if refused is not None:
        return Verdict(RequestState.FAILED, f"{refused.reason}: {refused.message}")
    if said or aim.name in services.store.statuses(aim.kind):
        return Verdict(RequestState.RUNNING, "it is still there")
    return Verdict(RequestState.DONE, "it is gone")


SHOWN_WITHIN = 2.0
"""Seconds within which the next tick, which follows at once, writes down how a machine is that it made."""


def shown(views: Views, aim: Aim) -> bool:
    """True if the status is of what the conditions speak of: a tick looks before it acts."""
    moment = views.moment(ALL[aim.kind])
    view = views.one(moment, aim.name)
    if view is None or aim.kind != "VirtualMachine" or aim.wanted == GONE:
        return True
    told = max((one["observedGeneration"] for one in view.conditions), default=0)
    row = json.loads(moment.statuses.get(aim.name, "{}"))
    return bool(row.get("generation", 0) >= told)
