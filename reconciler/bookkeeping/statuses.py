"""How everything was seen, as JSON that any reader of the store can show without asking a host.

Rows are made per host and kept with what they were made of, so that an idle tick costs a few comparisons of
identity, and one changed domain the rows of its own host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.bookkeeping.things import things
from reconciler.model.domain import GuestAddress, ObservedDomain
from reconciler.model.host import Host, ObservedHost
from reconciler.model.placement import Phase, Record
from reconciler.planner import Survey
from reconciler.planner.capacity import size_of
from reconciler.planner.diff import mark_of
from reconciler.planner.situation import HostIndex
from reconciler.store.base import HostWord, Store

Addresses = Mapping[str, Sequence[GuestAddress]]
"""Of one host's domains, by UUID."""

Rows = Mapping[str, str]
"""JSON text by name."""

UNKNOWN = "unknown"
"""State of a machine whose host does not answer: the rest is what was seen last."""


@dataclass(frozen=True, slots=True)
class _Kept:
    made_of: tuple[object, ...]
    rows: Rows

    def fits(self, made_of: tuple[object, ...]) -> bool:
        return all(one is other for one, other in zip(self.made_of, made_of, strict=True))


class StatusBook:
    """Writes statuses down, and remembers what they were made of."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = (None, None, None)
        self._machines: dict[str, _Kept] = {}
        self._hosts: dict[str, _Kept] = {}

    def note(self, store: Store, survey: Survey, addresses: Mapping[str, Addresses]) -> None:
        """Bring the store to what was seen.

        Args:
            store: Where to.
            survey: Who is where.
            addresses: Of the domains of each host, by host; the same objects as long as nothing changed.
        """
        words = store.words()
        made_of = (survey, addresses, words)
        if all(one is other for one, other in zip(self._last, made_of, strict=True)):
            return
        known = store.statuses("VirtualMachine")
        machines = dict(self._unseen(survey, known))
        for index in survey.index.hosts:
            machines.update(self._on_host(survey, index, addresses.get(index.observed.name, {})))
        hosts: dict[str, str] = {}
        for name, host in survey.situation.hosts.items():
            observed = survey.observed.get(name)
            if observed is not None:
                hosts[name] = self._host(host, observed, words.get(name))
        for gone in self._hosts.keys() - hosts.keys():
            del self._hosts[gone]
            self._machines.pop(gone, None)
        with store.transaction():
            store.set_statuses("VirtualMachine", machines, complete=True)
            store.set_statuses("Host", hosts, complete=True)
            for kind, rows in things(survey).items():
                store.set_statuses(kind, rows, complete=True)
        self._last = made_of

    def _on_host(self, survey: Survey, index: HostIndex, addresses: Addresses) -> Rows:
        twins, made_of = survey.index.twins, (index, addresses)
        kept = self._machines.get(index.observed.name)
        if kept is None or not kept.fits(made_of):
            rows = {
                name: to_json(machine_status(domain, addresses.get(domain.uuid, ())))
                for name, domain in index.ours.items()
            }
            kept = self._machines[index.observed.name] = _Kept(made_of, rows)
        if twins:
            return {name: row for name, row in kept.rows.items() if name not in twins}
        return kept.rows

    def _unseen(self, survey: Survey, known: Rows) -> Iterator[tuple[str, str]]:
        """Machines whose host does not answer: what was seen of them last, with an unknown state."""
        situation = survey.situation
        for name, record in situation.records.items():
            if record.phase is not Phase.RETAINED and not situation.known(record.host):
                yield name, _stale(record, known.get(name))

    def _host(self, host: Host, observed: ObservedHost, word: HostWord | None) -> str:
        kept, made_of = self._hosts.get(host.name), (host, observed, word)
        if kept is None or not kept.fits(made_of):
            row = to_json(_host(host, observed) | ({"vouched": str(word)} if word else {}))
            kept = self._hosts[host.name] = _Kept(made_of, {host.name: row})
        return kept.rows[host.name]


def to_json(value: object) -> str:
    """Compact, with sorted keys, so that equal statuses are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def machine_status(domain: ObservedDomain, addresses: Sequence[GuestAddress]) -> dict[str, Any]:
    """How a machine's domain was seen; memory in bytes."""
    config, mark = domain.live or domain.config, mark_of(domain)
    return {
        "host": domain.host,
        "uid": domain.uuid,
        "state": str(domain.state),
        "stateReason": domain.state_reason,
        "generation": mark.generation if mark else 0,
        "applied": mark.spec_hash if mark else "",
        "image": mark.image if mark else "",
        "cpus": config.cpus,
        "memory": config.memory,
        "addresses": [_address(one) for one in addresses],
    }


def _address(one: GuestAddress) -> dict[str, str]:
    told = {"address": one.address, "source": str(one.source), "mac": one.mac}
    return told | ({"interface": one.interface} if one.interface else {})


def _stale(record: Record, known: str | None) -> str:
    last: dict[str, Any] = json.loads(known) if known else {}
    if last.get("uid") != record.uid:
        last = {"uid": record.uid, "generation": record.generation, "addresses": []}
    return to_json(last | {"host": record.host, "state": UNKNOWN, "stateReason": ""})


def _host(host: Host, observed: ObservedHost) -> dict[str, Any]:
    told = {
        "status": str(observed.status),
        "message": observed.message,
        "maintenance": host.maintenance,
        "labels": dict(host.labels),
    }
    if not observed.known:
        return told
    ours, allocated = _allocated(observed)
    capacity = {
        "cpus": int(observed.cpus * host.cpu_overcommit),
        "memory": int(max(0, observed.memory - host.reserved_memory) * host.memory_overcommit),
        "disk": sum(pool.capacity for pool in observed.pools.values() if pool.active),
    }
    available = sum(pool.available for pool in observed.pools.values() if pool.active)
    allocated["disk"] = capacity["disk"] - available
    return told | {
        "arch": observed.arch,
        "cpus": observed.cpus,
        "memory": observed.memory,
        "reserved": {"memory": host.reserved_memory},
        "capacity": capacity,
        "allocated": allocated,
        "free": {
            "cpus": max(0, capacity["cpus"] - allocated["cpus"]),
            "memory": max(0, capacity["memory"] - allocated["memory"]),
            "disk": available,
        },
        "libvirtVersion": observed.libvirt_version,
        "hypervisorVersion": observed.hypervisor_version,
        "virtTypes": sorted(observed.virt_types),
        "pools": [
            {
                "name": pool.name,
                "type": pool.type,
                "active": pool.active,
                "capacity": pool.capacity,
                "available": pool.available,
            }
            for _, pool in sorted(observed.pools.items())
        ],
        "networks": sorted(observed.networks),
        "domains": {"count": len(observed.domains), "ours": ours},
    }


def _allocated(observed: ObservedHost) -> tuple[int, dict[str, int]]:
    """How many domains are ours, and what is taken: by ours, running or not, and by whatever else runs."""
    ours, cpus, memory = 0, 0, 0
    for domain in observed.domains.values():
        mine = mark_of(domain) is not None
        ours += mine
        if mine or domain.state.active:
            size = size_of(domain)
            cpus, memory = cpus + size[0], memory + size[1]
    return ours, {"cpus": cpus, "memory": memory}
