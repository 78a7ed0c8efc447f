"""Hosts that are one: the same libvirt under two names of the inventory.

Seen twice, every machine there looks like two, and its room counts double.  Nothing may be concluded from
that but that people must take one of the names away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from reconciler.model.host import Host, ObservedHost
from reconciler.model.plan import Blocked
from reconciler.planner.situation import Situation

REASON = "SameHost"

Twins = Mapping[str, tuple[str, ...]]
"""Host to all names of it, its own among them, in order; hosts of one name are not in it."""


def same_hosts(situation: Situation) -> Twins:
    """Hosts that are one: their libvirt tells one UUID, and all else agrees.

    A UUID alone proves nothing, cheap boards and containers share theirs.  A host without one, such as
    libvirt's test driver, is never anybody else's twin.
    """
    groups: dict[tuple[str, str], list[ObservedHost]] = defaultdict(list)
    for name, host in situation.hosts.items():
        observed = situation.fleet.get(name)
        if observed is not None and observed.known and observed.uuid:
            groups[observed.uuid, _instance(host)].append(observed)
    return {
        observed.name: names
        for candidates in groups.values()
        if len(candidates) > 1
        for observed in candidates
        if len(names := tuple(sorted(o.name for o in candidates if _alike(observed, o)))) > 1
    }


def _instance(host: Host) -> str:
    """``qemu/system`` of ``qemu+ssh://root@kvm1/system?keyfile=…``; containers are another libvirt."""
    uri = urlsplit(host.uri)
    return uri.scheme.partition("+")[0] + uri.path


def _alike(one: ObservedHost, other: ObservedHost) -> bool:
    """True if they share a domain; or, while one has none yet, all their network devices."""
    if one is other or one.domains.keys() & other.domains.keys():
        return True
    disjoint = bool(one.domains and other.domains)
    return not disjoint and bool(one.nics) and one.nics == other.nics


def told(names: Sequence[str]) -> str:
    """What they are and what to do, in words."""
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return (
        f"{listed} in the inventory are the same host: remove {'all but one' if names[2:] else 'one'} of them"
    )


def blocked(vm: str, host: str, twins: Twins) -> Blocked:
    """A machine on a host that is in the inventory twice."""
    return Blocked(vm, REASON, told(twins[host]), host=host)


def notes(situation: Situation, twins: Twins) -> Iterable[str]:
    """One for each host that has several names."""
    for names in sorted(set(twins.values())):
        uuid = situation.fleet[names[0]].uuid
        yield (f"{told(names)} (UUID {uuid}; if they are not, give each its own host_uuid in libvirtd.conf)")
