"""All domains of the fleet, found by machine name: whose they are is read from the mark alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Fleet, ObservedHost
from reconciler.model.placement import parse_volume_name
from reconciler.planner.diff import mark_of
from reconciler.planner.situation import HostIndex, Memo
from reconciler.planner.volumes import Home

Kept = Mapping[str, Sequence[str]]
"""Uid to the hosts that have volumes of it."""


@dataclass(frozen=True)
class FleetIndex:
    """Who is where.

    Attributes:
        hosts: One index for each host that answers.
        ours: Machine name to its domain; those with twins are not in it.
        twins: Machine name to the domains that all claim to be it, or whose uid another one has too.
    """

    hosts: tuple[HostIndex, ...]
    ours: Mapping[str, ObservedDomain]
    twins: Mapping[str, tuple[ObservedDomain, ...]]

    @cached_property
    def by_domain_name(self) -> Mapping[str, tuple[ObservedDomain, ...]]:
        """Every domain, ours or not, by the name that libvirt knows it by."""
        return _grouped((domain.name, domain) for domain in self._all())

    @cached_property
    def by_uuid(self) -> Mapping[str, ObservedDomain]:
        """Domains that are not ours, by UUID."""
        return {domain.uuid: domain for host in self.hosts for domain in host.strangers}

    @cached_property
    def strangers_disks(self) -> Mapping[str, ObservedDomain]:
        """Domains that are not ours but use a disk that we made, by the uid in its name."""
        return {
            parsed[1]: domain
            for host in self.hosts
            for domain in host.strangers
            for config in (domain.config, domain.live)
            if config is not None
            for disk in config.disks or ()
            if (parsed := parse_volume_name(disk.path.rpartition("/")[2])) is not None
        }

    @cached_property
    def homes(self) -> Mapping[str, tuple[Home, ...]]:
        """Where volumes with a life of their own lie, by uid; one in a shared pool has several hosts."""
        homes: dict[str, list[Home]] = defaultdict(list)
        for host in sorted(self.hosts, key=lambda host: host.observed.name):
            for home in host.homes:
                homes[home.uid].append(home)
        return {uid: tuple(found) for uid, found in homes.items()}

    @cached_property
    def volume_users(self) -> Mapping[str, tuple[ObservedDomain, ...]]:
        """Domains, ours or not, running or not, that have such a volume, by its uid."""
        users: dict[str, list[ObservedDomain]] = defaultdict(list)
        for host in self.hosts:
            for uid, domain in host.volume_users:
                users[uid].append(domain)
        return {uid: tuple(found) for uid, found in users.items()}

    @cached_property
    def kept(self) -> Mapping[str, Kept]:
        """Machine name to the uids in the names of its volumes, each with the hosts where they lie."""
        kept: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for host in sorted(self.hosts, key=lambda host: host.observed.name):
            for vm, uid in host.volumes:
                kept[vm].setdefault(uid, []).append(host.observed.name)
        return kept

    def _all(self) -> Iterable[ObservedDomain]:
        for host in self.hosts:
            yield from host.observed.domains.values()


def index_fleet(fleet: Fleet, memo: Memo) -> FleetIndex:
    """Index every host that answers; those that did not change since the last tick cost nothing."""
    hosts = tuple(_index_host(observed, memo) for observed in fleet.values() if observed.known)
    ours: dict[str, ObservedDomain] = {}
    uids: set[str] = set()
    count = 0
    for host in hosts:
        ours.update(host.ours)
        uids |= host.uids
        count += len(host.ours)
    twins: Mapping[str, tuple[ObservedDomain, ...]] = {}
    # Only if two hosts overlap (or one has twins itself) is it worth looking for the culprits.
    if len(ours) != count or len(uids) != count or any(host.twins for host in hosts):
        twins = _find_twins(hosts)
        ours = {name: domain for name, domain in ours.items() if name not in twins}
    return FleetIndex(hosts, ours, twins)


def _index_host(observed: ObservedHost, memo: Memo) -> HostIndex:
    last = memo.indexes.get(observed.name)
    if last is not None and last.observed is observed:
        return last
    claims: dict[str, list[ObservedDomain]] = defaultdict(list)
    strangers = []
    for domain in observed.domains.values():
        mark = mark_of(domain)
        if mark is None:
            strangers.append(domain)
        else:
            claims[mark.name].append(domain)
    index = HostIndex(
        observed=observed,
        ours={name: domains[0] for name, domains in claims.items()},
        uids=frozenset(domains[0].uuid for domains in claims.values()),
        twins={name: tuple(domains) for name, domains in claims.items() if len(domains) > 1},
        strangers=tuple(strangers),
    )
    memo.indexes[observed.name] = index
    return index


def _find_twins(hosts: Iterable[HostIndex]) -> dict[str, tuple[ObservedDomain, ...]]:
    claims: list[tuple[str, ObservedDomain]] = []
    for host in hosts:
        for name, domain in host.ours.items():
            claims += [(name, twin) for twin in host.twins.get(name, (domain,))]
    by_name = _grouped(claims)
    by_uid: dict[str, list[tuple[str, ObservedDomain]]] = defaultdict(list)
    for name, domain in claims:
        by_uid[domain.uuid].append((name, domain))
    twins = {name: domains for name, domains in by_name.items() if len(domains) > 1}
    for same in by_uid.values():
        if len(same) > 1:
            for name, _ in same:
                twins.setdefault(name, tuple(domain for _, domain in same))
    return twins


def _grouped(pairs: Iterable[tuple[str, ObservedDomain]]) -> dict[str, tuple[ObservedDomain, ...]]:
    groups: dict[str, list[ObservedDomain]] = defaultdict(list)
    for name, domain in pairs:
        groups[name].append(domain)
    return {name: tuple(domains) for name, domains in groups.items()}
