"""For a daemon: while the desired state is refused, the last one that was accepted is kept up."""

from __future__ import annotations

from pathlib import Path

from reconciler.desired.source import Source
from reconciler.errors import DesiredStateError
from reconciler.model.desired import DesiredState


class LastGood:
    """A source that answers with the last accepted state while a newer one is refused.

    A mistake in one file must stop changes, not repairs.  Before the first accepted state there is
    nothing to fall back on, and the refusal is the answer.

    Args:
        source: Where the desired state really comes from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._good: DesiredState | None = None
        self.trouble: DesiredStateError | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._source.warnings

    def fetch(self) -> bool:
        """See `Source`."""
        return self._source.fetch()

    def changed(self) -> bool:
        """See `Source`; a source that is gone for now did change, unless that is known already."""
        try:
            return self._source.changed()
        except DesiredStateError:
            return self.trouble is None

    def place(self, revision: str, target: Path) -> Path:
        """See `Source`."""
        return self._source.place(revision, target)

    def read(self) -> DesiredState:
        """The desired state, or the last good one, with what is wrong now in `trouble`.

        Raises:
            DesiredStateError: It is refused, and none was accepted before.
        """
        try:
            self._good = self._source.read()
        except DesiredStateError as error:
            if self._good is None:
                raise
            self.trouble = error
            return self._good
        self.trouble = None
        return self._good
