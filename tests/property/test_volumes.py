"""Volumes wander between machines of two hosts, with crashes in between: never in two, never lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "planner"))

from planner_world import OWNER, World, desired_state

from reconciler.model.placement import own_volume_name
from reconciler.model.plan import Plan
from reconciler.planner.volumes import volume_uid

MACHINES = {"a": "lab1", "b": "lab1", "c": "lab2"}
VOLUMES = ("v1", "v2")
SIZES = (1 << 30, 2 << 30, 3 << 30)


@st.composite
def wishes(draw: st.DrawFn) -> dict[str, Any]:
    """Who shall have what, how large, and after how many actions we die (None: not at all)."""
    return {
        "has": {volume: draw(st.sampled_from([None, *MACHINES])) for volume in VOLUMES},
        "size": draw(st.sampled_from(SIZES)),
        "only": draw(st.none() | st.integers(0, 8)),
        "down": draw(st.sampled_from([None, None, None, "lab1", "lab2"])),
        "gone": draw(st.sampled_from([None, None, None, *MACHINES])),
    }


def _desired(wish: dict[str, Any], size: int, gone: str | None) -> Any:
    machines: dict[str, Any] = {
        name: {"placement": {"host": host}, "disks": []} for name, host in MACHINES.items() if name != gone
    }
    for volume, machine in wish["has"].items():
        if machine in machines:
            machines[machine]["disks"].append({"name": volume, "volume": volume})
    volumes = {volume: {"size": size, "pool": "nas"} for volume in VOLUMES}
    pools = {"nas": {"path": "/pool/nas", "shared": True}}
    return desired_state(machines, volumes=volumes, pools=pools)


def _world() -> World:
    world = World()
    shared: set[str] = set()
    sizes: dict[str, int] = {}
    for name in ("lab1", "lab2"):
        host = world.add_host(name)
        host.pools["nas"], host.sizes = shared, sizes
    return world


def _user(world: World, volume: str) -> set[str]:
    return set(world.users(own_volume_name(volume, volume_uid(OWNER, volume), "qcow2")))


def _tick(world: World, desired: Any, only: int | None) -> Plan:
    world.look()
    _, plan = world.plan(desired)
    world.apply(plan, only=only)
    return plan


@settings(max_examples=20, deadline=None)
@given(st.lists(wishes(), min_size=1, max_size=5))
def test_volumes_wander(steps: list[dict[str, Any]]) -> None:
    world, size = _world(), SIZES[0]
    for wish in steps:
        size = max(size, wish["size"])
        desired = _desired(wish, size, wish["gone"])
        for host in world.hosts.values():
            host.down = "no route to host" if host.host.name == wish["down"] else None
        # The world itself asserts that no volume is ever in two machines, grown under one, or deleted.
        _tick(world, desired, wish["only"])
        for host in world.hosts.values():
            host.down = None
        for _ in range(5):
            if _tick(world, desired, None).empty:
                break
        _, plan = world.plan(desired)
        assert plan.empty, [action.id for action in plan.actions]
        for volume, machine in wish["has"].items():
            wanted = {machine} if machine not in (None, wish["gone"]) else set()
            assert _user(world, volume) == wanted
    claims = {name for name in world.hosts["lab1"].pools["nas"] if name.startswith("claim.")}
    assert len(claims) == sum(bool(_user(world, volume)) for volume in VOLUMES)
