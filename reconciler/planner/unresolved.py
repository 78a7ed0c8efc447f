"""Why a machine cannot become a domain on a host."""

from __future__ import annotations


class CannotResolveError(Exception):
    """A machine cannot become a domain on this host; becomes a `Blocked`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
