from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.model.config import RetryConfig
from reconciler.model.status import Retry
from reconciler.planner.backoff import Failure, next_retry

NOW = 1_000_000.0
JITTER = st.floats(0, 1)
FAILURE = Failure("web-1", "spec-a", "pool full")


def delays(jitters: list[float], first: float, cap: float) -> list[float]:
    """Seconds to wait after each of so many failures in a row."""
    found: list[float] = []
    retry: Retry | None = None
    for jitter in jitters:
        retry = next_retry(retry, FAILURE, 0.0, jitter, RetryConfig(first=first, cap=cap))
        found.append(retry.not_before)
    return found


@given(st.lists(JITTER, min_size=1, max_size=80), st.integers(0, 3600), st.integers(0, 86400))
def test_never_longer_than_the_cap_nor_shorter_than_half_of_what_is_due(
    jitters: list[float], first: int, cap: int
) -> None:
    for attempt, delay in enumerate(delays(jitters, first, cap)):
        due = min(cap, first * 2**attempt)
        assert due / 2 <= delay <= due <= cap


@given(st.lists(JITTER, min_size=2, max_size=80), st.integers(1, 3600))
def test_grows_until_the_cap_whatever_the_jitter(jitters: list[float], first: int) -> None:
    cap = first * 2**10
    found = delays(jitters, first, cap)[:11]
    assert found == sorted(found)


@given(st.integers(1, 10**9), JITTER)
def test_counts_failures_of_the_same_spec_in_a_row(attempts: int, jitter: float) -> None:
    before = Retry("web-1", attempts, NOW, terminal=False, spec_hash="spec-a")
    after = next_retry(before, FAILURE, NOW, jitter, RetryConfig())
    assert after.attempts == attempts + 1
    assert after.message == "pool full"
    assert after.not_before <= NOW + 600


@given(st.integers(2, 100), st.booleans(), JITTER)
def test_another_spec_starts_again(attempts: int, terminal: bool, jitter: float) -> None:
    before = Retry("web-1", attempts, NOW + 500, terminal, "spec-b")
    after = next_retry(before, FAILURE, NOW, jitter, RetryConfig())
    assert after.attempts == 1
    assert after.not_before <= NOW + 5


@given(st.floats(0, 10**9), JITTER)
def test_a_terminal_failure_blocks_until_the_spec_changes(later: float, jitter: float) -> None:
    failure = Failure("web-1", "spec-a", "NameTaken", terminal=True)
    retry = next_retry(None, failure, NOW, jitter, RetryConfig())
    assert retry.blocks("spec-a", NOW + later)
    assert not retry.blocks("spec-b", NOW)


@given(st.floats(0, 10_000), JITTER)
def test_blocks_exactly_until_its_time(later: float, jitter: float) -> None:
    retry = next_retry(None, FAILURE, NOW, jitter, RetryConfig())
    assert retry.blocks("spec-a", NOW + later) == (NOW + later < retry.not_before)


@given(st.floats(allow_nan=True))
def test_jitter_out_of_bounds_is_refused(jitter: float) -> None:
    assume(not 0 <= jitter <= 1)
    with pytest.raises(ValueError, match="jitter"):
        next_retry(None, FAILURE, NOW, jitter, RetryConfig())
