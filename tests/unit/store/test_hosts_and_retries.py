from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.model.status import Retry
from reconciler.store.base import HostWord
from reconciler.store.sql import SqlStore

FAILED = Retry("web-1", 3, 1234.5, terminal=False, spec_hash="abc", message="pool full")


def test_hosts_that_answered_are_remembered(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    assert store.mark_seen(["alpha", "beta"], 1.0) == frozenset()
    before = store.seen()
    store.mark_seen(["alpha"], 2.0)
    assert store.seen() is before, "nothing new was nothing written"
    assert open_again().seen() == {"alpha", "beta"}


def test_an_operators_word_ends_when_the_host_answers(
    store: SqlStore, open_again: Callable[[], SqlStore]
) -> None:
    store.mark_seen(["beta"], 1.0)
    store.assume_empty("alpha", 2.0)
    store.declare_dead("beta", 2.0)
    assert open_again().words() == {"alpha": HostWord.EMPTY, "beta": HostWord.DEAD}
    assert store.mark_seen(["beta", "gamma"], 3.0) == {"beta"}
    assert store.words() == {"alpha": HostWord.EMPTY}
    assert store.seen() == {"beta", "gamma"}, "a word is not an answer"


def test_the_last_word_counts_and_can_be_taken_back(store: SqlStore) -> None:
    store.assume_empty("alpha", 1.0)
    store.declare_dead("alpha", 2.0)
    assert store.words() == {"alpha": HostWord.DEAD}
    store.withdraw("alpha")
    store.withdraw("never said")
    assert store.words() == {}


def test_a_word_of_another_process_is_heard(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    assert store.words() == {}
    open_again().declare_dead("alpha", 1.0)
    assert store.words() == {"alpha": HostWord.DEAD}


def test_retries_survive_a_restart(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    terminal = replace(FAILED, vm="web-2", terminal=True)
    store.put_retries([FAILED, terminal])
    store.put_retries([replace(FAILED, attempts=4)])
    assert open_again().retries() == {"web-1": replace(FAILED, attempts=4), "web-2": terminal}
    store.clear_retries(["web-1", "nobody"])
    assert store.retries() == {"web-2": terminal}
