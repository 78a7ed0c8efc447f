"""A volume goes from machine to machine: whoever has it lets go first, and a shared pool is told who has it.

What each machine needs was planned as if it were alone.  Here a machine waits for the one before it, or is
blocked by one that does not let go; on pools that several hosts see, claims say who has a volume.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Pool
from reconciler.model.operations import (
    AttachDisk,
    ClaimVolume,
    Define,
    DetachDisk,
    Redefine,
    ReleaseVolume,
    Start,
    Stop,
    Undefine,
)
from reconciler.model.placement import copying_name, is_machine
from reconciler.model.plan import Action, Blocked, Impact
from reconciler.planner.diff import mark_of
from reconciler.planner.outcome import Outcome
from reconciler.planner.resources.claims import claims_of, has_volume, provably_gone
from reconciler.planner.resources.volumes import elsewhere
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import Attached, Home, attached, is_shared, uid_in_path

Without = Callable[[str, frozenset[str]], Outcome]
"""Plans a machine that has a domain as if it were not to have some of its volumes, by name."""


def settled(
    survey: Survey, resources: Sequence[Outcome], machines: Sequence[Outcome], without: Without
) -> list[Outcome]:
    """The machines' outcomes, with volumes handed over in order.

    Machines that swap volumes wait for each other in a circle: one of them then only lets go, and gets its
    new ones with the next plan.

    Args:
        survey: The situation, sorted.
        resources: What happens to pools, networks and volumes.
        machines: What happens to machines.
        without: Plans a machine anew.
    """
    if not survey.situation.desired.volumes and not survey.index.homes:
        return list(machines)
    later: dict[str, frozenset[str]] = {}
    planned = list(machines)
    while True:
        handover = _Handover(survey, resources, planned, later)
        outcomes = handover.outcomes()
        breaker = handover.circle()
        if breaker is None:
            return outcomes
        vm, volumes = breaker
        later[vm] = later.get(vm, frozenset()) | volumes
        planned = [without(vm, later[vm]) if _vm(one) == vm else one for one in planned]


def _vm(outcome: Outcome) -> str | None:
    return outcome.change.vm if outcome.change is not None else None


@dataclass(slots=True)
class _Release:
    """How a domain lets go of a volume in this plan.

    Attributes:
        machine: Its name.
        uid: Its UUID.
        host: Where.
        done: Ids of the actions after which it has let go; empty: it does not.
    """

    machine: str
    uid: str
    host: str
    done: tuple[str, ...] = ()


@dataclass(slots=True)
class _Taking:
    """What a machine has to wait for and to claim."""

    after: list[str] = field(default_factory=list)
    claims: list[Action] = field(default_factory=list)


class _Handover:
    def __init__(
        self,
        survey: Survey,
        resources: Sequence[Outcome],
        machines: Sequence[Outcome],
        later: Mapping[str, frozenset[str]],
    ) -> None:
        self.survey = survey
        self.later = later
        self.waits: dict[str, dict[str, str]] = defaultdict(dict)
        self.situation = survey.situation
        self.machines = machines
        self.refused = {one.blocked.vm: one.blocked for one in resources if one.blocked is not None}
        self.made = {
            action.vm: [*_ids_of(one, action.vm)]
            for one in resources
            for action in one.actions
            if not is_machine(action.vm)
        }
        self.planned = {action.id: action.vm for one in machines for action in one.actions}
        self.has: dict[str, list[tuple[str, ObservedDomain]]] = defaultdict(list)
        for uid, users in survey.index.volume_users.items():
            for user in users:
                self.has[user.uuid].append((uid, user))
        self.by_uid: dict[str, Outcome] = {}
        for outcome in machines:
            for action in outcome.actions:
                if action.vm and is_machine(action.vm):
                    self.by_uid[action.uid] = outcome

    def outcomes(self) -> list[Outcome]:
        """In the order given."""
        taken = [self._taken(outcome) for outcome in self.machines]
        # A machine that is blocked lets go of nothing: whoever waits for it is blocked in turn.
        while True:
            stuck = {o.blocked.vm for o in taken if o.blocked is not None}
            before = len(stuck)
            taken = [self._stranded(outcome, stuck) for outcome in taken]
            if len({o.blocked.vm for o in taken if o.blocked is not None}) == before:
                break
        return [self._released(outcome) for outcome in taken]

    def circle(self) -> tuple[str, frozenset[str]] | None:
        """A machine in a circle of those that wait for each other, and the volumes that it waits for."""
        for start in sorted(self.waits):
            seen, ahead = set[str](), [start]
            while ahead:
                for other in self.waits.get(ahead.pop(), {}).values():
                    if other == start:
                        return start, frozenset(self.waits[start])
                    if other not in seen:
                        seen.add(other)
                        ahead.append(other)
        return None

    def _stranded(self, outcome: Outcome, stuck: set[str]) -> Outcome:
        if outcome.change is None or not is_machine(outcome.change.vm):
            return outcome
        planned = self.planned
        mine = outcome.change.vm
        for action in outcome.actions:
            for before in action.after:
                vm = planned.get(before, mine)
                if vm != mine and vm in stuck:
                    message = f"it waits for a volume that {vm} has, and {vm} is blocked"
                    return Outcome(blocked=Blocked(mine, "VolumeInUse", message, outcome.change.host))
        return outcome

    # -- who takes ----------------------------------------------------------------------------------

    def _taken(self, outcome: Outcome) -> Outcome:
        change = outcome.change
        if change is None or change.vm not in self.situation.desired.machines or not outcome.actions:
            return outcome
        vm = self.situation.desired.machines[change.vm]
        taking = _Taking()
        later = self.later.get(change.vm, frozenset())
        for volume in attached(self.situation.desired, vm, self.situation.owner):
            if volume.volume.name in later:
                continue
            refusal = self._take(change.vm, change.uid, change.host, volume, taking)
            if refusal is not None:
                return Outcome(blocked=refusal)
        if not taking.after and not taking.claims:
            return outcome
        claims = [
            replace(claim, after=tuple(dict.fromkeys((*claim.after, *taking.after))))
            for claim in taking.claims
        ]
        before = (*taking.after, *(claim.id for claim in claims))
        actions = tuple(_behind(action, before) for action in outcome.actions)
        return replace(outcome, actions=(*claims, *actions))

    def _take(self, vm: str, uid: str, host: str, volume: Attached, taking: _Taking) -> Blocked | None:
        key, name = f"Volume/{volume.volume.name}", volume.volume.name
        homes = self.survey.index.homes.get(volume.uid, ())
        here = next((home for home in homes if home.host == host), None) or self._seen_by_others(
            homes, host, volume
        )
        if here is None and homes:
            return Blocked(vm, "VolumeElsewhere", f"its volume {name}: {elsewhere(homes[0], host)}", host)
        if (here is None or self._half_made(homes, volume.uid)) and key not in self.made:
            refusal = self.refused.get(key)
            reason, told = (
                (refusal.reason, refusal.message) if refusal else ("VolumeMissing", "it is not there")
            )
            return Blocked(vm, reason, f"its volume {name}: {told}", host)
        if not volume.volume.spec.shared:
            for user in self.survey.index.volume_users.get(volume.uid, ()):
                if user.uuid == uid and user.host == host:
                    continue
                release = self._release(user, volume.uid)
                if not release.done:
                    return Blocked(vm, "VolumeInUse", f"its volume {name} {self._held_by(user)}", host)
                taking.after += release.done
                if release.machine != vm:
                    self.waits[vm][name] = release.machine
                if self._shared_pool(here) is not None:
                    taking.after.append(_release_id(release.machine, name))
        return self._claim(vm, uid, host, volume, here, taking)

    def _half_made(self, homes: Sequence[Home], uid: str) -> bool:
        """True of one that is to be made anew: what a machine wrote to it by then would be lost."""
        marker = copying_name(uid)
        return all(marker in self.situation.fleet[one.host].pools[one.pool].volumes for one in homes)

    def _seen_by_others(self, homes: Sequence[Home], host: str, volume: Attached) -> Home | None:
        """The same place on this host: in a pool that is shared, a host may not have looked for long."""
        if not homes or self._shared_pool(homes[0]) is None:
            return None
        name = volume.volume.spec.pool or self.situation.hosts[host].pool
        pool = self.situation.fleet[host].pools.get(name)
        if name != homes[0].pool or pool is None or not pool.active:
            return None
        return replace(homes[0], host=host)

    def _held_by(self, user: ObservedDomain) -> str:
        mark = mark_of(user)
        if mark is None:
            return f"is used by the domain {user.name!r} on {user.host}, which is not ours: take it out there"
        return (
            f"is still in {mark.name} on {user.host}, which does not let go of it now: take it out of that "
            "machine's manifest, or see `reconciler plan` for what keeps it"
        )

    def _shared_pool(self, home: Home | None) -> Pool | None:
        if home is None:
            return None
        pool = self.situation.fleet[home.host].pools[home.pool]
        return pool if is_shared(self.situation.desired, pool) else None

    def _claim(
        self, vm: str, uid: str, host: str, volume: Attached, here: Home | None, taking: _Taking
    ) -> Blocked | None:
        """Claim a volume in a shared pool, unless it is claimed already."""
        pool = self._shared_pool(here)
        before: list[str] = []
        if here is None:
            pool, before = self._pending_pool(volume, host)
        if pool is None or volume.volume.spec.shared:
            return None
        claimants = claims_of(pool, volume.uid)
        if claimants == [uid]:
            return None
        others = [one for one in claimants if one != uid]
        letting_go = {
            r.uid
            for user in self.survey.index.volume_users.get(volume.uid, ())
            if (r := self._release(user, volume.uid)).done
        }
        for other in others:
            if other not in letting_go and not provably_gone(self.survey, other, volume.uid):
                message = (
                    f"its volume {volume.volume.name} is claimed by the machine {other}, which may run where "
                    "we cannot see it: release it there, or if its host is off for good: "
                    "`reconciler hosts declare-dead HOST`"
                )
                return Blocked(vm, "VolumeClaimed", message, host)
        stale = tuple(one for one in others if one not in letting_go)
        claim = ClaimVolume(pool.name, volume.uid, stale)
        taking.claims.append(
            Action(
                f"{vm}/{claim.kind}/{volume.disk}",
                host,
                vm,
                uid,
                claim,
                Impact.NONE,
                f"{volume.volume.name} lies in a pool that several hosts see",
                tuple(before),
            )
        )
        return None

    def _pending_pool(self, volume: Attached, host: str) -> tuple[Pool | None, list[str]]:
        """The pool of a volume that this plan makes, if hosts share it, and the actions that make it."""
        name = volume.volume.spec.pool or self.situation.hosts[host].pool
        pool = self.situation.fleet[host].pools.get(name)
        if pool is None or not is_shared(self.situation.desired, pool):
            return None, []
        return pool, self.made.get(f"Volume/{volume.volume.name}", [])

    # -- who lets go --------------------------------------------------------------------------------

    def _release(self, user: ObservedDomain, volume: str) -> _Release:
        """How a domain lets go of a volume in this plan."""
        mark = mark_of(user)
        release = _Release(mark.name if mark else user.name, user.uuid, user.host)
        outcome = self.by_uid.get(user.uuid)
        if mark is None or outcome is None:
            return release
        actions = [a for a in outcome.actions if a.host == user.host and a.uid == user.uuid]
        undefined = [a.id for a in actions if isinstance(a.operation, Undefine)]
        if undefined:
            release.done = tuple(undefined)
            return release
        kept = _persistent_release(actions, volume) if has_volume(user.config, volume) else []
        live = _live_release(actions, user, volume) if has_volume(user.live, volume) else []
        if kept is not None and live is not None:
            release.done = tuple(dict.fromkeys([*kept, *live]))
        return release

    def _released(self, outcome: Outcome) -> Outcome:
        """With claims taken back once a machine has let go."""
        if outcome.change is None or not outcome.actions:
            return outcome
        acting = {action.uid for action in outcome.actions}
        found = [pair for uid in sorted(acting & self.has.keys()) for pair in self.has[uid]]
        released = (self._release_action(user, uid) for uid, user in found)
        more = [action for action in released if action is not None]
        return replace(outcome, actions=(*outcome.actions, *more)) if more else outcome

    def _release_action(self, user: ObservedDomain, uid: str) -> Action | None:
        home = next((h for h in self.survey.index.homes.get(uid, ()) if h.host == user.host), None)
        pool = self._shared_pool(home)
        release = self._release(user, uid)
        if home is None or pool is None or not release.done:
            return None
        operation = ReleaseVolume(pool.name, uid, (user.uuid,))
        return Action(
            _release_id(release.machine, home.volume),
            user.host,
            release.machine,
            user.uuid,
            operation,
            Impact.NONE,
            f"it has {home.volume} no longer",
            release.done,
        )


def _ids_of(outcome: Outcome, vm: str) -> Iterable[str]:
    return (action.id for action in outcome.actions if action.vm == vm)


def _release_id(machine: str, volume: str) -> str:
    return f"{machine}/release-volume/{volume}"


def _persistent_release(actions: Iterable[Action], volume: str) -> list[str] | None:
    """Ids of what takes a volume out of the next start; None if nothing does."""
    for action in actions:
        operation = action.operation
        if isinstance(operation, (Redefine, Define)) and not has_volume(operation.config, volume):
            return [action.id]
    return None


def _live_release(actions: Sequence[Action], user: ObservedDomain, volume: str) -> list[str] | None:
    """Ids of what takes a volume out of the running instance; None if nothing does."""
    disks = (user.live.disks if user.live else None) or ()
    targets = {disk.target for disk in disks if uid_in_path(disk.path) == volume}
    found: dict[str, list[str]] = defaultdict(list)
    for action in actions:
        if isinstance(action.operation, DetachDisk) and action.operation.target in targets:
            found["detach"].append(action.id)
        elif isinstance(action.operation, (Stop, Start)):
            found["stop"].append(action.id)
    if len(found["detach"]) == len(targets):
        return found["detach"]
    return found["stop"] or None


def _behind(action: Action, before: Sequence[str]) -> Action:
    """An action that opens disks waits for them."""
    if not isinstance(action.operation, (Define, Redefine, AttachDisk, Start)):
        return action
    more = tuple(name for name in before if name not in action.after)
    return replace(action, after=(*action.after, *more)) if more else action
