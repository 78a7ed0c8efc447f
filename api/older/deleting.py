"""A deletion of just one object, by its name: see `api.conventions.deletions`."""

from __future__ import annotations

from api.conventions.deletions import named_deletion
from api.older.frame import Asked
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
    wish = Write(f"{kind}/{name}", Change.DELETE, None, asked.caller.author, message, match)
    with named_deletion(asked.services, kind, name, asked.caller.name):
        asked.services.desired.write(wish)
