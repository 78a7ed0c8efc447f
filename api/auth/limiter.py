"""What keeps guessing slow: failures are counted by where they come from, and by the token they aim at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from reconciler.errors import ThrottledError

BURST = 10
"""So many failures are free."""

PER_SECOND = 10 / 60
"""So fast are they forgiven."""

KEPT = 10_000
"""Of so many sources they are counted; a bucket is about 200 bytes."""


class Limiter:
    """Leaky buckets of failures, in the memory of this process.

    Args:
        burst: Failures that a bucket holds.
        per_second: Failures that leak out of it each second.
        kept: Buckets; beyond that the one that was touched longest ago goes.
    """

    def __init__(self, burst: float = BURST, per_second: float = PER_SECOND, kept: int = KEPT) -> None:
        self._burst = burst
        self._rate = per_second
        self._kept = kept
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, key: str, now: float) -> None:
        """Let one more try pass, or not.

        Raises:
            ThrottledError: The bucket is full.
        """
        with self._lock:
            level = self._level(key, now)
        if level > self._burst - 1:
            raise ThrottledError(
                "there were too many wrong credentials",
                hint="wait, and look which client still has an old one",
                retry_after=(level - self._burst + 1) / self._rate,
            )

    def fail(self, key: str, now: float) -> bool:
        """Count a failure. True if it is the one that fills the bucket."""
        with self._lock:
            level = self._level(key, now) + 1
            self._buckets[key] = (min(level, self._burst), now)
            self._buckets.move_to_end(key)
            while len(self._buckets) > self._kept:
                self._buckets.popitem(last=False)
        return level > self._burst - 1

    def __len__(self) -> int:
        return len(self._buckets)

    def _level(self, key: str, now: float) -> float:
        level, then = self._buckets.get(key, (0.0, now))
        # A clock that was set back forgives nothing, and must not punish either.
        return max(0.0, level - max(0.0, now - then) * self._rate)


def source_key(address: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which one customer has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
