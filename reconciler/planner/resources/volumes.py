"""Volumes with a life of their own: made where they are needed, grown, and removed only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Pool
from reconciler.model.operations import CreateVolume, DiscardVolume, ResizeVolume
from reconciler.model.placement import Decision, Phase, copying_name, own_volume_name
from reconciler.model.plan import Blocked, Change, FieldChange, Impact, Verb
from reconciler.model.storage import DeletionPolicy, DiskFormat, Volume
from reconciler.model.units import format_size
from reconciler.planner.blueprint import digest_unknown
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.resources.claims import mend_claims
from reconciler.planner.situation import Situation
from reconciler.planner.steps import Steps, ensure_image
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import Home, is_shared, machines_of, raw_only, volume_uid


def plan_volumes(survey: Survey, decisions: Mapping[str, Decision]) -> Iterator[Outcome]:
    """One outcome for each volume that is not as it shall be, or that nobody declares and is to go.

    Args:
        survey: The situation, sorted.
        decisions: Where new machines go.
    """
    for name in sorted(survey.situation.desired.volumes):
        volume = survey.situation.desired.volumes[name]
        outcome = _Volume(survey, decisions, volume).outcome()
        if outcome is not UNCHANGED:
            yield outcome
    yield from _surplus(survey)


class _WaitError(Exception):
    """A volume cannot be planned now; becomes a `Blocked`."""

    def __init__(self, reason: str, message: str, host: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.host = host


@dataclass(frozen=True, slots=True)
class _Place:
    """A pool of a host that answers."""

    host: str
    pool: Pool


class _Volume:
    """One desired volume."""

    def __init__(self, survey: Survey, decisions: Mapping[str, Decision], volume: Volume) -> None:
        self.survey = survey
        self.situation: Situation = survey.situation
        self.decisions = decisions
        self.volume = volume
        self.spec = volume.spec
        self.key = f"Volume/{volume.name}"
        self.uid = volume_uid(self.situation.owner, volume.name)
        self.file = own_volume_name(volume.name, self.uid, str(self.spec.format))

    def outcome(self) -> Outcome:
        """What happens to it, or why nothing can."""
        if self.key in self.situation.held:
            return Outcome(blocked=self.situation.held[self.key])
        homes = self.survey.index.homes.get(self.uid, ())
        try:
            return self._existing(homes) if homes else self._new(self._place())
        except _WaitError as wait:
            return Outcome(blocked=Blocked(self.key, wait.reason, wait.message, wait.host))

    # -- one that is there --------------------------------------------------------------------------

    def _existing(self, homes: Sequence[Home]) -> Outcome:
        home = homes[0]
        pool = self._pool(home)
        if _apart(self.situation, homes):
            raise _WaitError(
                "DuplicateVolume",
                f"it lies in several places: {_places(homes)}. None is touched: find out which one is right "
                "and remove the others, or declare the pool with shared: true if they are one and the same",
                home.host,
            )
        if home.host in self.survey.same:
            raise _WaitError("SameHost", "its host is in the inventory several times", home.host)
        self._refuse_moves(homes, pool)
        # One host that shows it without is enough: the others looked before it was whole.
        if all(copying_name(self.uid) in self._pool(one).volumes for one in homes):
            return self._new(_Place(home.host, pool), reason="a copy of it was begun and not finished")
        outcome = self._sized(home, pool)
        if outcome is UNCHANGED and not self.spec.shared and is_shared(self.situation.desired, pool):
            return mend_claims(self.survey, self.key, homes)
        return outcome

    def _pool(self, home: Home) -> Pool:
        return self.situation.fleet[home.host].pools[home.pool]

    def _refuse_moves(self, homes: Sequence[Home], pool: Pool) -> None:
        home, spec = homes[0], self.spec
        if home.format != str(spec.format):
            raise _WaitError(
                "VolumeChanged",
                f"it is {home.format} on {home.host} and {spec.format} in the manifest: a volume keeps its "
                f"format. Set format: {home.format}, or copy it: a new Volume with source: {{volume: "
                f"{self.volume.name}}}",
                home.host,
            )
        if spec.pool not in (None, home.pool):
            raise _WaitError(
                "VolumeChanged",
                f"it lies in the pool {home.pool} of {home.host}, and the manifest says {spec.pool}: a "
                f"volume is not moved. Set pool: {home.pool}, or copy it: a new Volume with source: "
                f"{{volume: {self.volume.name}}}",
                home.host,
            )
        hosts = {one.host for one in homes}
        if spec.host is not None and spec.host not in hosts and not is_shared(self.situation.desired, pool):
            raise _WaitError("VolumeElsewhere", elsewhere(home, spec.host), home.host)

    def _sized(self, home: Home, pool: Pool) -> Outcome:
        """Grow a volume that no machine has; under a machine it grows with the machine's own plan."""
        seen = pool.sizes.get(home.file)
        wanted = self.spec.size
        if seen is None or _sectors(seen) == _sectors(wanted):
            return UNCHANGED
        users = self.survey.index.volume_users.get(self.uid, ())
        if _sectors(seen) > _sectors(wanted):
            if users:
                return UNCHANGED  # its machine's plan tells
            raise _WaitError(
                "ShrinkRefused",
                f"its size would go from {format_size(seen)} to {format_size(wanted)}; disks never shrink: "
                "undo it",
                home.host,
            )
        if users:
            return UNCHANGED
        self._require_all_known(pool, "it may be open there")
        steps = Steps(self.key, self.uid, home.host)
        steps.add(ResizeVolume(home.pool, home.file, wanted), "it is larger in the manifest")
        field = FieldChange("size", seen, wanted, Impact.NONE)
        change = Change(
            self.key,
            self.uid,
            home.host,
            Verb.UPDATE,
            Impact.NONE,
            "the manifest changed: size",
            fields=(field,),
        )
        return Outcome(change, tuple(steps.actions))

    def _require_all_known(self, pool: Pool, why: str) -> None:
        """On a shared pool, only hosts that answer can tell that nobody has a volume open."""
        silent = silent_sharers(self.situation, pool)
        if silent:
            raise _WaitError("HostUnknown", f"{self.situation.why_unknown(silent[0])}, and {why}", silent[0])

    # -- one that is not ----------------------------------------------------------------------------

    def _place(self) -> _Place:
        """Where it shall be made.

        Raises:
            _WaitError: It may be out of sight, was lost, or nobody needs it yet.
        """
        record = self.situation.volumes.get(self.volume.name)
        if record is not None and record.uid == self.uid:
            if not self.situation.known(record.host):
                raise _WaitError(
                    "HostUnknown",
                    f"{self.situation.why_unknown(record.host)}, and it lies there. It is made nowhere else "
                    f"until the host answers; {self.situation.remedy(record.host)}",
                    record.host,
                )
            if record.phase is not Phase.INTENDED:
                self._refuse_lost(record.host, record.pool)
            return self._on(record.host, record.pool)
        if record is None and self.situation.never_seen:
            host = min(self.situation.never_seen)
            raise _WaitError(
                "HostUnknown",
                f"nothing is known about it, and {self.situation.why_unknown(host)} and was never seen: it "
                f"may lie there; {self.situation.remedy(host)}",
                host,
            )
        return self._on(self._host())

    def _refuse_lost(self, host: str, name: str) -> None:
        pool = self.situation.fleet[host].pools.get(name)
        if pool is not None and pool.pending:
            raise _WaitError(
                "PoolInactive",
                f"it lies in the pool {name} of {host}, which has to be brought up first",
                host,
            )
        if pool is None or not pool.active:
            state = "is not active" if pool else "is gone"
            raise _WaitError(
                "PoolInactive", f"it lies in the pool {name} of {host}, which {state}: bring it back", host
            )
        raise _WaitError(
            "VolumeLost",
            f"it was in the pool {name} of {host} and is not there any more: bring {self.file} back, or "
            "remove its manifest, apply, and declare it again to begin with a blank one",
            host,
        )

    def _host(self) -> str:
        """The host of the manifest, of its machine, or any that has its shared pool."""
        if self.spec.host is not None:
            return self.spec.host
        machines = machines_of(self.situation.desired, self.volume.name)
        for machine in machines:
            host = self._host_of(machine)
            if host is not None:
                return host
        manifest = self.situation.desired.pools.get(self.spec.pool or "")
        if manifest is not None and manifest.spec.shared:
            for host in sorted(self.situation.hosts):
                if self.situation.known(host):
                    pool = self.situation.fleet[host].pools.get(manifest.name)
                    if pool is not None and pool.active:
                        return host
        self._refuse_unknown_pool()
        waits = f"its machine {machines[0]} is not placed" if machines else "no machine has it"
        raise _WaitError(
            "WaitForFirstMachine", f"{waits} yet: it is made where its first machine is, or name a host"
        )

    def _refuse_unknown_pool(self) -> None:
        """To wait for a machine is of no use if no host has its pool; a silent one may have it."""
        name, hosts = self.spec.pool, self.situation.hosts
        if name is None or not hosts or not all(self.situation.known(host) for host in hosts):
            return
        pools = {pool for host in hosts for pool in self.situation.fleet[host].pools}
        if name not in pools:
            near = difflib.get_close_matches(name, sorted(pools), 1)
            hint = f"did you mean {near[0]!r}?" if near else "declare it, or name another"
            raise _WaitError("PoolMissing", f"no host has a storage pool {name!r}: {hint}")

    def _host_of(self, machine: str) -> str | None:
        domain = self.survey.index.ours.get(machine)
        if domain is not None:
            return domain.host
        decision = self.decisions.get(machine)
        return decision.host if decision is not None and machine in self.survey.newcomers else None

    def _on(self, host: str, pool: str | None = None) -> _Place:
        if host not in self.situation.hosts:
            raise _WaitError("HostMissing", f"there is no host {host} in the inventory", host)
        if not self.situation.known(host) or host in self.survey.same:
            raise _WaitError("HostUnknown", self.situation.why_unknown(host), host)
        name = self.spec.pool or pool or self.situation.hosts[host].pool
        found = self.situation.fleet[host].pools.get(name)
        if found is None or not found.active:
            state = "is not active" if found else "does not exist"
            raise _WaitError("PoolMissing", f"the storage pool {name!r} {state} on {host}", host)
        if raw_only(found.type) and self.spec.format is not DiskFormat.RAW:
            raise _WaitError("FormatUnsupported", no_format(found, str(self.spec.format)), host)
        return _Place(host, found)

    def _new(self, place: _Place, reason: str = "it is new") -> Outcome:
        steps = Steps(self.key, self.uid, place.host)
        source, pool, before = self._source(steps, place)
        make = CreateVolume(
            pool=place.pool.name,
            volume=self.file,
            format=str(self.spec.format),
            size=self.spec.size,
            source=source,
            source_pool=pool,
        )
        steps.add(make, f"a copy of {source}" if source else reason, after=before)
        told = (("size", make.size), ("pool", make.pool), ("format", make.format))
        fields = tuple(FieldChange(path, None, value, Impact.NONE) for path, value in told)
        change = Change(self.key, self.uid, place.host, Verb.CREATE, Impact.NONE, reason, fields=fields)
        return Outcome(change, tuple(steps.actions))

    def _source(self, steps: Steps, place: _Place) -> tuple[str | None, str | None, list[str]]:
        """What it begins as: a volume's name and pool, and the actions that bring it there."""
        source = self.spec.source
        if source is None:
            return None, None, []
        if source.image is not None:
            return self._image(source.image, steps, place)
        other = self.situation.desired.volumes[source.volume or ""]
        uid = volume_uid(self.situation.owner, other.name)
        homes = self.survey.index.homes.get(uid, ())
        here = next((home for home in homes if home.host == place.host), None)
        if here is None:
            where = f"lies on {homes[0].host}" if homes else "is not there yet"
            raise _WaitError(
                "SourceMissing",
                f"its source {other.name} {where}; a volume is copied on the host where both are",
                place.host,
            )
        user = next((d for d in self.survey.index.volume_users.get(uid, ()) if d.state.active), None)
        if user is not None:
            raise _WaitError(
                "SourceInUse",
                f"its source {other.name} is open in {user.name!r} on {user.host}: a copy of a disk that is "
                "written to is worth nothing. Stop the machine or detach the volume; `reconciler snapshot` "
                "copies running ones",
                place.host,
            )
        return here.file, here.pool, []

    def _image(self, name: str, steps: Steps, place: _Place) -> tuple[str, str, list[str]]:
        image = self.situation.desired.images[name]
        if raw_only(place.pool.type):
            raise _WaitError("SourceUnsupported", no_image(place.pool), place.host)
        if not image.spec.digest:
            raise _WaitError("ChecksumUnknown", digest_unknown(image), place.host)
        bring = ensure_image(image, place.pool)
        default = place.pool.name == self.situation.hosts[place.host].pool
        brought = steps.share_image(bring, default_pool=default)
        return bring.volume, place.pool.name, [brought]


def _surplus(survey: Survey) -> Iterator[Outcome]:
    """Volumes of ours that nobody declares any more: they go if that was their policy, and else they stay."""
    situation = survey.situation
    for uid, homes in sorted(survey.index.homes.items()):
        home = homes[0]
        if home.volume in situation.desired.volumes or uid != volume_uid(situation.owner, home.volume):
            continue
        record = situation.volumes.get(home.volume)
        if record is None or record.uid != uid or record.policy != DeletionPolicy.DELETE:
            continue
        if home.host not in survey.same:
            yield _leaving(survey, homes, survey.index.volume_users.get(uid, ()))


def _leaving(survey: Survey, homes: Sequence[Home], users: Iterable[ObservedDomain]) -> Outcome:
    situation, home = survey.situation, homes[0]
    key = f"Volume/{home.volume}"
    if key in situation.held:
        return Outcome(blocked=situation.held[key])
    if _apart(situation, homes):
        message = (
            f"it is no longer declared, and lies in several places: {_places(homes)}. None is deleted: "
            "`reconciler discard` deletes the one that you name"
        )
        return Outcome(blocked=Blocked(key, "DuplicateVolume", message, home.host))
    user = next(iter(users), None)
    if user is not None:
        message = (
            f"it is no longer declared, but {user.name!r} on {user.host} has it: it stays until that lets go"
        )
        return Outcome(blocked=Blocked(key, "VolumeInUse", message, home.host))
    silent = silent_sharers(situation, situation.fleet[home.host].pools[home.pool])
    if silent:
        message = f"it is no longer declared, but {situation.why_unknown(silent[0])} and may use it: it stays"
        return Outcome(blocked=Blocked(key, "HostUnknown", message, silent[0]))
    steps = Steps(key, home.uid, home.host)
    reason = "it is no longer declared, and its deletion policy is Delete"
    steps.add(DiscardVolume(home.pool, home.file), reason, Impact.DESTROY)
    change = Change(key, home.uid, home.host, Verb.DELETE, Impact.DESTROY, reason)
    return Outcome(change, tuple(steps.actions))


def _apart(situation: Situation, homes: Sequence[Home]) -> bool:
    """True of bytes in several places, which are not one and the same seen by several hosts."""
    pools = (situation.fleet[one.host].pools[one.pool] for one in homes)
    return len(homes) > 1 and not all(is_shared(situation.desired, pool) for pool in pools)


def _places(homes: Sequence[Home]) -> str:
    return ", ".join(f"{one.host}/{one.pool}" for one in homes)


def silent_sharers(situation: Situation, pool: Pool) -> list[str]:
    """Hosts that do not answer and might see the same pool; none if it is a host's own."""
    if not is_shared(situation.desired, pool):
        return []
    return sorted(name for name in situation.hosts if not situation.known(name))


def elsewhere(home: Home, host: str) -> str:
    """What to do about a volume on another host than its machine."""
    return (
        f"it lies in the pool {home.pool} of {home.host}, which {host} does not see: move the machine to "
        f"{home.host} (placement.host: {home.host}), copy the volume's data by hand, or keep it in a pool "
        "that both share"
    )


def no_format(pool: Pool, fmt: str) -> str:
    """Why a volume of this format cannot lie there."""
    what = f"the pool {pool.name} is of type {pool.type}"
    return f"{what}, whose volumes have no format: write format: raw, not {fmt}"


def no_image(pool: Pool) -> str:
    """Why nothing can begin as an image there."""
    return (
        f"the pool {pool.name} is of type {pool.type}: an image cannot be brought there by libvirt. Use a "
        "pool of files for disks that begin as an image"
    )


def _sectors(size: int) -> int:
    return -(-size // 512)
