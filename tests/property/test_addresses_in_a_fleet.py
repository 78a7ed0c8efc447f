"""Whatever people write and whatever befalls the hosts: no two machines of the fleet have one address."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "planner"))

from planner_world import World, desired_state

from reconciler.model.operations import Define, Redefine
from reconciler.model.placement import AddressRecord, Phase
from reconciler.model.plan import Plan

HOSTS = ("lab1", "lab2")
NETWORKS = {
    "tenants": {"subnet": "10.9.0.0/29"},
    "wire": {"mode": "bridge", "bridge": "br0", "subnet": "10.7.0.0/29"},
}
interfaces = st.lists(
    st.sampled_from(
        [
            {"network": "tenants", "address": "auto"},
            {"network": "tenants", "address": "10.9.0.2"},
            {"network": "tenants", "address": "10.9.0.3"},
            {"network": "tenants"},
            {"network": "wire", "address": "auto"},
            {"network": "wire", "address": "10.7.0.2"},
        ]
    ),
    max_size=2,
)
machines = st.dictionaries(st.sampled_from("abcd"), interfaces, max_size=4)
fates = st.lists(
    st.tuples(machines, st.sampled_from(["", "lab1", "lab2"]), st.none() | st.integers(0, 6)),
    min_size=2,
    max_size=5,
)


def specs(wished: dict[str, list[dict[str, str]]]) -> dict[str, dict[str, Any]]:
    """What the desired state lets through: nobody fixes an address that another has fixed."""
    fixed: set[str] = set()
    found: dict[str, dict[str, Any]] = {}
    for name, asked in sorted(wished.items()):
        kept = []
        for interface in asked:
            address = interface.get("address", "auto")
            if address == "auto" or address not in fixed:
                kept.append(interface)
                fixed.add(address)
        found[name] = {"interfaces": kept, "runStrategy": "Halted"}
    return found


def everybody(world: World) -> Counter[tuple[str, str]]:
    """Network and address in every mark of the fleet, whether its host answers or not."""
    return Counter(
        (nic.network or "", nic.address)
        for host in world.hosts.values()
        for domain in host.domains.values()
        if domain.applied is not None
        for nic in domain.applied.config.interfaces or ()
        if nic.address
    )


def promise(world: World, plan: Plan) -> None:
    """What is committed before a push, as the engine does."""
    for action in plan.actions:
        if isinstance(action.operation, (Define, Redefine)):
            world.addresses |= {
                AddressRecord(action.vm, nic.name or "", nic.network or "", nic.address)
                for nic in action.operation.config.interfaces or ()
                if nic.address
            }


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(fates)
@example(  # an interface takes the address that another one of the same machine leaves
    [
        ({"a": [], "b": []}, "", None),
        ({"b": [{"network": "tenants", "address": "auto"}]}, "", 2),
        (
            {"b": [{"network": "tenants", "address": "10.9.0.3"}, {"network": "tenants", "address": "auto"}]},
            "",
            None,
        ),
    ]
)
def test_no_two_machines_have_one_address(told: list[tuple[Any, str, int | None]]) -> None:
    world = World()
    for name in HOSTS:
        world.add_host(name)
    for wished, down, only in told:
        for name, host in world.hosts.items():
            host.down = "connection refused" if name == down else None
        if not down and not any(record.phase is Phase.INTENDED for record in world.records.values()):
            world.addresses.clear()  # lost: for machines that are seen, their marks are enough
        _, plan = world.plan(desired_state(specs(wished), networks=NETWORKS))
        world.look()
        promise(world, plan)
        world.apply(plan, only=only)
        assert not [place for place, count in everybody(world).items() if count > 1]
    for host in world.hosts.values():
        host.down = None
    last = desired_state(specs(told[-1][0]), networks=NETWORKS)
    for _ in range(4):
        _, plan = world.plan(last)
        world.look()
        promise(world, plan)
        world.apply(plan)
    assert plan.empty, [action.id for action in plan.actions]
    assert max(everybody(world).values(), default=1) == 1
