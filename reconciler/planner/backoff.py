"""When a machine that failed is tried again: a value that follows from the last one, without a clock."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.config import RetryConfig
from reconciler.model.status import Retry

# Beyond this many doublings any delay has met its cap, and the number would only grow.
_MOST_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    Attributes:
        vm: The machine.
        spec_hash: The spec that was tried.
        message: What went wrong, in words.
        terminal: Trying the same spec again is pointless.
        action: Id of the action that failed.
    """

    vm: str
    spec_hash: str
    message: str = ""
    terminal: bool = False
    action: str = ""


def next_retry(
    previous: Retry | None, failure: Failure, now: float, jitter: float, config: RetryConfig
) -> Retry:
    """The retry state after one more failure.

    The delay doubles with each failure in a row of the same spec, and half of it is left to chance so
    that machines that failed together do not come back together.  Whatever the chance, a delay is at
    least as long as the one before it, until the cap is reached.

    Args:
        previous: The state before, or None at the first failure.
        failure: What failed.
        now: Epoch seconds.
        jitter: A random number from 0 (the whole delay) to 1 (half of it); given, so that this stays pure.
        config: The first delay, and the cap that no delay exceeds.

    Raises:
        ValueError: `jitter` is not within 0 and 1.
    """
    if not 0 <= jitter <= 1:
        raise ValueError(f"jitter is {jitter}, not within 0 and 1")
    same_spec = previous if previous is not None and previous.spec_hash == failure.spec_hash else None
    attempts = same_spec.attempts + 1 if same_spec else 1
    delay = min(config.cap, config.first * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
    return Retry(
        vm=failure.vm,
        attempts=attempts,
        not_before=now if failure.terminal else now + delay * (1 - jitter / 2),
        terminal=failure.terminal,
        spec_hash=failure.spec_hash,
        message=failure.message,
        action=failure.action,
    )
