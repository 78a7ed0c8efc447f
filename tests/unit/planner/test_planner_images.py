"""A new version of an image changes no machine, and an old one goes only when nothing needs it any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_world import World, desired_state

from reconciler.bookkeeping.images import note_images, stale_images
from reconciler.model.config import ImagesConfig, LimitsConfig
from reconciler.model.desired import DesiredState
from reconciler.model.host import Pool
from reconciler.model.operations import DeleteImage, EnsureImage
from reconciler.model.placement import ImageKey, image_volume_name, parse_image_volume_name, part_name
from reconciler.model.plan import ActionResult, Outcome, Plan, Verb
from reconciler.planner import check_limits, make_plan, survey
from reconciler.planner.resources.images import image_volumes
from reconciler.store.sql import SqlStore

OLD, NEW, NEWER = "a" * 64, "b" * 64, "c" * 64
DAY = 24 * 3600.0


def volume(digest: str, image: str = "debian") -> str:
    return image_volume_name(image, digest, "qcow2")


def wanting(digest: str | None, *machines: str, **spec: Any) -> DesiredState:
    images: Mapping[str, Mapping[str, Any]] = {} if digest is None else {"debian": {"sha256": digest}}
    return desired_state({name: {"image": "debian", **spec} for name in machines}, images=images)


def needed(world: World, desired: DesiredState) -> dict[str, bool]:
    return {key[2]: word for key, word in image_volumes(world.situation(desired))}


def going(world: World, desired: DesiredState, *stale: ImageKey) -> list[ImageKey]:
    """What the plan deletes, if the store says that these were not needed for long."""
    situation = replace(world.situation(desired), stale_images=frozenset(stale))
    plan = make_plan(survey(situation), {}, world.new_uid)
    check_limits(plan, survey(situation), LimitsConfig(deletions=0))
    changes = {change.vm for change in plan.changes if change.verb is Verb.DELETE}
    found = [a for a in plan.actions if isinstance(a.operation, DeleteImage)]
    assert {action.vm for action in found} == changes
    return [(a.host, a.operation.pool, a.operation.volume) for a in found]  # type: ignore[union-attr]


@pytest.fixture
def world() -> World:
    world = World()
    world.add_host("h1")
    return world


@given(
    st.text(
        st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=63
    ),
    st.sampled_from([OLD, NEW * 2]),
    st.sampled_from(["qcow2", "raw"]),
)
def test_a_volume_name_tells_its_image(image: str, digest: str, fmt: str) -> None:
    name = image_volume_name(image, digest, fmt)
    assert (
        parse_image_volume_name(name) == parse_image_volume_name(part_name(name)) == (image, digest[:16], fmt)
    )
    for other in (
        f".{name}",
        f"{name}.part",
        f"{name}2",
        f"a.{name}",
        name.replace(digest[:16], digest[:15]),
    ):
        assert parse_image_volume_name(other) is None


def test_a_new_version_changes_no_machine_and_new_machines_get_it(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    assert world.plan(wanting(NEW, "a"))[1].empty
    _, plan = world.plan(wanting(NEW, "a", "b"))
    assert {change.vm for change in plan.changes} == {"b"}
    brought = [action.operation for action in plan.actions if isinstance(action.operation, EnsureImage)]
    assert [step.volume for step in brought] == [volume(NEW)]


def test_what_is_current_or_under_a_machine_is_needed(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    world.settle(wanting(NEW, "a", "b"))
    world.hosts["h1"].pools["default"] |= {volume(NEWER), part_name(volume(NEW)), part_name(volume(NEWER))}
    now = wanting(NEW, "a", "b")
    assert needed(world, now) == {
        volume(OLD): True,
        volume(NEW): True,
        part_name(volume(NEW)): True,
        volume(NEWER): False,
        part_name(volume(NEWER)): False,
    }
    world.settle(wanting(NEW, "b", deletionPolicy="Delete"))
    assert needed(world, wanting(NEW, "b"))[volume(OLD)] is False


def test_a_machine_that_changes_goes_on_to_need_what_it_was_made_of(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    world.settle(wanting(NEW, "a", description="changed", protect=True))
    assert needed(world, wanting(NEW, "a"))[volume(OLD)] is True


def test_a_machine_that_came_back_to_its_disk_may_need_any_version(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    world.settle(wanting(OLD))  # its disk is kept
    world.settle(wanting(NEW, "a"))
    assert needed(world, wanting(NEW, "a"))[volume(OLD)] is True


def test_only_what_was_long_unneeded_and_still_is_goes(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    world.hosts["h1"].pools["default"] |= {volume(NEWER), "debian.qcow2", volume(NEWER, "stranger")}
    old, newer = ("h1", "default", volume(OLD)), ("h1", "default", volume(NEWER))
    now = wanting(NEW, "a")
    assert going(world, now) == []
    assert going(world, now, old, newer, ("h1", "default", "debian.qcow2")) == [newer]
    world.hosts["h1"].down = "no route"
    assert going(world, now, newer) == []


def test_a_shared_pool_is_asked_everywhere_and_emptied_once(world: World) -> None:
    world.add_host("h2")
    for host in world.hosts.values():
        host.pools["nfs"] = {volume(OLD)}
        host.described["nfs"] = Pool("nfs", "netfs", "/pool/nfs", True, 1 << 40, 1 << 39)
    keys = [(host, "nfs", volume(OLD)) for host in ("h1", "h2")]
    assert going(world, wanting(NEW), *keys) == keys[:1]
    world.settle(wanting(OLD, "a", rootDisk={"pool": "nfs"}, placement={"host": "h2"}))
    assert going(world, wanting(NEW, "a"), *keys) == []
    world.settle(wanting(OLD, rootDisk={"pool": "nfs"}))
    world.hosts["h2"].down = "no route"
    assert going(world, wanting(NEW), *keys) == [], "it may be needed where nobody answers"


def test_an_image_of_unknown_digest_holds_up_new_machines_only(world: World) -> None:
    world.settle(wanting(OLD, "a"))
    unknown = {"path": None, "sha256": None, "url": "https://x/debian.qcow2", "checksums": "https://x/SUMS"}
    now = desired_state({"a": {"image": "debian"}, "b": {"image": "debian"}}, images={"debian": unknown})
    _, plan = world.plan(now)
    assert plan.actions == ()
    assert [(one.vm, one.reason) for one in plan.blocked] == [("b", "ChecksumUnknown")]
    assert "https://x/SUMS" in plan.blocked[0].message
    assert needed(world, now)[volume(OLD)] is True


class Keeper:
    """The store's memory of images over days."""

    def __init__(self, world: World, store: SqlStore) -> None:
        self.world = world
        self.store = store

    def tick(self, desired: DesiredState, day: float, outcome: Outcome = Outcome.CHANGED) -> Plan:
        now = day * DAY
        situation = self.world.situation(desired)
        seen = survey(replace(situation, stale_images=stale_images(self.store, ImagesConfig(), now)))
        decisions = self.world.plan(desired)[1]
        plan = decisions if not seen.situation.stale_images else make_plan(seen, {}, self.world.new_uid)
        results = [ActionResult(a.id, a.host, a.vm, outcome) for a in plan.actions]
        if outcome is Outcome.CHANGED and plan is decisions:
            self.world.apply(plan)
        note_images(self.store, seen, plan, results, now)
        return plan


def test_the_memory_of_images(world: World, tmp_path: Any) -> None:
    keeper = Keeper(world, SqlStore(tmp_path))
    old, new = ("h1", "default", volume(OLD)), ("h1", "default", volume(NEW))
    keeper.tick(wanting(OLD, "a"), 1)
    assert keeper.store.image_uses() == {old: DAY}
    keeper.tick(wanting(NEW, "a", "b"), 2)
    assert keeper.store.image_uses() == {old: 2 * DAY, new: 2 * DAY}
    keeper.tick(wanting(NEW, "b"), 3)
    assert keeper.store.image_uses()[old] == 3 * DAY, "it was there when this tick looked"
    assert keeper.tick(wanting(NEW, "b"), 32).empty
    assert keeper.store.image_uses() == {old: 3 * DAY, new: 32 * DAY}

    plan = keeper.tick(wanting(NEW, "b"), 33, Outcome.OK)
    assert [type(action.operation) for action in plan.actions] == [DeleteImage]
    assert keeper.store.image_uses()[old] == 33 * DAY, "some disk lies over it: asked again in a month"
    assert keeper.tick(wanting(NEW, "b"), 62).empty
    keeper.tick(wanting(NEW, "b"), 63, Outcome.FAILED)
    assert old in keeper.store.image_uses()
    keeper.tick(wanting(NEW, "b"), 64, Outcome.CHANGED)
    assert old not in keeper.store.image_uses()


def test_what_others_brought_is_never_on_record(world: World, tmp_path: Any) -> None:
    keeper = Keeper(world, SqlStore(tmp_path))
    world.hosts["h1"].pools["default"] |= {volume(OLD), volume(NEW)}
    keeper.tick(wanting(OLD, "a"), 1, Outcome.OK)
    keeper.tick(wanting(OLD, "a"), 100, Outcome.OK)
    assert keeper.store.image_uses() == {}


def test_a_transfer_that_failed_is_remembered_by_its_part(world: World, tmp_path: Any) -> None:
    keeper = Keeper(world, SqlStore(tmp_path))
    part = ("h1", "default", part_name(volume(OLD)))
    keeper.tick(wanting(OLD, "a"), 1, Outcome.FAILED)
    assert keeper.store.image_uses() == {part: DAY}
    world.hosts["h1"].pools["default"].add(part[2])
    assert [a.id for a in keeper.tick(wanting(None), 40).actions] == [
        f"Image/debian@h1/delete-image/default/{part[2]}"
    ]


def test_a_volume_that_somebody_deleted_is_forgotten(world: World, tmp_path: Any) -> None:
    keeper = Keeper(world, SqlStore(tmp_path))
    keeper.tick(wanting(OLD, "a"), 1)
    world.hosts["h1"].pools["default"].discard(volume(OLD))
    world.hosts["h1"].down = "no route"
    keeper.tick(wanting(OLD, "a"), 2)
    assert len(keeper.store.image_uses()) == 1, "whoever does not answer proves nothing"
    world.hosts["h1"].down = None
    keeper.tick(wanting(OLD, "a"), 3)
    assert keeper.store.image_uses() == {}


def test_images_are_kept_for_ever_if_people_say_so(tmp_path: Any) -> None:
    store = SqlStore(tmp_path)
    store.note_image_uses([("h1", "default", volume(OLD))], 0.0)
    assert stale_images(store, ImagesConfig(keep_unused_for=None), 1e12) == frozenset()
    assert len(stale_images(store, ImagesConfig(keep_unused_for=0), 0.0)) == 1
