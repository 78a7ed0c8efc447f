"""A deletion of just one object, by its name.

A plan that deletes too much, or everything, stops whole: an emptied repository must not read as "delete
everything".  Whoever names an object and says that it shall go means it, so the store is told before the
commit, and no limit counts this one.
"""

from __future__ import annotations

from api.older.frame import Asked
from api.older.ids import MACHINE
from reconciler.model.write import Change, Write


def delete(asked: Asked, kind: str, name: str, message: str, match: str | None = None) -> None:
    """Commit a deletion. Blocks: it is for `Services.run`.

    Args:
        asked: Who asks, of which installation.
        kind: ``VirtualMachine`` or ``Volume``.
        name: Name of the object.
        message: Of the commit.
        match: Only if the object has this version; None: whichever.

    Raises:
        ReconcilerError: As `Desired.write`; then nothing is asked for.
    """
    services, store = asked.services, asked.services.store
    key = name if kind == MACHINE else f"{kind}/{name}"
    record = store.records().get(key)
    uid = record.uid if record is not None else ""
    store.ask_deletion(key, uid, asked.caller.name, services.clock())
    try:
        wish = Write(f"{kind}/{name}", Change.DELETE, None, asked.caller.author, message, match)
        services.desired.write(wish)
    except BaseException:
        store.forget_deletions([key])
        raise
