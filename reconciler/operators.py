"""What an operator says of hosts and of failures: written to the store, by a command or through the API."""

from __future__ import annotations

import time
from collections.abc import Collection

from reconciler.errors import UsageError
from reconciler.model.host import HostStatus
from reconciler.model.placement import Phase
from reconciler.model.status import Event
from reconciler.store.base import Store


def retry(store: Store, machines: Collection[str] | None) -> tuple[str, ...]:
    """Forget the failures of these machines (None: of all), so that they are tried again at once.

    Returns:
        Whose failures were forgotten.

    Raises:
        UsageError: One did not fail.
    """
    failed = {key: record.vm for key, record in store.provisions().items() if record.state == "failed"}
    waiting = {*store.retries(), *failed.values()}
    chosen = tuple(sorted(waiting if machines is None else machines))
    unknown = sorted(set(chosen) - waiting)
    if unknown:
        raise UsageError(f"{', '.join(unknown)} did not fail: there is nothing to retry")
    store.clear_retries(chosen)
    store.forget_provisions([key for key, vm in failed.items() if vm in chosen])
    return chosen


def machines_on(store: Store, host: str) -> list[str]:
    """Machines that are on record as running on a host, or about to."""
    living = (Phase.PLACED, Phase.INTENDED)
    return sorted(r.vm for r in store.records().values() if r.host == host and r.phase in living)


def assume_empty(store: Store, host: str) -> str:
    """An operator vouches that a host never carried a machine of ours; a sentence for them.

    Raises:
        UsageError: Machines are on record there.
    """
    held = machines_on(store, host)
    if held:
        raise UsageError(
            f"{host} carries {some(held)} on record: it is not empty",
            hint=f"if it is off for good: reconciler hosts declare-dead {host}",
        )
    now = time.time()
    store.assume_empty(host, now)
    store.add_events(
        [Event(now, "HostAssumedEmpty", "an operator says that it carries none of our machines", host=host)]
    )
    return f"{host} is taken to be empty until it answers."


def declare_dead(store: Store, host: str) -> str:
    """An operator vouches that a host is off for good: its machines may start elsewhere. A sentence."""
    told = consequence(store, host)
    now = time.time()
    store.declare_dead(host, now)
    message = "an operator says that it is off for good"
    store.add_events([Event(now, "HostDeclaredDead", message, host=host, warning=True)])
    return f"{host} is taken to be dead until it answers; {told}."


def withdraw(store: Store, host: str) -> str:
    """Nothing is vouched for a host any more; a sentence for the operator."""
    store.withdraw(host)
    return f"Nothing is vouched for {host} any more."


def consequence(store: Store, host: str) -> str:
    """What follows from a host's death."""
    held = machines_on(store, host)
    return f"{some(held)} may start elsewhere, from a fresh disk" if held else "nothing is on record there"


def refuse_living(host: str, status: str, message: str) -> None:
    """Refuse for a host that shows a sign of life: what it carries may well run.

    Args:
        host: Its name.
        status: A word of `HostStatus`.
        message: What it said.

    Raises:
        UsageError: It is alive.
    """
    if status == HostStatus.READY:
        raise UsageError(f"{host} answers: there is nothing to vouch for")
    # A host without power may answer nothing at all, or too late; whatever else it says, it says it alive.
    if status not in (HostStatus.UNREACHABLE, HostStatus.SLOW):
        raise UsageError(
            f"{host} is alive, it just cannot be used ({status}): {message}",
            hint=f"mend it, see: reconciler doctor {host}; or cut its power first",
        )


def some(machines: list[str]) -> str:
    """The first five names, and how many more."""
    shown = ", ".join(machines[:5])
    return f"{shown} and {len(machines) - 5} more" if len(machines) > 5 else shown
