"""Deletions that somebody asked for by name: what they mean for a tick, and when they are over."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.model.desired import DesiredState
from reconciler.model.placement import is_machine
from reconciler.store.base import Store


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
        if is_machine(key):
            record = records.get(key)
            meant = key not in desired.machines and (not uid or (record is not None and record.uid == uid))
        else:
            meant = key.removeprefix("Volume/") not in desired.volumes
        found |= {key} if meant else set()
    return frozenset(found)


def note_deleted(store: Store, said: Collection[str]) -> None:
    """Forget what was asked for where nothing is said of the object any more: it is gone.

    Args:
        store: Gets it.
        said: What conditions were said of: machines' names, and other objects' keys.
    """
    store.forget_deletions([key for key in store.deletions() if key not in said])
