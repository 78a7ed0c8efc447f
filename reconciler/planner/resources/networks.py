"""Networks of hosts: made where they are missing, kept as the manifest says, let go when nothing uses them.

A running network takes ranges, DNS records and reservations at once. Anything else needs its restart, which
would cut off the machines on it: it waits until there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.model.host import Host, ObservedHost, ObservedNetwork
from reconciler.model.network import Network
from reconciler.model.network_config import NetworkConfig, Reservation
from reconciler.model.operations import (
    DefineNetwork,
    ReleaseAddress,
    ReserveAddress,
    RestartNetwork,
    SetNetworkAutostart,
    StartNetwork,
    UpdateNetwork,
)
from reconciler.model.placement import on_host
from reconciler.model.plan import Blocked, Change, FieldChange, Impact, Verb
from reconciler.planner.networks import KIND, is_ours, network_config, network_uuid, obstacle, reserves
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.pending import meant_for
from reconciler.planner.resources.reservations import Expected, expected_on
from reconciler.planner.resources.unneeded import plan_surplus
from reconciler.planner.situation import Situation
from reconciler.planner.steps import Steps
from reconciler.planner.survey import Survey
from reconciler.planner.words import named

_NEEDS_RESTART = ("mode", "bridge", "domain", "address", "prefix", "mtu", "vlan")
_AT_ONCE = ("dhcp", "dns")


def plan_networks(survey: Survey) -> Iterable[Outcome]:
    """One outcome for each network of a host that answers and that is not as it shall be."""
    situation = survey.situation
    expected = expected_on(survey)
    for name in sorted(situation.hosts):
        if not situation.known(name) or name in survey.same:
            continue
        host, observed = situation.hosts[name], survey.observed[name]
        for network, manifest in sorted(situation.desired.networks.items()):
            if meant_for(manifest.spec.hosts, host):
                here = expected.get((name, network), Expected())
                outcome = _one(situation, manifest, host, observed, here)
                if outcome is not UNCHANGED:
                    yield outcome
        yield from plan_surplus(survey, host, observed)


def _one(
    situation: Situation, manifest: Network, host: Host, observed: ObservedHost, expected: Expected
) -> Outcome:
    key = on_host(KIND, manifest.name, host.name)
    if key in situation.held:
        return Outcome(blocked=situation.held[key])
    present = observed.network_configs.get(manifest.name)
    if present is not None and not is_ours(present, situation.owner, host.name):
        idle = "" if present.active else "; it is not active"
        return Outcome(notes=(f"{key} was not made by us: it is used as it is{idle}",))
    found = obstacle(manifest, observed)
    if found is not None:
        return Outcome(blocked=Blocked(key, *found, host.name))
    uuid = network_uuid(situation.owner, manifest.name, host.name)
    case = _Case(key, host.name, uuid, manifest, network_config(manifest), expected)
    return case.new() if present is None else case.compare(present, observed)


@dataclass(slots=True)
class _Case:
    """One network on one host.

    Attributes:
        key: ``Network/lan@h1``.
        host: Where.
        uuid: Of ours.
        manifest: What is wanted.
        config: What that means here, without machines.
        expected: What machines want reserved in it.
        fields: Differences that are removed now.
        deferred: Those that wait.
    """

    key: str
    host: str
    uuid: str
    manifest: Network
    config: NetworkConfig
    expected: Expected
    fields: list[FieldChange] = field(default_factory=list)
    deferred: list[FieldChange] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.manifest.name

    def _hosts(self) -> dict[str, Reservation]:
        """Every reservation that shall be there, by MAC."""
        if not reserves(self.manifest.spec):
            return {}
        return {
            **{mac: entry for mac, (entry, _) in self.expected.wanted.items()},
            **{entry.mac: entry for entry in self.config.hosts},
        }

    def _define(self) -> DefineNetwork:
        full = replace(self.config, hosts=tuple(sorted(self._hosts().values())))
        return DefineNetwork(self.name, self.uuid, full, self.config)

    def new(self) -> Outcome:
        """Make it."""
        steps = Steps(self.key, self.uuid, self.host)
        defined = steps.add(self._define(), "it is new")
        if self.manifest.spec.autostart:
            autostart = SetNetworkAutostart(self.name, self.uuid, True)
            steps.add(autostart, "it starts with its host", after=[defined])
        steps.add(StartNetwork(self.name, self.uuid), "it is new", after=[defined])
        config = self.config
        shown = [
            FieldChange(name, None, _shown(name, value), Impact.NONE)
            for name in (*_NEEDS_RESTART, *_AT_ONCE)
            if (value := getattr(config, name))
        ]
        change = Change(
            self.key, self.uuid, self.host, Verb.CREATE, Impact.NONE, "it is new", fields=tuple(shown)
        )
        return Outcome(change, tuple(steps.actions))

    def compare(self, present: ObservedNetwork, observed: ObservedHost) -> Outcome:
        """Bring it to what it shall be, as far as its machines don't suffer from it."""
        steps = Steps(self.key, self.uuid, self.host)
        restart = self._differences(present, observed)
        defined = self._redefine(steps, present)
        self._reservations(steps, present, defined)
        if any(
            change.path in _AT_ONCE and _differs_live(change.path, self.config, present)
            for change in self.fields
        ):
            update = UpdateNetwork(self.name, self.uuid, self.config)
            steps.add(update, "ranges or names differ", after=defined)
        if restart:
            steps.add(RestartNetwork(self.name, self.uuid), "no machine uses it now", after=defined)
        self._state(steps, present, defined)
        if not steps.actions and not self.deferred:
            return UNCHANGED
        change = Change(
            vm=self.key,
            uid=self.uuid,
            host=self.host,
            verb=Verb.UPDATE if steps.actions else Verb.NONE,
            impact=Impact.NONE,
            reason=self._why(),
            fields=tuple(self.fields),
            deferred=tuple(self.deferred),
        )
        return Outcome(change, tuple(steps.actions))

    def _differences(self, present: ObservedNetwork, observed: ObservedHost) -> bool:
        """Gather the fields that differ; True if the network can and has to be restarted for them."""
        used = _users(observed, self.name)
        restart = False
        if not present.persistent:
            self.fields.append(FieldChange("persistent", False, True, Impact.NONE, drift=True))
        for path in (*_NEEDS_RESTART, *_AT_ONCE):
            change = self._field(path, present)
            if change is None:
                continue
            hot = _differs_live(path, self.config, present) and path in _NEEDS_RESTART
            if hot and used:
                self.deferred.append(replace(change, impact=Impact.RESTART))
            else:
                self.fields.append(change)
                restart = restart or hot
        return restart

    def _field(self, path: str, present: ObservedNetwork) -> FieldChange | None:
        wanted = getattr(self.config, path)
        kept, live = _value(present.config, path, wanted), _value(present.live, path, wanted)
        # Without a word in the manifest the bridge is whatever libvirt chose.
        if wanted == kept == live or (path == "bridge" and wanted is None):
            return None
        drift = present.applied is not None and getattr(present.applied, path) == wanted
        before = _shown(path, live if live != wanted else kept)
        return FieldChange(path, before, _shown(path, wanted), Impact.NONE, drift=drift)

    def _redefine(self, steps: Steps, present: ObservedNetwork) -> list[str]:
        """Write the persistent configuration where it differs; also what waits for a restart."""
        differs = any(
            _value(present.config, change.path, wanted) != wanted
            for change in (*self.fields, *self.deferred)
            if change.path != "persistent"
            for wanted in [getattr(self.config, change.path)]
        )
        missing = not self._same_subnet(present) and not set(self._hosts().values()) <= set(
            present.config.hosts if present.config else ()
        )
        if present.persistent and not differs and not missing and present.applied == self.config:
            return []
        return [steps.add(self._define(), "its definition differs")]

    def _same_subnet(self, present: ObservedNetwork) -> bool:
        """False while it still runs with another subnet, in which nothing can be reserved."""
        live, config = present.live, self.config
        return live is None or (live.address, live.prefix) == (config.address, config.prefix)

    def _reservations(self, steps: Steps, present: ObservedNetwork, after: Iterable[str]) -> None:
        if not reserves(self.manifest.spec) or not self._same_subnet(present):
            return
        wanted = self._hosts()
        sides = [_hosts(side) for side in (present.config, present.live) if side is not None]
        released = [self._release(steps, mac, sides, after) for mac in _surplus(sides, wanted, self.expected)]
        # Two that trade addresses would wait for each other: who holds what another gets lets go first.
        for mac, entry in _in_the_way(sides, wanted):
            release = ReleaseAddress(self.name, self.uuid, mac, entry.address)
            released.append(steps.add(release, f"{entry.address} goes to another", after=after, detail=mac))
        ready = [*after, *released]
        changed: dict[str, str] = {}
        # libvirt takes a name once: an entry that loses it goes before the one that gets it.
        for mac, entry in sorted(wanted.items(), key=lambda item: (bool(item[1].name), item[0])):
            if all(side.get(mac) == entry for side in sides):
                continue
            before_it = [changed[other] for other in _named(sides, entry.name) if other in changed]
            before = next((side[mac].address for side in sides if mac in side), None)
            drift = self.expected.wanted.get(mac, (entry, True))[1]
            self.fields.append(FieldChange(f"reservations[{mac}]", before, entry.address, Impact.NONE, drift))
            reserve = ReserveAddress(self.name, self.uuid, entry)
            reason = f"{entry.address} is kept for {entry.name or mac}"
            changed[mac] = steps.add(reserve, reason, after=[*ready, *before_it], detail=mac)

    def _release(
        self, steps: Steps, mac: str, sides: Iterable[Mapping[str, Reservation]], after: Iterable[str]
    ) -> str:
        entry = next(side[mac] for side in sides if mac in side)
        # What no machine's mark speaks of, somebody put there.
        drift = mac not in self.expected.marked
        self.fields.append(FieldChange(f"reservations[{mac}]", entry.address, None, Impact.NONE, drift))
        release = ReleaseAddress(self.name, self.uuid, mac, entry.address)
        return steps.add(release, f"{entry.address} is free again", after=after, detail=mac)

    def _state(self, steps: Steps, present: ObservedNetwork, after: Iterable[str]) -> None:
        if present.autostart != self.manifest.spec.autostart:
            wanted = self.manifest.spec.autostart
            # The mark does not carry it; if nothing else moved in the manifest, it was the host.
            drift = present.applied == self.config
            self.fields.append(FieldChange("autostart", present.autostart, wanted, Impact.NONE, drift))
            setting = SetNetworkAutostart(self.name, self.uuid, wanted)
            steps.add(setting, "autostart differs", after=after)
        if not present.active:
            self.fields.append(FieldChange("active", False, True, Impact.NONE, drift=True))
            steps.add(StartNetwork(self.name, self.uuid), "it was stopped", after=after)

    def _why(self) -> str:
        """One sentence for people."""
        drifted = [change for change in self.fields if change.drift]
        moved = [change for change in self.fields if not change.drift]
        parts = []
        if moved:
            parts.append(f"the manifest changed: {named(moved)}")
        if drifted:
            parts.append(f"the host drifted: {named(drifted)}")
        if self.deferred:
            parts.append(f"waiting until no machine uses it: {named(self.deferred)}")
        return "; ".join(parts) or "its mark is renewed"


def _shown(path: str, value: Any) -> Any:
    """A value as people write it."""
    if path == "dhcp":
        return ", ".join(f"{first} to {last}" for first, last in value) or None
    if path == "dns":
        return ", ".join(f"{name} {address}" for address, name in value) or None
    return value


def _value(config: NetworkConfig | None, path: str, wanted: Any) -> Any:
    """What one side says; a side that is not there differs in nothing."""
    return wanted if config is None else getattr(config, path)


def _differs_live(path: str, config: NetworkConfig, present: ObservedNetwork) -> bool:
    wanted = getattr(config, path)
    return bool(_value(present.live, path, wanted) != wanted)


def _hosts(config: NetworkConfig) -> dict[str, Reservation]:
    return {entry.mac: entry for entry in config.hosts}


def _surplus(
    sides: Iterable[Mapping[str, Reservation]], wanted: Mapping[str, Reservation], expected: Expected
) -> list[str]:
    """MACs of reservations that nobody wants, but for those of machines that are being made."""
    present = {mac for side in sides for mac in side}
    return sorted(present - wanted.keys() - expected.coming)


def _in_the_way(
    sides: Sequence[Mapping[str, Reservation]], wanted: Mapping[str, Reservation]
) -> Iterator[tuple[str, Reservation]]:
    """MACs that get another address, with the entry whose address, or name, is another MAC's to be."""
    addresses = {entry.address: mac for mac, entry in wanted.items()}
    names = {entry.name: mac for mac, entry in wanted.items() if entry.name}
    for mac in sorted(wanted):
        for entry in {side[mac] for side in sides if mac in side}:
            traded = wanted[mac].name and names.get(entry.name, mac) != mac
            if addresses.get(entry.address, mac) != mac or traded:
                yield mac, entry
                break


def _named(sides: Iterable[Mapping[str, Reservation]], name: str) -> set[str]:
    """MACs that have a name now."""
    return {mac for side in sides for mac, entry in side.items() if name and entry.name == name}


def _users(observed: ObservedHost, network: str) -> list[str]:
    """Names of domains that run on a network."""
    return sorted(
        domain.name
        for domain in observed.domains.values()
        if domain.live is not None
        and any(interface.network == network for interface in domain.live.interfaces or ())
    )
