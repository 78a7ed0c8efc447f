from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reconciler.model.status import Condition, ConditionStatus
from reconciler.store.base import Subject
from reconciler.store.sql import SqlStore

TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
READY = Condition("Ready", TRUE, "Running", "", 10.0, 1)
SYNCED = Condition("Synced", TRUE, "UpToDate", "", 10.0, 1)


def test_read_back_ordered_by_type(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    store.set_conditions(Subject.VM, {"web-1": [SYNCED, READY]})
    store.set_conditions(Subject.HOST, {"alpha": [replace(READY, status=FALSE)]})
    fresh = open_again()
    assert fresh.conditions(Subject.VM) == store.conditions(Subject.VM) == {"web-1": (READY, SYNCED)}
    assert fresh.conditions(Subject.HOST) == {"alpha": (replace(READY, status=FALSE),)}


def test_the_transition_time_stays_until_the_status_changes(store: SqlStore) -> None:
    store.set_conditions(Subject.VM, {"web-1": [READY]})
    store.set_conditions(Subject.VM, {"web-1": [replace(READY, reason="Other", last_transition_time=20.0)]})
    assert store.conditions(Subject.VM)["web-1"] == (replace(READY, reason="Other"),)
    down = replace(READY, status=FALSE, last_transition_time=30.0)
    store.set_conditions(Subject.VM, {"web-1": [down]})
    assert store.conditions(Subject.VM)["web-1"] == (down,)


def test_a_condition_that_is_left_out_is_gone(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    store.set_conditions(Subject.VM, {"web-1": [READY, SYNCED], "web-2": [READY]})
    assert store.set_conditions(Subject.VM, {"web-1": [READY]}) == {"web-1": (READY,)}
    assert open_again().conditions(Subject.VM) == {"web-1": (READY,), "web-2": (READY,)}


def test_a_subject_goes_only_when_the_set_is_complete(store: SqlStore) -> None:
    store.set_conditions(Subject.VM, {"web-1": [READY], "web-2": [READY]})
    store.set_conditions(Subject.HOST, {"web-1": [READY]})
    assert store.set_conditions(Subject.VM, {"web-2": [READY]}) == {}
    assert store.set_conditions(Subject.VM, {"web-2": [READY]}, complete=True) == {"web-1": ()}
    assert store.conditions(Subject.VM) == {"web-2": (READY,)}
    assert store.conditions(Subject.HOST) == {"web-1": (READY,)}


def test_an_idle_tick_of_twenty_thousand_machines_writes_nothing(store: SqlStore, folder: Path) -> None:
    def at(now: float) -> dict[str, list[Condition]]:
        ready = replace(READY, last_transition_time=now)
        return {f"vm-{number}": [ready, SYNCED] for number in range(20_000)}

    assert len(store.set_conditions(Subject.VM, at(1.0), complete=True)) == 20_000
    before = store.conditions(Subject.VM)
    files = _content(folder)
    assert store.set_conditions(Subject.VM, at(2.0), complete=True) == {}
    assert store.set_conditions(Subject.VM, before, complete=True) == {}
    assert _content(folder) == files
    assert store.conditions(Subject.VM) is before
    one = {**at(3.0), "vm-7": [replace(READY, status=FALSE)]}
    assert list(store.set_conditions(Subject.VM, one, complete=True)) == ["vm-7"]
    assert _content(folder) != files, "this test could see a write"


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
