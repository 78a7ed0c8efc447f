"""Answers that are remembered under a key, and operations: each step is taken by one process only."""

import pytest

from reconciler.model.request import RequestState
from reconciler.store.api import OPERATIONS_KEPT
from reconciler.store.base_api import REMEMBERED_FOR
from reconciler.store.sql import open_store

PENDING, RUNNING, DONE = RequestState.PENDING, RequestState.RUNNING, RequestState.DONE


@pytest.fixture
def stores(tmp_path):
    """Two processes' view of one store."""
    found = [open_store(tmp_path), open_store(tmp_path)]
    yield found
    for one in found:
        one.close()


def test_only_the_first_begins_and_the_others_find_its_answer(stores):
    one, other = stores
    assert one.begin_once("k", "r", "w1", 1.0) is None
    assert other.begin_once("k", "r", "w2", 2.0).answer == ""
    assert one.finish_once("k", "w1", "{}")
    assert (other.begin_once("k", "x", "w2", 3.0).request, other.begin_once("k", "r", "w2", 3.0).answer) == (
        "r",
        "{}",
    )


def test_only_one_takes_over_and_the_one_before_is_out(stores):
    one, other = stores
    one.begin_once("k", "r", "dead", 1.0)
    assert one.take_over_once("k", "dead", "w1")
    assert not other.take_over_once("k", "dead", "w2")
    assert not other.finish_once("k", "dead", "{}")
    assert one.finish_once("k", "w1", "{}")
    assert not other.take_over_once("k", "w1", "w2")


def test_what_was_left_undone_is_forgotten_and_else_it_waits_for_one_who_looks(stores):
    one, other = stores
    one.begin_once("a", "r", "w1", 1.0)
    one.begin_once("b", "r", "w1", 1.0)
    other.leave_once("a", "not me", undone=True)
    assert other.begin_once("a", "r", "w2", 1.0).worker == "w1"
    one.leave_once("a", "w1", undone=True)
    one.leave_once("b", "w1", undone=False)
    assert other.begin_once("a", "r", "w2", 1.0) is None
    assert other.begin_once("b", "r", "w2", 1.0).worker == ""


def test_keys_are_forgotten_after_a_day_and_not_before(stores):
    one, other = stores
    one.begin_once("k", "r", "w1", 1.0)
    assert other.begin_once("k", "r", "w2", REMEMBERED_FOR) is not None
    assert other.begin_once("k", "r", "w2", REMEMBERED_FOR + 2) is None


def test_a_transaction_that_fails_leaves_no_answer(stores):
    one, other = stores
    one.begin_once("k", "r", "w1", 1.0)

    def fail():
        with one.transaction():
            one.finish_once("k", "w1", "{}")
            one.add_operation("apply", "", "ann", "{}", 1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert other.begin_once("k", "r", "w2", 1.0).answer == ""
    assert other.operations() == ()


def test_each_step_of_an_operation_is_taken_once(stores):
    one, other = stores
    number = one.add_operation("apply", "", "ann", "{}", 1.0)
    assert [found.id for found in other.open_operations()] == [number]
    assert one.step_operation(number, PENDING, RUNNING, "", 2.0)
    assert not other.step_operation(number, PENDING, RequestState.CANCELLED, "", 2.0)
    assert other.step_operation(number, RUNNING, DONE, "all is well", 3.0)
    found = one.operation(number)
    assert (found.state, found.message, found.asked, found.changed) == (DONE, "all is well", 1.0, 3.0)
    assert one.open_operations() == ()


def test_old_final_operations_go_and_open_ones_stay(stores):
    one, _ = stores
    first = one.add_operation("apply", "", "ann", "{}", 1.0)
    second = one.add_operation("apply", "", "ann", "{}", 1.0)
    one.step_operation(second, PENDING, DONE, "", 1.0)
    with one.transaction():
        for _ in range(OPERATIONS_KEPT):
            one.add_operation("wait", "", "ann", "{}", 1.0)
    assert one.operation(first) is not None
    assert one.operation(second) is None
