"""An external program decides, through Ganeti's iallocator protocol (doc/iallocator.rst of Ganeti).

The program gets a JSON message with all hosts and machines and one machine to place, and answers with
a host. Our own filters run first: a host that they refuse is offered as drained, which the protocol
says takes nothing new. And its answer is checked against them, so that no program can overfill a host.

The message carries what Ganeti's own ``hail`` wants (seen with 3.0), which is more than the protocol's
sample: for nodes ``reserved_memory``, ``reserved_cpus``, ``free_spindles`` and ``ndparams``, for
machines ``spindle_use``, and an instance policy complete in every field. ``hail`` refuses a host when
the fleet could not restart the machines of a failed one, unless it runs with ``--no-capacity-checks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from reconciler.allocator.algorithms import Algorithm, first_fit
from reconciler.allocator.place import Choice, place
from reconciler.allocator.search import Found
from reconciler.allocator.usage import FleetUsage, HostUsage, tenant_of
from reconciler.errors import AllocatorError, ReconcilerError
from reconciler.model.capacity import Demand, HostCapacity, Tenant
from reconciler.model.placement import Decision

NAME = "iallocator"
MIB = 1 << 20
HEADROOM = 1
"""Mebibytes added to what a node has: ``hail`` refuses a machine that would leave exactly nothing."""

Run = Callable[[tuple[str, ...], str, int], str]
"""Run a program: command, request text, seconds it may take -> its answer. Raises ReconcilerError."""


@dataclass(frozen=True, slots=True)
class ProgramAllocator:
    """An allocator that asks a program for every machine that has a choice.

    Attributes:
        command: Program and arguments.
        timeout: Seconds for one question.
        run: Runs it (reconciler/external.py).
    """

    command: tuple[str, ...]
    timeout: int
    run: Run

    @property
    def name(self) -> str:
        """As in the configuration."""
        return NAME

    def place(self, demands: Sequence[Demand], capacities: Sequence[HostCapacity]) -> Mapping[str, Decision]:
        """Decide for every machine; one that the program gives no valid host is refused in words."""
        chooser = _Program(self.command, self.timeout, self.run)
        return place(demands, capacities, Algorithm(NAME, first_fit, by_size=True), chooser=chooser)


@dataclass(slots=True)
class _Program:
    """Asks the program; after it has failed once it is not asked again in this round.

    Otherwise a program that hangs would cost its whole time-out for every machine.
    """

    command: tuple[str, ...]
    timeout: int
    run: Run
    name: str = NAME
    failure: str = field(default="")

    def choose(self, demand: Demand, found: Found, fleet: FleetUsage) -> Choice:
        """The program's choice, if it is one of the hosts that fit."""
        if self.failure:
            return Choice((), f"not asked: {self.failure}")
        fitting = [fleet.hosts[index].name for index in found.hosts]
        request = request_json(demand, offered(found, fleet), fitting)
        try:
            response = self.run(self.command, request, self.timeout)
        except ReconcilerError as error:
            self.failure = str(error)
            return Choice((), self.failure)
        program = PurePath(self.command[0]).name
        try:
            decision = decision_of(response, demand)
        except AllocatorError as error:
            return Choice((), f"{program}: {error}")
        if decision.host is None:
            return Choice((), f"{program}: {decision.message}")
        if decision.host not in fitting:
            return Choice((), f"{program} chose {decision.host}, which does not fit")
        return Choice((fitting.index(decision.host),))


def offered(found: Found, fleet: FleetUsage) -> list[HostCapacity]:
    """The hosts as they are now, without the machines that would have to leave for this one."""
    gone = {found.hosts[place]: set(map(id, leavers)) for place, leavers in enumerate(found.after)}
    return [
        replace(
            host.capacity,
            tenants=tuple(t for t in host.tenants if id(t) not in gone.get(index, ())),
        )
        for index, host in enumerate(fleet.hosts)
    ]


def request_json(
    demand: Demand, capacities: Iterable[HostCapacity], fitting: Collection[str] | None = None
) -> str:
    """The protocol's ``allocate`` message.

    Args:
        demand: The machine to place.
        capacities: All hosts with their machines.
        fitting: Names of the hosts that may be chosen; the others are marked as drained. None: all that
            answer and are not in maintenance.
    """
    hosts = [HostUsage(capacity) for capacity in capacities]
    message = {
        "version": 2,
        "cluster_name": "reconciler",
        "cluster_tags": [],
        # Not ["kvm"]: for it hail keeps 4 GiB of every node, and ours are without the reserve already.
        "enabled_hypervisors": [],
        "ipolicy": _POLICY,
        "nodegroups": {_GROUP: _group()},
        "nodes": {host.name: _node(host, demand, fitting) for host in hosts},
        "instances": dict(_instances(hosts)),
        "request": {
            "type": "allocate",
            "name": demand.vm,
            "required_nodes": 1,
            "hypervisor": "kvm",
            **_instance(tenant_of(demand), demand.disks.values()),
        },
    }
    return json.dumps(message, sort_keys=True)


def decision_of(response: str, demand: Demand) -> Decision:
    """The program's answer as a decision, not yet checked against the hosts.

    Raises:
        AllocatorError: It is not an answer of the protocol.
    """
    try:
        answer = json.loads(response)
    except (ValueError, RecursionError) as error:
        raise AllocatorError(f"its answer is not JSON: {_excerpt(response)}") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool):
        raise AllocatorError(f"its answer does not say whether it succeeded: {_excerpt(response)}")
    info = str(answer.get("info", ""))
    if not answer["success"]:
        return Decision(demand.vm, None, NAME, message=info or "it found no host and gave no reason")
    nodes = answer.get("result", answer.get("nodes"))
    if not isinstance(nodes, list) or len(nodes) != 1 or not isinstance(nodes[0], str):
        raise AllocatorError(f"its answer does not name exactly one host: {_excerpt(response)}")
    return Decision(demand.vm, nodes[0], NAME, message=info)


_GROUP = "0d7a4a3e-0000-4000-8000-000000000000"
_UNLIMITED = 2**31 - 1


def _sizes(value: int) -> dict[str, int]:
    keys = ("cpu-count", "disk-count", "disk-size", "memory-size", "nic-count", "spindle-use")
    return dict.fromkeys(keys, value)


# Our filters have spoken already, so the policy allows everything. Overcommit is in total_cpus.
_POLICY: dict[str, Any] = {
    "disk-templates": ["file"],
    "minmax": [{"min": _sizes(0), "max": _sizes(_UNLIMITED)}],
    "std": _sizes(1),
    "vcpu-ratio": 1.0,
    "spindle-ratio": float(_UNLIMITED),
}


def _group() -> dict[str, Any]:
    return {"name": "all", "alloc_policy": "preferred", "networks": [], "ipolicy": _POLICY, "tags": []}


def _node(host: HostUsage, demand: Demand, fitting: Collection[str] | None) -> dict[str, Any]:
    capacity = host.capacity
    pools = host.by_pool(demand.disks) or {capacity.default_pool: 0}
    # One number stands for all pools that the machine uses: the space in the tightest of them.
    disk = max(min(host.free_disk(pool) for pool in pools), 0) // MIB + HEADROOM
    total = capacity.memory // MIB + HEADROOM
    used = sum(_mib(tenant.memory) for tenant in host.tenants)
    free = max(total - used, 0)
    usable = capacity.alive and not capacity.maintenance
    return {
        "group": _GROUP,
        "tags": sorted(f"{key}:{value}" for key, value in capacity.labels.items()),
        "offline": not capacity.alive,
        "drained": not usable if fitting is None else host.name not in fitting,
        "master_candidate": False,
        "vm_capable": True,
        "primary_ip": "192.0.2.1",
        "secondary_ip": "192.0.2.1",
        "total_memory": total,
        "reserved_memory": 0,
        "free_memory": free,
        "i_pri_memory": used,
        "i_pri_up_memory": used,
        "total_disk": disk,
        "free_disk": disk,
        "total_cpus": capacity.cpus,
        "reserved_cpus": 0,
        "total_spindles": 1,
        "free_spindles": 1,
        "ndparams": {"exclusive_storage": False, "spindle_count": 1},
    }


def _instances(hosts: Iterable[HostUsage]) -> Iterable[tuple[str, dict[str, Any]]]:
    for host in hosts:
        for number, tenant in enumerate(host.tenants):
            # Names are unique in the protocol, not in life: foreign domains, clones, machines on the move.
            name = f"{tenant.vm}@{host.name}#{number}"
            yield name, {**_instance(tenant, ()), "nodes": [host.name], "admin_state": "up"}


def _instance(tenant: Tenant, disks: Iterable[int]) -> dict[str, Any]:
    sizes = [_mib(size) for size in disks]
    return {
        "memory": _mib(tenant.memory),
        "vcpus": tenant.cpus,
        "disks": [{"mode": "w", "size": size} for size in sizes],
        "disk_space_total": sum(sizes),
        "disk_template": "file",
        "nics": [],
        "os": "",
        "spindle_use": 0,
        "tags": sorted(f"{key}:{value}" for key, value in tenant.labels.items()),
    }


def _mib(size: int) -> int:
    """Mebibytes, rounded up: a machine is never shown smaller than it is."""
    return -(-size // MIB)


def _excerpt(text: str) -> str:
    return repr(text[:200]) + (" …" if len(text) > 200 else "")
