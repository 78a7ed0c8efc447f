"""The store against a model of plain dictionaries, closed and opened at any moment."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler.model.placement import Phase, Record
from reconciler.model.status import Condition, ConditionStatus
from reconciler.store.base import IntentConflictError, Subject
from reconciler.store.conditions import find_changes
from reconciler.store.records import find_conflicts
from reconciler.store.sql import SqlStore

NAMES = st.sampled_from(["a", "b", "c", "d"])
RECORDS = st.builds(
    Record,
    vm=NAMES,
    uid=st.sampled_from(["u1", "u2", "u3"]),
    host=st.sampled_from(["x", "y"]),
    generation=st.integers(1, 3),
    phase=st.sampled_from(Phase),
)
BATCHES = st.lists(RECORDS, max_size=4)
CONDITIONS = st.dictionaries(
    NAMES,
    st.lists(
        st.builds(
            Condition,
            type=st.sampled_from(["Ready", "Synced", "Placed"]),
            status=st.sampled_from(ConditionStatus),
            reason=st.sampled_from(["Good", "Bad"]),
            message=st.sampled_from(["", "text"]),
            last_transition_time=st.floats(0, 100),
            observed_generation=st.integers(0, 2),
        ),
        unique_by=lambda condition: condition.type,
        max_size=3,
    ),
)


def _by_name(batch: list[Record]) -> dict[str, Record]:
    return {record.vm: record for record in batch}


@given(BATCHES, BATCHES, st.frozensets(NAMES))
def test_what_does_not_conflict_moves_nobody_and_shares_no_uid(
    before: list[Record], batch: list[Record], void: frozenset[str]
) -> None:
    existing, wanted = _by_name(before), _by_name(batch)
    if len({record.uid for record in existing.values()}) < len(existing):
        return
    if list(find_conflicts(wanted, existing, void)):
        return
    after = {**{vm: record for vm, record in existing.items() if vm not in void}, **wanted}
    uids = [record.uid for record in after.values()]
    assert len(uids) == len(set(uids))
    for vm in wanted.keys() & existing.keys() - void:
        assert (after[vm].uid, after[vm].host) == (existing[vm].uid, existing[vm].host)


@given(BATCHES)
def test_repeating_what_is_on_record_is_no_conflict(batch: list[Record]) -> None:
    existing = {record.uid: record for record in batch}
    standing = _by_name(list(existing.values()))
    assert list(find_conflicts(standing, standing, frozenset())) == []


@given(CONDITIONS, CONDITIONS)
def test_setting_conditions_twice_changes_nothing_the_second_time(
    before: dict[str, list[Condition]], given_: dict[str, list[Condition]]
) -> None:
    def merged(stored: dict[str, tuple[Condition, ...]], new: dict[str, list[Condition]]) -> None:
        changed = dict(find_changes(stored, new, complete=True))
        stored.update(changed)
        for name in [name for name, conditions in stored.items() if not conditions]:
            del stored[name]

    stored: dict[str, tuple[Condition, ...]] = {}
    merged(stored, before)
    merged(stored, given_)
    assert dict(find_changes(stored, given_, complete=True)) == {}
    assert stored.keys() == {name for name, conditions in given_.items() if conditions}


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = SqlStore(Path(self.folder.name))
        self.other = SqlStore(Path(self.folder.name))
        self.records: dict[str, Record] = {}
        self.told: dict[str, list[Condition]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.other.close()
        self.folder.cleanup()

    @rule(batch=BATCHES, void=st.frozensets(NAMES, max_size=1))
    def commit(self, batch: list[Record], void: frozenset[str]) -> None:
        wanted = _by_name(batch)
        conflicts = list(find_conflicts(wanted, self.records, void))
        if conflicts:
            with pytest.raises(IntentConflictError) as caught:
                self.store.commit_intents(batch, void=void)
            assert list(caught.value.conflicts) == conflicts
            return
        self.store.commit_intents(batch, void=void)
        for vm in void:
            self.records.pop(vm, None)
        self.records.update(wanted)

    @rule(batch=BATCHES)
    def put_elsewhere(self, batch: list[Record]) -> None:
        self.other.put_records(list(_by_name(batch).values()))
        self.records.update(_by_name(batch))

    @rule(names=st.lists(NAMES, max_size=3))
    def delete(self, names: list[str]) -> None:
        self.store.delete_records(names)
        for name in names:
            self.records.pop(name, None)

    @rule(conditions=CONDITIONS, complete=st.booleans())
    def tell(self, conditions: dict[str, list[Condition]], complete: bool) -> None:
        self.store.set_conditions(Subject.VM, conditions, complete=complete)
        self.told = conditions if complete else {**self.told, **conditions}

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = SqlStore(Path(self.folder.name))

    @invariant()
    def both_processes_see_the_same(self) -> None:
        assert self.store.records() == self.other.records() == self.records
        seen = self.store.conditions(Subject.VM)
        assert seen == self.other.conditions(Subject.VM)
        assert {name: [c.type for c in conditions] for name, conditions in seen.items()} == {
            name: sorted(c.type for c in conditions) for name, conditions in self.told.items() if conditions
        }


StoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestStore = StoreMachine.TestCase
