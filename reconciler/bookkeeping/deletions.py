"""Deletions that somebody asked for by name: what they mean for a tick, and when they are over."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.model.desired import DesiredState
from reconciler.model.placement import is_machine
from reconciler.store.base import Store

UNDER_WAY = 600.0
"""Seconds that the commit of a deletion may take: until then the object is desired."""


def asked_for(store: Store, desired: DesiredState) -> frozenset[str]:
    """Machines, and volumes by key, that nobody desires, and that somebody asked to be deleted.

    One that came back under the same name has another uid: nobody asked for its end.
    """
    asked = store.deletions()
    if not asked:
        return frozenset()
    records = store.records()
    found = set()
    for key, uid in asked.items():
        record = records.get(key)
        meant = not is_machine(key) or not uid or (record is not None and record.uid == uid)
        found |= {key} if meant and not _is_desired(key, desired) else set()
    return frozenset(found)


def _is_desired(key: str, desired: DesiredState) -> bool:
    return key in desired.machines if is_machine(key) else key.removeprefix("Volume/") in desired.volumes


def note_kept(store: Store, desired: DesiredState, now: float) -> None:
    """Forget what was asked for where the object is desired all the same: no commit came, or it is undone.

    Else no limit would count it whenever the desired state lacks it, years later.

    Args:
        store: Gets it.
        desired: What people want now.
        now: Epoch seconds.
    """
    kept = [key for key in store.deletions() if _is_desired(key, desired)]
    if kept:
        store.forget_deletions(kept, before=now - UNDER_WAY)


def note_deleted(store: Store, said: Collection[str]) -> None:
    """Forget what was asked for where nothing is said of the object any more: it is gone.

    Args:
        store: Gets it.
        said: What conditions were said of: machines' names, and other objects' keys.
    """
    store.forget_deletions([key for key in store.deletions() if key not in said])
