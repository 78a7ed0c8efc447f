"""A deletion of just one object, by its name: on record before the commit, so that no limit counts it.

A plan that deletes too much, or everything, stops whole: an emptied repository must not read as "delete
everything".  Whoever names an object and says that it shall go means it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.services import Services
from reconciler.errors import NotFoundError

MACHINE = "VirtualMachine"
COUNTED = frozenset({MACHINE, "Volume"})
"""Kinds whose deletions are limited."""


@contextmanager
def named_deletion(services: Services, kind: str, name: str, by: str) -> Iterator[None]:
    """Around the commit that takes one object out of the desired state. Blocks: it is for `Services.run`.

    A commit that is refused takes the record back; only where the object is gone already, by somebody else's
    hand, it stays: both named it.

    Args:
        services: Where the store is.
        kind: Of the object; those that no limit counts anyway are not noted.
        name: Its name.
        by: Who asks.
    """
    if kind not in COUNTED:
        yield
        return
    store = services.store
    key = name if kind == MACHINE else f"{kind}/{name}"
    record = store.records().get(key)
    # One that is made anew under the same name has another uid, and was not meant.
    store.ask_deletion(key, record.uid if record is not None else "", by, services.clock())
    try:
        yield
    except NotFoundError:
        raise
    except BaseException:
        store.forget_deletions([key])
        raise
