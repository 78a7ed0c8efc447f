"""Whatever people write and whatever befalls the hosts: plans converge, and keep off what is not theirs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "planner"))

from planner_world import (
    GI,
    OWNER,
    SimDomain,
    World,
    adverse,
    desired_state,
    numbered_uids,
    place,
    resolved,
    uid,
)

from reconciler.errors import ReconcilerError
from reconciler.model.desired import DesiredState
from reconciler.model.domain import DiskConfig, DomainConfig, DomainState, InterfaceConfig
from reconciler.model.manifest import VirtualMachine
from reconciler.model.plan import Impact
from reconciler.planner import Memo, Place, adopt, conditions, forget, make_plan, survey

HOSTS = ("lab1", "lab2", "lab3")
NAMES = ("a", "b", "web 1")
MI = 1 << 20
IMAGES = {"debian": {}, "fedora": {}}

quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def maybe(**options: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A spec with any subset of these fields."""
    return st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(list(values)) for key, values in options.items()}
    )


specs = maybe(
    cpus=(1, 2),
    maxCpus=(2, 4),
    memory=("128Mi", "256Mi"),
    maxMemory=("256Mi", "512Mi"),
    image=("debian", "fedora"),
    rootDisk=(
        {"size": "1Gi"},
        {"size": "2Gi"},
        {"size": "1Gi", "bus": "sata"},
        {"size": "1Gi", "format": "raw"},
    ),
    disks=(
        [],
        [{"name": "data", "size": "1Gi"}],
        [
            {"name": "data", "size": "2Gi", "bus": "scsi"},
            {"name": "iso", "path": "/srv/iso", "format": "raw"},
        ],
        [{"name": "log", "size": "1Gi", "bus": "ide"}],
    ),
    interfaces=([], [{"network": "default"}], [{"bridge": "br0"}, {"network": "lan", "model": "e1000"}]),
    firmware=("bios", "uefi"),
    machine=("q35", "pc"),
    console=("serial", "none", None),
    description=("one", "two", ""),
    autostart=(True, False),
    runStrategy=("Always", "Halted", "Manual", "RerunOnFailure"),
    updatePolicy=("Live", "Restart", "Replace"),
    deletionPolicy=("Retain", "Delete"),
    protect=(True, False, False),
    suspend=(True, False, False),
    ignore=([], ["memory"], ["disks", "interfaces"], ["image", "rootDisk"]),
    placement=({}, {"host": "lab1"}, {"host": "lab2"}),
)
desires = st.dictionaries(st.sampled_from(NAMES), specs, min_size=1)

deeds = st.one_of(
    st.tuples(st.just("desire"), desires),
    st.tuples(st.just("desire nothing of"), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["down", "up"]), st.sampled_from(HOSTS)),
    st.tuples(st.just("kill"), st.sampled_from(NAMES)),
    st.tuples(st.just("undefine"), st.sampled_from(NAMES)),
    st.tuples(
        st.just("drift"),
        st.tuples(
            st.sampled_from(NAMES),
            maybe(
                memory=(64 * MI, 256 * MI),
                cpus=(1, 2),
                description=("drifted",),
                autostart=(True, False),
                firmware=("uefi",),
                disks=((), (DiskConfig("vdb", "virtio", "/x", "raw"),)),
                interfaces=((), (InterfaceConfig("52:54:00:00:00:09", "lan", None, "virtio"),)),
            ),
            st.booleans(),
        ),
    ),
    st.tuples(st.just("stranger"), st.tuples(st.sampled_from(HOSTS), st.sampled_from(NAMES))),
    st.tuples(st.just("lose records"), st.none()),
)
# Every story begins with machines that exist, and most ticks are carried out to the end.
stories = st.builds(
    lambda first, rest: [(("desire", first), None), *rest],
    desires,
    st.lists(st.tuples(deeds, st.none() | st.none() | st.integers(0, 6)), min_size=2, max_size=8),
)


class Story:
    """A world with the desired state of the moment, told step by step."""

    def __init__(self) -> None:
        self.world = World()
        for name in HOSTS:
            self.world.add_host(name)
        self.desired = desired_state({}, images=IMAGES)
        self.memo = Memo()

    def tell(self, step: tuple[tuple[str, Any], int | None]) -> None:
        """Something happens, and then a tick, which may die after some actions."""
        (verb, argument), only = step
        if verb == "desire":
            self.desired = wished(argument) or self.desired
        elif verb == "desire nothing of":
            machines = {name: vm for name, vm in self.desired.machines.items() if name != argument}
            self.desired = replace(self.desired, machines=machines)
        elif verb in ("down", "up"):
            self.world.hosts[argument].down = "no route" if verb == "down" else None
        elif verb == "kill":
            self.kill(argument)
        elif verb == "undefine":
            self.undefine(argument)
        elif verb == "drift":
            self.drift(*argument)
        elif verb == "stranger":
            self.stranger(*argument)
        else:
            self.world.records = {}
            self.world.never_seen = frozenset(n for n, host in self.world.hosts.items() if host.down)
        self.world.never_seen = frozenset(n for n in self.world.never_seen if self.world.hosts[n].down)
        self.tick(only=only)

    def tick(self, only: int | None = None) -> bool:
        before = self.foreign()
        seen, plan = self.world.plan(self.desired, self.memo)
        check_plan(self.world, plan)
        conditions(seen, plan, memo=self.memo)
        self.world.apply(replace(plan, actions=adverse(plan.actions)), only=only)
        self.world.look()
        assert self.foreign() == before, "a domain that is not ours was touched"
        return plan.empty

    def foreign(self) -> Mapping[tuple[str, str], SimDomain]:
        return {
            (name, key): replace(domain)
            for name, host in self.world.hosts.items()
            for key, domain in host.domains.items()
            if domain.applied is None and domain.applied_live is None
        }

    def named(self, name: str) -> list[tuple[str, str, SimDomain]]:
        return [
            (host_name, key, domain)
            for host_name, host in self.world.hosts.items()
            for key, domain in host.domains.items()
            if domain.config.name == name and domain.applied is not None and host.down is None
        ]

    def kill(self, name: str) -> None:
        for _, _, domain in self.named(name):
            domain.live, domain.applied_live = None, None
            domain.state, domain.state_reason = DomainState.SHUT_OFF, "crashed"

    def undefine(self, name: str) -> None:
        for host, key, domain in self.named(name):
            if domain.state.active:
                domain.persistent, domain.applied = False, None
            else:
                del self.world.hosts[host].domains[key]

    def drift(self, name: str, values: Mapping[str, Any], both: bool) -> None:
        for _, _, domain in self.named(name):
            domain.config = replace(domain.config, **values)
            if both and domain.live is not None:
                domain.live = replace(domain.live, **{k: v for k, v in values.items() if k != "autostart"})

    def stranger(self, host: str, name: str) -> None:
        taken = {domain.config.name for domain in self.world.hosts[host].domains.values()}
        if name not in taken:
            key = uid(9000 + sum(len(h.domains) for h in self.world.hosts.values()))
            config = resolved(DomainConfig(name, key, "qemu", cpus=1, max_cpus=1, memory=GI, max_memory=GI))
            self.world.hosts[host].domains[key] = SimDomain(config, config, DomainState.RUNNING)


def wished(machines: Mapping[str, Mapping[str, Any]]) -> DesiredState | None:
    """The desired state, or None if these fields contradict each other."""
    try:
        return desired_state(machines, images=IMAGES)
    except ValueError:
        return None


def check_plan(world: World, plan: Any) -> None:
    ids = [action.id for action in plan.actions]
    assert len(ids) == len(set(ids))
    before: set[str] = set()
    for action in plan.actions:
        assert set(action.after) <= before, f"{action.id} comes before what it waits for"
        before.add(action.id)
        assert world.hosts[action.host].down is None
        assert action.impact is not Impact.REPLACE or action.vm
    blocked = {refusal.vm for refusal in plan.blocked}
    assert not blocked & {action.vm for action in plan.actions}, "a blocked machine is acted on"


@quick
@given(stories)
def test_every_story_converges_and_nothing_exists_twice(story: list[Any]) -> None:
    told = Story()
    for step in story:
        told.tell(step)
    for host in told.world.hosts.values():
        host.down = None
    told.world.never_seen = frozenset()
    assert any(told.tick() for _ in range(5)), "the plan never becomes empty"
    machines = [d.applied.name for h in told.world.hosts.values() for d in h.domains.values() if d.applied]
    assert len(machines) == len(set(machines))


@quick
@given(stories, st.randoms(use_true_random=False))
def test_a_plan_depends_on_neither_the_order_of_mappings_nor_the_memo(story: list[Any], random: Any) -> None:
    told = Story()
    for step in story:
        told.tell(step)
    situation = told.world.situation(told.desired)

    def shuffled(mapping: Mapping[str, Any]) -> dict[str, Any]:
        keys = list(mapping)
        random.shuffle(keys)
        return {key: mapping[key] for key in keys}

    def plan_of(situation: Any, memo: Memo | None = None) -> Any:
        seen = survey(situation, memo)
        return make_plan(seen, place(seen.demands, seen.capacities), numbered_uids(), memo)

    plain = plan_of(situation)
    other = replace(
        situation,
        desired=replace(situation.desired, machines=shuffled(situation.desired.machines)),
        hosts=shuffled(situation.hosts),
        fleet={
            name: replace(host, domains=shuffled(host.domains), pools=shuffled(host.pools))
            for name, host in shuffled(situation.fleet).items()
        },
        records=shuffled(situation.records),
    )
    assert plan_of(other) == plain
    memo = Memo()
    assert plan_of(situation, memo) == plain
    assert plan_of(situation, memo) == plain
    assert plan_of(situation, told.memo) == plain


sizes = st.sampled_from([64 * MI, 128 * MI, 200 * MI + 5, 512 * MI])
macs = st.integers(0, 5).map(lambda n: f"52:54:00:00:00:0{n}")
foreign_disks = st.lists(
    st.builds(
        DiskConfig,
        target=st.sampled_from(["vda", "vdb", "sda", "hdc"]),
        bus=st.sampled_from(["virtio", "sata", "scsi"]),
        path=st.sampled_from(["/srv/a.img", "/srv/b.img", "/dev/sdx"]),
        format=st.sampled_from(["raw", "qcow2"]),
        size=st.none() | sizes,
    ),
    max_size=3,
    unique_by=lambda disk: disk.target,
).map(lambda disks: tuple(sorted(disks, key=lambda disk: (len(disk.target), disk.target))))
foreign_nics = st.lists(
    st.one_of(
        st.builds(
            InterfaceConfig, macs, st.just("lan"), st.none(), st.sampled_from([None, "virtio", "e1000"])
        ),
        st.builds(InterfaceConfig, macs, st.none(), st.just("br0"), st.none()),
    ),
    max_size=3,
    unique_by=lambda nic: nic.mac,
).map(tuple)


@st.composite
def foreign_configs(draw: st.DrawFn) -> DomainConfig:
    cpus, memory = draw(st.integers(1, 4)), draw(sizes)
    return DomainConfig(
        name=draw(st.sampled_from(["db", "My old VM", "x.y_z"])),
        uuid=uid(500),
        virt_type=draw(st.sampled_from(["kvm", "qemu"])),
        arch=draw(st.sampled_from(["x86_64", "aarch64"])),
        machine=draw(st.sampled_from([None, "pc-q35-7.2", "virt-7.2"])),
        firmware=draw(st.sampled_from([None, "bios", "uefi"])),
        cpus=cpus,
        max_cpus=cpus + draw(st.integers(0, 2)),
        memory=memory,
        max_memory=memory + draw(st.sampled_from([0, MI])),
        disks=draw(foreign_disks),
        interfaces=draw(foreign_nics),
        console=draw(st.sampled_from(["serial", "none"])),
        description=draw(st.sampled_from([None, "text", "a\x1bb", "{{ x }}", "long" * 2000])),
        autostart=draw(st.sampled_from([None, True, False])),
    )


@quick
@given(
    foreign_configs(),
    st.none() | foreign_configs(),
    st.sampled_from(list(DomainState)),
    st.sampled_from([None, "kvm"]),
)
def test_the_plan_after_an_adoption_is_empty(
    config: DomainConfig, other: DomainConfig | None, state: DomainState, virt_type: str | None
) -> None:
    world = World()
    host = world.add_host("lab1", virt_type=virt_type)
    pending = replace(other or config, name=config.name, virt_type=config.virt_type, autostart=None)
    live = pending if state.active else None
    domain = SimDomain(config, live, state)
    host.domains[config.uuid] = domain
    observed = host.observe()
    taken = adopt(observed.domains[config.uuid], Place(host.host, observed), OWNER)
    assert [action.operation.kind for action in taken.plan.actions] == ["mark"]
    world.apply(taken.plan)
    assert (domain.config, domain.live, domain.state) == (config, live, state)
    written = taken.vm.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    vm = VirtualMachine.model_validate(written)
    seen, plan = world.plan(DesiredState("rev", {vm.name: vm}))
    assert (plan.actions, plan.changes, plan.blocked, plan.unchanged) == ((), (), (), 1)
    world.apply(forget(seen.located[vm.name]))
    assert domain == SimDomain(config, live, state)


@quick
@given(foreign_configs(), st.sampled_from(["name", "disk", "nic", "bus", "mac"]))
def test_what_a_manifest_cannot_express_is_not_adopted(config: DomainConfig, wrong: str) -> None:
    disk = DiskConfig("vdz", "virtio", "/x", "raw")
    nic = InterfaceConfig("52:54:00:00:00:77", "lan", None)
    config = {
        "name": replace(config, name=".hidden"),
        "disk": replace(config, disks=(replace(disk, path="rbd:pool/x"),)),
        "nic": replace(config, interfaces=(replace(nic, network=None),)),
        "bus": replace(config, disks=(replace(disk, bus="xen"),)),
        "mac": replace(config, interfaces=(replace(nic, mac="01:00:5e:00:00:01"),)),
    }[wrong]
    world = World()
    host = world.add_host("lab1")
    host.domains[config.uuid] = SimDomain(config)
    observed = host.observe()
    with pytest.raises(ReconcilerError, match="cannot be adopted"):
        adopt(observed.domains[config.uuid], Place(host.host, observed), OWNER)
