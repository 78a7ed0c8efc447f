"""Verbs of a scenario that borrow machines: through the store, beside the daemon, as a process of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.lab.process import send
from reconciler.model.pool import Lease
from reconciler.store.base import Store
from reconciler.store.base_leases import Checkout
from reconciler.store.sql import open_store
from support.command import Said
from support.fate import began
from support.killed import descendants

if TYPE_CHECKING:
    from support.scenario import Stage

PATIENCE = 60.0
"""Seconds until a daemon must have begun to clean a machine."""

LONGEST = 24 * 3600.0


class LendingVerbs:
    """Part of `Stage`. Leases have names in a scenario."""

    def do_checkout(self: Stage, pool: str, lease: str, ttl: float = 3600, timeout: float = 60) -> None:
        """``checkout: POOL, lease: NAME``: wait for a machine of a pool; ``$vm_NAME`` is its name."""
        wish = Checkout(pool, lease, "a scenario", float(ttl), LONGEST)
        deadline = time.monotonic() + timeout
        with store_of(self) as store:
            while True:
                got = store.checkout(wish, store.lease_time())
                if isinstance(got, Lease):
                    break
                assert time.monotonic() < deadline, f"no machine of {pool}: {states(store, pool)}"
                time.sleep(0.2)
        self.leases[lease] = got
        self.said = Said(("checkout", pool), 0, f"{got.vm}\n", "")

    def do_checkin(self: Stage, lease: str, cut: str = "") -> None:
        """``checkin: NAME``: give the machine of that lease back.

        With ``cut: PATTERN`` the daemon and its workers are killed as soon as a step like this begins.
        """
        known = self._runs()
        with store_of(self) as store:
            assert store.checkin(self.leases[lease].id, store.lease_time()) is not None
        if not cut:
            return
        assert self.daemon is not None
        deadline = time.monotonic() + PATIENCE
        while not any(began(run, cut) for run in self._runs() - known):
            assert time.monotonic() < deadline, f"no step like {cut!r} begins"
            time.sleep(0.01)
        for pid in [*descendants(self.daemon.pid), self.daemon.pid]:
            send(pid, signal.SIGKILL)
        self.end_daemon(signal.SIGKILL)


@contextmanager
def store_of(stage: Stage) -> Iterator[Store]:
    """The stage's store, opened by another process than the daemon."""
    store = open_store(stage.state)
    try:
        yield store
    finally:
        store.close()


def states(store: Store, pool: str) -> dict[str, str]:
    """State by machine."""
    return {member.vm: str(member.state) for member in store.members(pool)}
