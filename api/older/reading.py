"""The desired state for those who only look: one that somebody broke in git hides no machine that runs."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.errors import DesiredStateError
from reconciler.model.desired import DesiredState


class LastGood:
    """Reads the newest desired state; while that is refused, the last one that was not, as the daemon does.

    Args:
        read: Reads the newest one.
    """

    def __init__(self, read: Callable[[], DesiredState]) -> None:
        self._read = read
        self._known: DesiredState | None = None

    def __call__(self) -> DesiredState:
        """The desired state.

        Raises:
            DesiredStateError: It is refused, and this process knows none before it.
        """
        try:
            self._known = self._read()
        except DesiredStateError:
            if self._known is None:
                raise
        return self._known
