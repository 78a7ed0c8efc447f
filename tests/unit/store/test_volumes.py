"""What the store remembers of volumes, and what a tick writes down of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.bookkeeping.volumes import living_volumes, promise_volumes
from reconciler.model.operations import ClaimVolume, CreateVolume
from reconciler.model.placement import ClaimRecord, Phase, VolumeRecord
from reconciler.model.plan import Action, Impact, Plan
from reconciler.store.sql import open_store

RECORD = VolumeRecord("data", "11111111-0000-4000-8000-000000000001", "h1", "fast", "Delete", Phase.PLACED)


def test_records_outlive_the_process(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put_volumes([RECORD])
    known = store.volumes()
    store.put_volumes([RECORD])
    assert store.volumes() is known, "nothing new is no reason to write"
    store.close()
    again = open_store(tmp_path)
    assert again.volumes() == {"data": RECORD}
    again.delete_volumes(["data", "never"])
    assert again.volumes() == {}
    again.close()


def test_a_promise_keeps_the_policy_that_is_known(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put_volumes([RECORD])
    made = [_made("data", "h2"), _made("new", "h2")]
    promise_volumes(store, Plan("r", (), tuple(made)))
    assert store.volumes() == {
        "data": replace(RECORD, host="h2", pool="slow", phase=Phase.INTENDED),
        "new": VolumeRecord("new", RECORD.uid, "h2", "slow", "Retain", Phase.INTENDED),
    }
    store.close()


def test_a_claim_is_known_to_be_ours_before_it_is_made(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    claim = ClaimVolume("nas", RECORD.uid)
    plan = Plan("r", (), (Action("a/claim-volume/d", "h1", "a", "uid-a", claim, Impact.NONE, "new"),))
    promise_volumes(store, plan)
    store.close()
    again = open_store(tmp_path)
    mine = ClaimRecord(RECORD.uid, "uid-a", "h1", "nas")
    assert again.claims() == {mine}
    again.delete_claims([replace(mine, machine="other")])
    assert again.claims() == {mine}
    again.delete_claims([mine])
    assert again.claims() == frozenset()
    again.close()


def _made(volume: str, host: str) -> Action:
    operation = CreateVolume("slow", f"volume-{volume}.{RECORD.uid}.raw", "raw", 1)
    key = f"Volume/{volume}"
    return Action(f"{key}/create-volume", host, key, RECORD.uid, operation, Impact.NONE, "new")


def test_a_host_that_was_declared_dead_has_no_volumes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put_volumes([RECORD])
    assert living_volumes(store, {}) == {"data": RECORD}
    store.declare_dead("h1", 1.0)
    assert living_volumes(store, {}) == {}
    store.close()
