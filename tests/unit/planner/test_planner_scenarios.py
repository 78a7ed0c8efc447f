"""Scenarios as data, tests/cases/plan/*.yaml: a world, what is desired of it, and the plan that follows.

Keys of a scenario (all optional but `expect`):
    hosts     host to settings (labels, maintenance, memory …)
    types, images, templates, pools, volumes, networks
    first     what is on the hosts already, in order (see `_DEEDS`)
    was       machines that are desired first, and applied
    then      what somebody does to the hosts afterwards, in order (see `_DEEDS`)
    desired   machines that are desired now; the ones of `was` if left out
    ticks     how many plans it takes until nothing is left to do (1)
    records   machine to [phase, host, uid number], instead of what applying `was` left
    expect    actions (ids in order), after (id to some that it waits for),
              changes (machine to verb, fields, deferred, drift, reason), blocked (machine to reason),
              messages and never_says (machine to part of
              its message when blocked), unchanged, notes, limit (part of the message that stops the plan)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import network_world
import pytest
import yaml
from planner_world import OWNER, SimDomain, World, adverse, desired_state, resolved, uid
from pydantic import TypeAdapter

from reconciler.errors import LimitError
from reconciler.model.config import LimitsConfig
from reconciler.model.domain import DiskConfig, DomainConfig, DomainState, InterfaceConfig
from reconciler.model.host import HostStatus, Pool
from reconciler.model.network_config import Lease
from reconciler.model.parts import (
    CdromConfig,
    FilesystemConfig,
    GraphicsConfig,
    IoLimits,
    NumaCell,
    Topology,
)
from reconciler.model.placement import (
    ClaimRecord,
    Phase,
    Record,
    VolumeRecord,
    claim_name,
    copying_name,
    own_volume_name,
)
from reconciler.model.plan import PLAN_JSON, Blocked, Plan
from reconciler.model.units import parse_size
from reconciler.planner import Survey, check_limits
from reconciler.planner.volumes import volume_uid

CASES = Path(__file__).parents[2] / "cases" / "plan"
HARDWARE: dict[str, TypeAdapter[Any]] = {
    "topology": TypeAdapter(Topology),
    "numa": TypeAdapter(tuple[NumaCell, ...]),
    "graphics": TypeAdapter(tuple[GraphicsConfig, ...]),
    "cdroms": TypeAdapter(tuple[CdromConfig, ...]),
    "filesystems": TypeAdapter(tuple[FilesystemConfig, ...]),
    **dict.fromkeys(
        ("cpu_features", "pinning", "consoles", "host_devices", "boot"), TypeAdapter(tuple[str, ...])
    ),
}
SIZES = ("memory", "max_memory", "size")


def scenarios() -> list[Any]:
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        cases = yaml.safe_load(path.read_text())
        found += [pytest.param(case, id=f"{path.stem}: {case['case']}") for case in cases]
    return found


@pytest.mark.parametrize("case", scenarios())
def test_scenario(case: Mapping[str, Any]) -> None:
    world, plan, seen = run(case)
    expect = case["expect"]
    assert [action.id for action in plan.actions] == expect.get("actions", [])
    assert {change.vm for change in plan.changes} == set(expect.get("changes", {}))
    actions = {action.id: action for action in plan.actions}
    for name, before in expect.get("after", {}).items():
        assert set(before) <= set(actions[name].after)
    for name, wanted in expect.get("changes", {}).items():
        check_change(plan, name, wanted)
    assert {refusal.vm: refusal.reason for refusal in plan.blocked} == expect.get("blocked", {})
    for name, text in expect.get("never_says", {}).items():
        assert text not in next(refusal.message for refusal in plan.blocked if refusal.vm == name)
    for name, text in expect.get("messages", {}).items():
        assert text in next(refusal.message for refusal in plan.blocked if refusal.vm == name)
    if "unchanged" in expect:
        assert plan.unchanged == expect["unchanged"]
    for text in expect.get("notes", []):
        assert any(text in note for note in plan.notes), plan.notes
    for number, host in expect.get("only", {}).items():
        assert {demand.vm: demand.only for demand in seen.demands}[number] == host
    check_limit(plan, seen, expect.get("limit"))
    assert PLAN_JSON.validate_json(PLAN_JSON.dump_json(plan)).actions == plan.actions
    if "blocked" not in expect:
        world.apply(replace(plan, actions=adverse(plan.actions)))
        for _ in range(case.get("ticks", 1) - 1):
            world.apply(world.plan(now(case))[1])
        _, after = world.plan(now(case))
        assert [action.id for action in after.actions] == []


def check_change(plan: Plan, name: str, wanted: Mapping[str, Any]) -> None:
    change = next(change for change in plan.changes if change.vm == name)
    assert change.verb == wanted["verb"]
    assert [f"{f.path} {f.impact}" for f in change.fields] == wanted.get(
        "fields", [f"{f.path} {f.impact}" for f in change.fields] if change.verb == "create" else []
    )
    assert [f"{f.path} {f.impact}" for f in change.deferred] == wanted.get("deferred", [])
    if "drift" in wanted:
        assert [f.path for f in (*change.fields, *change.deferred) if f.drift] == wanted["drift"]
    for key in ("reason", "host", "uid", "impact", "generation"):
        if key in wanted:
            value = uid(wanted[key]) if key == "uid" else wanted[key]
            found = getattr(change, key)
            assert value in found if key == "reason" else value == found, key


def check_limit(plan: Plan, seen: Survey, limit: str | None) -> None:
    if limit is None:
        check_limits(plan, seen, LimitsConfig(deletions_percent=100))
        return
    with pytest.raises(LimitError, match=limit):
        check_limits(plan, seen, LimitsConfig())
    check_limits(plan, seen, LimitsConfig(), allow_deletions=True)


def run(case: Mapping[str, Any]) -> tuple[World, Plan, Survey]:
    world = World()
    for name, settings in case.get("hosts", {"lab1": {}}).items():
        world.add_host(name, **{key: size(key, value) for key, value in (settings or {}).items()})
    for deed in case.get("first", []):
        [(verb, arguments)] = deed.items()
        _DEEDS[verb](world, arguments)
    if "was" in case:
        world.settle(desired_state(case["was"], **definitions(case, "was_")))
    for deed in case.get("then", []):
        [(verb, arguments)] = deed.items()
        _DEEDS[verb](world, arguments)
    if "records" in case:
        world.records = {
            vm: Record(vm, uid(number), host, 1, Phase(phase))
            for vm, (phase, host, number) in case["records"].items()
        }
    seen, plan = world.plan(now(case))
    return world, plan, seen


def now(case: Mapping[str, Any]) -> Any:
    machines = case["desired"] if "desired" in case else case.get("was", {})
    return desired_state(machines, **definitions(case, ""))


def definitions(case: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        kind: case.get(prefix + kind, case.get(kind))
        for kind in ("types", "images", "templates", "pools", "volumes", "networks")
        if prefix + kind in case or kind in case
    }


def size(key: str, value: Any) -> Any:
    return parse_size(value) if key in SIZES and isinstance(value, str) else value


def alter(world: World, arguments: Mapping[str, Any]) -> None:
    """Change what a domain is: `side` is persistent, live or both (default)."""
    domain = world.domain(arguments["domain"])
    values = {key: altered(key, value, domain.config) for key, value in arguments["set"].items()}
    side = arguments.get("side", "both")
    if side != "live":
        domain.config = replace(domain.config, **values)
    if side != "persistent" and domain.live is not None:
        domain.live = replace(domain.live, **values)


def altered(key: str, value: Any, config: DomainConfig) -> Any:
    if key == "disks":
        return tuple(DiskConfig(**{k: size(k, v) for k, v in disk.items()}) for disk in value)
    if key == "interfaces":
        return tuple(InterfaceConfig(**nic) for nic in value)
    if key in HARDWARE and value is not None:
        return HARDWARE[key].validate_python(value)
    return size(key, value)


def alter_disk(world: World, arguments: Mapping[str, Any]) -> None:
    """Change attributes of the disk at a target."""
    domain = world.domain(arguments["domain"])
    values = {key: size(key, value) for key, value in arguments["set"].items()}
    if "limits" in values:
        values["limits"] = IoLimits(**values["limits"]) if values["limits"] else None

    def changed(config: DomainConfig) -> DomainConfig:
        disks = [replace(d, **values) if d.target == arguments["target"] else d for d in config.disks or ()]
        return replace(config, disks=tuple(disks))

    side = arguments.get("side", "both")
    domain.config = changed(domain.config) if side != "live" else domain.config
    domain.live = changed(domain.live) if domain.live and side != "persistent" else domain.live


def set_state(world: World, arguments: Mapping[str, Any]) -> None:
    domain = world.domain(arguments["domain"])
    domain.state = DomainState(arguments["state"])
    domain.state_reason = arguments.get("reason", "unknown")
    if not domain.state.active:
        domain.live = domain.applied_live = None
    elif domain.live is None:
        domain.live, domain.applied_live = domain.config, domain.applied


def undefine(world: World, where: str) -> None:
    """As virsh does: a running domain becomes transient."""
    domain = world.domain(where)
    if domain.state.active:
        domain.persistent, domain.applied = False, None
    else:
        del world.hosts[where.partition("/")[0]].domains[domain.config.uuid]


def stranger(world: World, arguments: Mapping[str, Any]) -> None:
    """A domain that is not ours."""
    host, name = arguments["domain"].split("/", 1)
    config = resolved(DomainConfig(name, uid(arguments.get("uid", 900)), "qemu", cpus=1, max_cpus=1))
    config = replace(
        config, memory=1 << 30, max_memory=1 << 30, disks=altered("disks", arguments.get("disks", []), config)
    )
    domain = SimDomain(config, foreign_owner=arguments.get("owner", ""))
    if arguments.get("running"):
        domain.live, domain.state = config, DomainState.RUNNING
    world.hosts[host].domains[config.uuid] = domain


def copy(world: World, arguments: Mapping[str, Any]) -> None:
    """The same domain, mark and all, on another host; with `uid` under another UUID, as a clone."""
    domain = world.domain(arguments["domain"])
    config = domain.config
    if "uid" in arguments:
        config = replace(config, uuid=uid(arguments["uid"]), name=arguments["name"])
    world.hosts[arguments["to"]].domains[config.uuid] = replace(domain, config=config)


def unmark(world: World, where: str) -> None:
    domain = world.domain(where)
    domain.applied = domain.applied_live = None


def down(world: World, host: str | Mapping[str, str]) -> None:
    """A host's name; or host to its status, by default Unreachable."""
    for name, status in host.items() if isinstance(host, Mapping) else [(host, "Unreachable")]:
        world.hosts[name].down, world.hosts[name].status = "connection refused", HostStatus(status)


def declare_dead(world: World, host: str) -> None:
    """It burnt down, and an operator says so."""
    down(world, host)
    world.hosts[host].domains = {}
    world.dead_hosts.add(host)
    world.dead = {vm: record for vm, record in world.records.items() if record.host == host}
    world.records = {vm: record for vm, record in world.records.items() if record.host != host}


def alias(world: World, arguments: Mapping[str, str]) -> None:
    """The inventory has the host `of` also as `name`, under `uri`."""
    of = world.hosts[arguments["of"]]
    of.uuid, of.nics = uid(1000), frozenset({"net_eth0_02"})
    of.host = replace(of.host, uri="qemu+ssh://root@one/system")
    host = replace(of.host, name=arguments["name"], uri=arguments.get("uri", "qemu+ssh://192.0.2.1/system"))
    world.hosts[host.name] = replace(of, host=host)


def capable(world: World, arguments: Mapping[str, Any]) -> None:
    """A host says what hardware it can give."""
    world.hosts[arguments["host"]].hardware = frozenset(arguments["hardware"])


def own(world: World, arguments: Mapping[str, str]) -> None:
    """It belongs to another installation."""
    domain = world.domain(arguments["domain"])
    domain.applied = domain.applied_live = None
    domain.foreign_owner = arguments["owner"]


def one_board(world: World, arguments: Mapping[str, Any]) -> None:
    """Hosts with the UUID of one board; with network devices of their own if `nics`."""
    for name in arguments["hosts"]:
        host = world.hosts[name]
        host.host = replace(host.host, uri=f"qemu+ssh://{name}/system")
        world.hosts[name].uuid = uid(1000)
        world.hosts[name].nics = frozenset({f"net_{name}" if arguments["nics"] else "net_eth0"})


def vanish(world: World, host: str) -> None:
    """It is taken out of the inventory."""
    del world.hosts[host]


def never_seen(world: World, host: str) -> None:
    down(world, host)
    world.never_seen = world.never_seen | {host}


def lose_records(world: World, _argument: Any) -> None:
    world.records = {}


def volume(world: World, arguments: Mapping[str, Any]) -> None:
    """A volume that is in a host's pool."""
    name = f"{arguments['vm']}.{uid(arguments['uid'])}.{arguments.get('disk', 'root')}.qcow2"
    world.hosts[arguments["host"]].pools.setdefault(arguments.get("pool", "default"), set()).add(name)


def pool(world: World, where: str) -> None:
    host, name = where.split("/")
    world.hosts[host].pools[name] = set()


def share(world: World, pool: str) -> None:
    """Every host sees the same bytes in the pool of this name."""
    first = next(iter(world.hosts.values()))
    for host in world.hosts.values():
        host.pools[pool] = first.pools.setdefault(pool, set())
        host.sizes = first.sizes


def pool_state(world: World, arguments: Mapping[str, Any]) -> None:
    """Change what a pool is: active, autostart, path, uuid."""
    host, name = arguments["pool"].split("/")
    world.hosts[host].described[name] = replace(world.hosts[host].described[name], **arguments["set"])


def foreign_pool(world: World, arguments: Mapping[str, Any]) -> None:
    """A pool that somebody else made."""
    host, name = arguments["pool"].split("/")
    fields = {"type": "dir", "path": f"/pool/{name}", "active": True, **arguments.get("is", {})}
    world.hosts[host].pools[name] = set()
    world.hosts[host].described[name] = Pool(
        name, capacity=1 << 40, available=1 << 39, uuid="99999999-0000-4000-8000-000000000000", **fields
    )


def add_volume(world: World, arguments: Mapping[str, Any]) -> None:
    """A `Volume` of ours in a pool, or a claim of one, by hand."""
    uid_of = volume_uid(OWNER, arguments["volume"])
    name = own_volume_name(arguments["volume"], uid_of, arguments.get("format", "qcow2"))
    if "claim" in arguments:
        name = claim_name(uid_of, uid(arguments["claim"]))
        if arguments.get("ours"):
            world.claims.add(
                ClaimRecord(uid_of, uid(arguments["claim"]), arguments["host"], arguments["pool"])
            )
    if arguments.get("copying"):
        name = copying_name(uid_of)
    host = world.hosts[arguments["host"]]
    host.pools.setdefault(arguments.get("pool", "default"), set()).add(name)
    host.sizes[name] = size("size", arguments.get("size", "1Gi"))


def alien_volume(world: World, arguments: Mapping[str, Any]) -> None:
    """A volume that another installation made, under a name like ours."""
    name = own_volume_name(arguments["volume"], uid(800), "qcow2")
    world.hosts[arguments["host"]].pools["default"].add(name)


def lose_volume(world: World, arguments: Mapping[str, Any]) -> None:
    """Somebody deletes a file: a volume's, or one whose name begins like this."""
    start = arguments.get("file") or f"volume-{arguments['volume']}."
    for volumes in world.hosts[arguments["host"]].pools.values():
        for name in [name for name in volumes if name.startswith(start)]:
            volumes.remove(name)


def note_volume(world: World, arguments: Mapping[str, str]) -> None:
    """What the store knows of a volume."""
    name = arguments["volume"]
    world.volumes[name] = VolumeRecord(
        name,
        volume_uid(OWNER, name),
        arguments["host"],
        arguments.get("pool", "default"),
        arguments.get("policy", "Retain"),
        Phase(arguments.get("phase", "placed")),
    )


def hold(world: World, vm: str) -> None:
    world.held[vm] = Blocked(vm, "RetryLater", "it failed and is tried again in a minute")


def interrupt(world: World, arguments: Mapping[str, Any]) -> None:
    """A plan for these machines is begun, and we die after so many actions."""
    desired = desired_state(arguments["desired"], **definitions(arguments, ""))
    _, plan = world.plan(desired)
    world.apply(plan, only=arguments["after"])


def rename(world: World, arguments: Mapping[str, Any]) -> None:
    domain = world.domain(arguments["domain"])
    domain.config = replace(domain.config, name=arguments["to"])


def alter_network(world: World, arguments: Mapping[str, Any]) -> None:
    host, name = arguments["network"].split("/")
    network_world.alter(world.hosts[host], name, arguments["set"])


def lose_network(world: World, where: str) -> None:
    host, name = where.split("/")
    del world.hosts[host].networks[name]


def foreign_network(world: World, arguments: Mapping[str, Any]) -> None:
    host, name = arguments["network"].split("/")
    network_world.foreign(world.hosts[host], name, arguments.get("active", True))


def note(world: World, _argument: Any) -> None:
    """The store learns what the marks prove."""
    world.look()


def lease(world: World, arguments: Any) -> None:
    """DHCP gave an address away: network, address, MAC."""
    world.leases.add(Lease(*arguments))


_DEEDS: dict[str, Callable[[World, Any], None]] = {
    "alter": alter,
    "capable": capable,
    "alter_disk": alter_disk,
    "state": set_state,
    "undefine": undefine,
    "stranger": stranger,
    "copy": copy,
    "unmark": unmark,
    "alias": alias,
    "declare_dead": declare_dead,
    "down": down,
    "own": own,
    "one_board": one_board,
    "vanish": vanish,
    "never_seen": never_seen,
    "lose_records": lose_records,
    "volume": volume,
    "share": share,
    "pool_state": pool_state,
    "foreign_pool": foreign_pool,
    "add_volume": add_volume,
    "alien_volume": alien_volume,
    "lose_volume": lose_volume,
    "note_volume": note_volume,
    "pool": pool,
    "hold": hold,
    "interrupt": interrupt,
    "rename": rename,
    "alter_network": alter_network,
    "lose_network": lose_network,
    "lease": lease,
    "foreign_network": foreign_network,
    "note": note,
}
