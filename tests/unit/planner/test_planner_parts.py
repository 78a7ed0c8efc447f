"""The parts of the planner on their own: capacity, limits, order, memo, conditions."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from planner_world import GI, World, desired_state, uid

from reconciler.model.config import LimitsConfig
from reconciler.model.domain import DomainState
from reconciler.model.operations import Start
from reconciler.model.placement import Phase, Record
from reconciler.model.plan import Action, ActionResult, Blocked, Impact, Outcome
from reconciler.model.status import Condition
from reconciler.planner import Memo, Survey, conditions, machine, make_plan, survey
from reconciler.planner.limits import deletion_limit
from reconciler.planner.ordering import ordered

MI = 1 << 20


def action(name: str, *after: str) -> Action:
    return Action(name, "lab1", "a", uid(1), Start(), Impact.NONE, "", after)


class TestOrder:
    def test_ties_keep_their_place(self) -> None:
        actions = [action("c", "a"), action("b"), action("a"), action("d")]
        assert [a.id for a in ordered(actions)] == ["b", "a", "c", "d"]

    def test_a_circle_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="a, b"):
            ordered([action("a", "b"), action("b", "a"), action("c")])

    def test_what_is_not_there_is_not_waited_for(self) -> None:
        assert [a.id for a in ordered([action("a", "elsewhere")])] == ["a"]


@pytest.mark.parametrize(
    ("ours", "limits", "limit"),
    [
        (1, {}, 1),
        (5, {}, 1),
        (6, {}, 2),
        (100, {}, 10),
        (3, {"deletions": 0}, 0),
        (50, {"deletions_percent": 100}, 10),
    ],
)
def test_both_deletion_limits_hold_and_one_is_always_possible(ours: int, limits: Any, limit: int) -> None:
    assert deletion_limit(ours, LimitsConfig(**limits)) == limit


class TestCapacity:
    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.add_host(
            "lab1", cpu_overcommit=2.0, memory_overcommit=1.5, reserved_memory=GI, labels={"rack": "r1"}
        )
        world.add_host("lab2", maintenance=True)
        return world

    def seen(self, world: World, machines: dict[str, Any], **definitions: Any) -> Survey:
        return survey(world.situation(desired_state(machines, **definitions)))

    def test_a_host_carries_what_it_really_has_times_overcommit(self, world: World) -> None:
        lab1, lab2 = self.seen(world, {}).capacities
        assert (lab1.name, lab1.cpus, lab1.memory, lab1.labels) == ("lab1", 16, 10.5 * GI, {"rack": "r1"})
        assert lab1.pools == {"default": 50 * GI}
        assert lab2.maintenance
        assert lab2.alive

    def test_a_silent_host_keeps_the_tenants_on_record_with_their_wishes(self, world: World) -> None:
        wish = {"antiAffinity": [{"selector": {"app": "web"}}]}
        machines = {"a": {"labels": {"app": "web"}, "placement": wish, "memory": "1Gi"}}
        world.settle(desired_state(machines))
        world.hosts["lab1"].down = "no route"
        lab1 = self.seen(world, machines).capacities[0]
        assert not lab1.alive
        assert lab1.message == "Unreachable"
        [tenant] = lab1.tenants
        assert (tenant.vm, tenant.memory, tenant.labels) == ("a", GI, {"app": "web"})
        assert tenant.placement.anti_affinity[0].selector == {"app": "web"}

    def test_running_and_leaving_machines_hold_room_and_stopped_strangers_none(self, world: World) -> None:
        world.settle(desired_state({"a": {"maxMemory": "1Gi", "maxCpus": 4}, "b": {}, "c": {}, "d": {}}))
        for domain in world.hosts["lab1"].domains.values():
            if domain.config.name in ("c", "d"):
                domain.applied = domain.applied_live = None
            if domain.config.name == "d":
                domain.live, domain.state = None, DomainState.SHUT_OFF
        world.records = {}
        tenants = {t.vm: t for t in self.seen(world, {"a": {}}).capacities[0].tenants}
        assert (tenants["a"].memory, tenants["a"].cpus) == (GI, 4)
        assert tenants["b"].leaving
        assert not tenants["c"].ours
        assert "d" not in tenants

    def test_an_intent_that_waits_holds_its_room_and_its_disk_space(self, world: World) -> None:
        world.records = {"a": Record("a", uid(1), "lab1", 1, Phase.INTENDED)}
        world.held = {"a": Blocked("a", "RetryLater", "later")}
        [tenant] = self.seen(world, {"a": {"rootDisk": {"size": "3Gi"}}}).capacities[0].tenants
        assert (tenant.vm, tenant.disks) == ("a", {"": 3 * GI})

    def test_an_intent_that_is_resumed_asks_first_and_holds_nothing_yet(self, world: World) -> None:
        world.records = {"z": Record("z", uid(1), "lab1", 1, Phase.INTENDED)}
        seen = self.seen(world, {"a": {}, "z": {}})
        assert [(d.vm, d.only) for d in seen.demands] == [("z", "lab1"), ("a", None)]
        assert seen.capacities[0].tenants == ()

    def test_what_a_machine_asks_for(self, world: World) -> None:
        spec = {
            "instanceType": "small",
            "image": "debian",
            "disks": [{"name": "data", "size": "2Gi", "pool": "fast"}, {"name": "iso", "path": "/srv/iso"}],
            "interfaces": [{"network": "lan"}, {"bridge": "br0"}],
            "firmware": "uefi",
        }
        seen = self.seen(
            world,
            {"a": spec},
            types={"small": {"cpus": 2, "maxCpus": 4, "memory": "1Gi", "rootDiskSize": "5Gi"}},
            images={"debian": {"architecture": "aarch64"}},
        )
        [demand] = seen.demands
        assert (demand.cpus, demand.memory) == (4, GI)
        assert demand.disks == {"": 5 * GI, "fast": 2 * GI}
        assert (demand.networks, demand.bridges) == ({"lan"}, {"br0"})
        assert (demand.arch, demand.firmware) == ("aarch64", "uefi")

    def test_kept_disks_need_no_room(self, world: World) -> None:
        world.hosts["lab1"].pools["default"] = {f"a.{uid(5)}.root.qcow2"}
        [demand] = self.seen(world, {"a": {"rootDisk": {"size": "5Gi"}}}).demands
        assert (demand.only, demand.disks) == ("lab1", {})


class TestMemo:
    def test_an_unchanged_machine_is_not_compared_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World()
        world.add_host("lab1")
        desired = desired_state({"a": {}, "b": {}}, templates={})
        world.settle(desired)
        compared: list[str] = []
        real = machine.domain_config
        monkeypatch.setattr(
            machine,
            "domain_config",
            lambda plan, *rest: compared.append(plan.name) or real(plan, *rest),  # type: ignore[func-returns-value]
        )
        situation, memo = world.situation(desired), Memo()

        def tick(situation: Any) -> list[str]:
            compared.clear()
            seen = survey(situation, memo)
            make_plan(seen, {}, uid, memo)
            return list(compared)

        assert tick(situation) == ["a", "b"]
        assert tick(situation) == []
        lab1 = situation.fleet["lab1"]
        assert tick(replace(situation, fleet={"lab1": replace(lab1, message="a warning")})) == []
        moved = {
            key: replace(domain) if domain.name == "a" else domain for key, domain in lab1.domains.items()
        }
        assert tick(replace(situation, fleet={"lab1": replace(lab1, domains=moved)})) == ["a"]
        edited = replace(desired, machines={**desired.machines, "b": desired.machines["b"].model_copy()})
        assert tick(replace(situation, desired=edited)) == ["a", "b"]
        assert tick(replace(situation, desired=edited)) == []
        slower = {"lab1": replace(situation.hosts["lab1"], pool="slow")}
        assert tick(replace(situation, desired=edited, hosts=slower)) == ["a", "b"]


def told(found: dict[str, tuple[Condition, ...]], name: str) -> dict[str, str]:
    return {condition.type: f"{condition.status} {condition.reason}" for condition in found[name]}


class TestConditions:
    @pytest.fixture
    def world(self) -> World:
        world = World()
        world.add_host("lab1")
        return world

    def test_a_machine_that_is_as_it_shall_be(self, world: World) -> None:
        desired = desired_state({"a": {}})
        world.settle(desired)
        memo = Memo()
        seen, plan = world.plan(desired)
        found = conditions(seen, plan, now=5.0, memo=memo)
        assert told(found, "a") == {
            "Ready": "True Running",
            "Synced": "True InSync",
            "Placed": "True Placed",
            "RestartRequired": "False NothingWaits",
            "ReplaceRequired": "False NothingWaits",
        }
        assert {c.observed_generation for c in found["a"]} == {1}
        assert {c.last_transition_time for c in found["a"]} == {5.0}
        assert conditions(seen, plan, now=6.0, memo=memo)["a"] is found["a"]

    def test_before_and_after_its_creation(self, world: World) -> None:
        seen, plan = world.plan(desired_state({"a": {}}))
        before = told(conditions(seen, plan), "a")
        assert (before["Ready"], before["Synced"]) == ("False NotCreated", "False ChangesPending")
        results = [ActionResult(a.id, a.host, a.vm, Outcome.CHANGED) for a in plan.actions]
        after = told(conditions(seen, plan, results), "a")
        assert (after["Ready"], after["Synced"], after["Placed"]) == (
            "True Running",
            "True Applied",
            "True Placed",
        )
        results[0] = replace(results[0], outcome=Outcome.FAILED, reason="NameTaken", message="no")
        failed = told(conditions(seen, plan, results), "a")
        assert (failed["Ready"], failed["Synced"]) == ("False NameTaken", "False NameTaken")

    def test_restart_and_replace_wait_and_vanish_when_undone(self, world: World) -> None:
        images = {"debian": {}, "fedora": {}}
        world.settle(desired_state({"a": {"image": "debian"}}, images=images))
        seen, plan = world.plan(desired_state({"a": {"image": "fedora", "cpus": 2}}, images=images))
        world.apply(plan)
        waiting = told(conditions(seen, plan), "a")
        assert waiting["RestartRequired"] == "True ChangesWait"
        assert waiting["ReplaceRequired"] == "True ChangesWait"
        undone = desired_state({"a": {"image": "debian"}}, images=images)
        world.settle(undone)
        seen, plan = world.plan(undone)
        assert told(conditions(seen, plan), "a")["RestartRequired"] == "False NothingWaits"

    def test_a_host_out_of_sight_makes_everything_unknown(self, world: World) -> None:
        desired = desired_state({"a": {}})
        world.settle(desired)
        world.hosts["lab1"].down = "no route"
        seen, plan = world.plan(desired)
        found = told(conditions(seen, plan), "a")
        assert found["Ready"] == found["Placed"] == found["RestartRequired"] == "Unknown HostUnknown"
        assert found["Synced"] == "False HostUnknown"

    def test_a_guest_that_still_has_what_it_started_with(self, world: World) -> None:
        desired = desired_state(
            {"a": {"maxMemory": "256Mi"}, "b": {"maxMemory": "256Mi", "ignore": ["memory"]}}
        )
        world.settle(desired)
        for name in ("a", "b"):
            domain = world.domain(f"lab1/{name}")
            assert domain.live is not None
            domain.live = replace(domain.live, memory=200 * MI)
        seen, plan = world.plan(desired)
        found = conditions(seen, plan)
        assert (told(found, "a")["Synced"], told(found, "b")["Synced"]) == (
            "False BalloonPending",
            "True InSync",
        )
        assert "200Mi" in next(c.message for c in found["a"] if c.type == "Synced")

    def test_paused_suspended_halted_and_refused(self, world: World) -> None:
        desired = desired_state(
            {"a": {}, "b": {"suspend": True}, "c": {"runStrategy": "Halted"}, "d": {"memory": "99Gi"}}
        )
        world.settle(desired)
        world.domain("lab1/a").state = DomainState.PAUSED
        seen, plan = world.plan(desired)
        found = conditions(seen, plan)
        assert told(found, "a")["Ready"] == "False Paused"
        assert told(found, "a")["Synced"] == "False Drifted"
        assert told(found, "b")["Synced"] == "Unknown Suspended"
        assert told(found, "c")["Ready"] == "True ShutOff"
        assert told(found, "d")["Placed"] == "False NoHostFits"


def test_a_world_that_says_no_to_the_planner_says_so() -> None:
    """The simulator's own safeguards work: without them the property tests would prove nothing."""
    world = World()
    world.add_host("lab1")
    world.add_host("lab2")
    desired = desired_state({"a": {}})
    _, plan = world.plan(desired)
    world.apply(plan)
    elsewhere = replace(plan, actions=tuple(replace(a, host="lab2") for a in plan.actions))
    with pytest.raises(AssertionError, match="exist twice"):
        world.apply(elsewhere)
    stranger = SimpleNamespace(actions=tuple(a for a in plan.actions if a.id.endswith("start")), changes=())
    world.domain("lab1/a").applied = None
    with pytest.raises(AssertionError):
        world.apply(stranger)  # type: ignore[arg-type]
