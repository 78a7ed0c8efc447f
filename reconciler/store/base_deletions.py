"""What the store offers to those who delete one object by its name: that this very object was meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class DeletionStore(Protocol):
    """Deletions that somebody asked for, object by object: no limit on deletions stops them."""

    def deletions(self) -> Mapping[str, str]:
        """Machine's name or ``Volume/name``, to the uid that was meant; empty: whichever has the name."""

    def ask_deletion(self, key: str, uid: str, by: str, now: float) -> None:
        """Remember, durably, that somebody wants just this deleted; before it leaves the desired state."""

    def forget_deletions(self, keys: Collection[str], before: float | None = None) -> None:
        """These are gone, or stay; those not on record are ignored, as is what was asked after `before`."""
