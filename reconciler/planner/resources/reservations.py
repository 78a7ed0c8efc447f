"""Which addresses each network of each host has to reserve for machines that are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.model.domain import InterfaceConfig, ObservedDomain
from reconciler.model.network_config import Reservation
from reconciler.planner.diff import mark_of
from reconciler.planner.ignore import ignored
from reconciler.planner.networks import reservations
from reconciler.planner.resolve import interface_configs
from reconciler.planner.survey import Survey


@dataclass(slots=True)
class Expected:
    """What one network on one host reserves for machines.

    Attributes:
        wanted: By MAC, and whether that was so before: if it is missing then, the host drifted.
        coming: MACs of machines that are being made, whose own actions see to it.
        marked: MACs of interfaces that a machine's mark speaks of.
    """

    wanted: dict[str, tuple[Reservation, bool]] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)


def expected_on(survey: Survey) -> Mapping[tuple[str, str], Expected]:
    """By host and network; those that nobody has an address on are left out."""
    desired = survey.situation.desired
    found: dict[tuple[str, str], Expected] = defaultdict(Expected)
    if not desired.networks:
        return found
    for name, domain in _domains(survey):
        before = _marked(domain)
        now = _wanted(survey, name, domain, before)
        if not any(interface.address for interface in (*before, *now)):
            continue
        applied = set(reservations(name, before, desired.networks))
        for network, entry in applied:
            found[domain.host, network].marked.add(entry.mac)
        for network, entry in reservations(name, now, desired.networks):
            place = found[domain.host, network]
            place.wanted[entry.mac] = (entry, (network, entry) in applied)
    for name in survey.newcomers.keys() & survey.addresses.keys():
        for interface in interface_configs(desired.machines[name], None, survey.addresses[name]):
            for host in survey.situation.hosts:
                if interface.network is not None and interface.address is not None:
                    found[host, interface.network].coming.add(interface.mac)
    return found


def _domains(survey: Survey) -> Iterable[tuple[str, ObservedDomain]]:
    yield from survey.index.ours.items()
    for name, twins in survey.index.twins.items():
        yield from ((name, domain) for domain in twins)


def _marked(domain: ObservedDomain) -> tuple[InterfaceConfig, ...]:
    mark = mark_of(domain)
    return (mark.config.interfaces if mark else None) or ()


def _wanted(
    survey: Survey, name: str, domain: ObservedDomain, before: tuple[InterfaceConfig, ...]
) -> tuple[InterfaceConfig, ...]:
    """The interfaces that a machine shall have; one that is left alone or goes keeps what it has."""
    given, mark = survey.addresses.get(name), mark_of(domain)
    if name not in survey.located or mark is None:
        return before
    if given is None and not any(interface.address for interface in before):
        return ()
    vm = survey.situation.desired.machines[name]
    if "interfaces" in ignored(vm.spec.ignore):
        return before
    return interface_configs(vm, mark.config, given or {})
